"""A server as evaluate.py sees it: another process, asked until a deadline, and not trusted.

What a server says is never quoted in a reason: it could be hidden text. What it takes is measured
from outside: its processor time up to its greeting, which is the start of Python and libraries, and
from there on, which is patched code.
"""

import os
import select
import subprocess
import time

from array_frames import GREETING, LENGTH_BYTES, Form, FormError, FrameError, frame, parse_record

GOODBYE_SECONDS = 10
"""How long a server may take to end once its input has ended."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""In a server's process environment: a sealed one can start no thread, nor can a rehearsal."""


class Refusal(Exception):
    """The patched model gives no score. `blame` says whose boundary was broken."""

    def __init__(self, blame, reason):
        super().__init__(reason)
        self.blame = blame


class Server:
    """The patched model in its own process, asked one array at a time until a deadline."""

    def __init__(self, command, *, seconds):
        """Starts it.

        Args:
            command: Its command line.
            seconds: From here to the deadline of its last answer.
        """
        self.deadline = time.monotonic() + seconds
        pipe, environment = subprocess.PIPE, os.environ | ONE_THREAD
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, bufsize=0, env=environment
        )
        os.set_blocking(self.process.stdin.fileno(), False)
        self.buffer = bytearray()
        self.starting_seconds = self.answering_seconds = None
        """Processor time before and after the greeting; None where this system does not tell."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def greet(self):
        """Waits for the greeting: what the server does from here on is done by patched code.

        Raises:
            Refusal: the server crashed, hung, or said something else.
        """
        expected = Form(GREETING.dtype.str, GREETING.shape)
        parse_answer(self.read_record(expected.most_bytes), expected, called="greeting")
        self.starting_seconds = processor_seconds(self.process.pid)

    def ask(self, array, *, expected, called="answers"):
        """The answer to one array, in a buffer that the next call uses again.

        Args:
            array: The question.
            expected: Form of the answer.
            called: What reasons call it.

        Raises:
            Refusal: the server crashed, hung, or answered something else.
        """
        self.send(frame(array))
        return parse_answer(self.read_record(expected.most_bytes), expected, called=called)

    def finish(self):
        """Notes what the server took, and ends the input, which tells it to end too.

        Raises:
            Refusal: it did not end by itself with exit code 0. The next server starts only after
                this one, so that no two can talk to each other.
        """
        used = processor_seconds(self.process.pid)
        if used is not None and self.starting_seconds is not None:
            self.answering_seconds = used - self.starting_seconds
        self.process.stdin.close()
        if not self.ends_by_itself():
            raise Refusal("evaluate", "serve.py went on running when its input had ended")
        if self.process.returncode != 0:
            code = self.process.returncode
            raise Refusal("evaluate", f"serve.py ended with exit code {code} after its last answer")

    def ends_by_itself(self):
        """Whether the server ends within a few seconds."""
        try:
            self.process.wait(timeout=GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ended(self):
        """The refusal for a server that has closed its pipe."""
        if not self.ends_by_itself():
            return Refusal("evaluate", "serve.py closed its pipe and went on running")
        code = self.process.returncode
        return Refusal("evaluate", f"serve.py ended with exit code {code} while it was scored")

    def send(self, content):
        """Writes a frame by the deadline: a server that never reads must not hang this process."""
        view, done, pipe = memoryview(content), 0, self.process.stdin
        while done < len(view):
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([], [pipe], [], left)[1]:
                reason = "serve.py did not read its input before the scoring deadline"
                raise Refusal("evaluate", reason)
            try:
                done += pipe.write(view[done:]) or 0
            except BrokenPipeError:
                raise self.ended() from None

    def read_record(self, largest):
        """The record of the next frame, of at most `largest` bytes."""
        size = int.from_bytes(self.read(LENGTH_BYTES), "little")
        if size > largest:
            raise Refusal(
                "evaluate", f"serve.py wrote a frame of more than {largest} bytes, or none"
            )
        return self.read(size)

    def read(self, size):
        """Exactly `size` bytes from the server."""
        if len(self.buffer) < size:
            self.buffer = bytearray(size)
        view, done, pipe = memoryview(self.buffer)[:size], 0, self.process.stdout
        while done < size:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise Refusal("evaluate", "serve.py did not answer before the scoring deadline")
            got = pipe.readinto(view[done:])
            if not got:
                raise self.ended()
            done += got
        return view


def processor_seconds(pid):
    """Processor time of a process and of all below it; None where there is no /proc to ask."""
    ticks, pending, found = 0, [pid], False
    while pending:
        try:
            one = f"/proc/{pending.pop()}"
            with open(f"{one}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            for thread in os.listdir(f"{one}/task"):
                with open(f"{one}/task/{thread}/children", "rb") as file:
                    pending += map(int, file.read().split())
        except OSError:
            continue
        ticks, found = ticks + sum(map(int, fields[11:15])), True
    return ticks / os.sysconf("SC_CLK_TCK") if found else None


def parse_answer(record, expected, *, called):
    """The array of a record, not copied.

    Raises:
        Refusal: it has another form than was asked for, or is none.
    """
    try:
        return parse_record(record, expected)
    except FormError as error:
        reason = f"{called} have another type or shape, expected {expected} in C order"
        raise Refusal("evaluate", reason) from error
    except FrameError as error:
        raise Refusal("evaluate", f"serve.py wrote {error}") from error
