"""The server in serve.py: sealed before patched code runs in it, then one frame in, one out.

A serve.py says how its model is built and how it answers an array; the order of everything that
keeps a server honest stands here:

    pipes = take_pipes()                   # stdout is for frames, whatever anybody prints
    patched = PatchedFile("train.py")      # read, and not run
    weights = ...                          # what else has to be read
    serve(pipes, build, example=array)     # rehearse, import, seal, greet; then build, and answer

`build` runs the patched file and gives `answer(array) -> array`. It is called twice: by the
rehearsal, in a child that is ended, and in the sealed process. There it waits for the first frame,
so that whoever was greeted can tell what patched code takes from what it took to get ready.
"""

import linecache
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NamedTuple

from array_frames import GREETING, read_frame, write_frame
from rehearsal import import_all, rehearse
from seal import can_seal, seal


class Pipes(NamedTuple):
    """A server's two ends of the frames."""

    questions: BinaryIO
    answers: BinaryIO


class PatchedFile:
    """A Python file that a patch may have changed: read before the seal, run under it."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        self.source = self.path.read_bytes()

    def run(self):
        """The file as a module; whoever asks for its source finds it in memory."""
        lines = self.source.decode(errors="replace").splitlines(keepends=True)
        linecache.cache[str(self.path)] = (len(self.source), None, lines, str(self.path))
        module = sys.modules[self.path.stem] = ModuleType(self.path.stem)
        module.__file__ = str(self.path)
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)
        return module


def take_pipes():
    """Keeps stdout for frames: whatever this process prints from here on goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return Pipes(sys.stdin.buffer, answers)


def serve(pipes, build, *, example=None, before_seal=lambda: None):
    """Answers frames until the input ends.

    Args:
        pipes: Where they come from and go to.
        build: Function without arguments that gives `answer(array) -> array`. Patched code runs in
            both functions, and not before.
        example: What a rehearsal answers, a small array that says nothing of the hidden data. None
            where a server cannot be sealed: on a GPU, drivers and compilers open files at any time.
        before_seal: Makes libraries ready for a process that can open and start nothing; called
            only where this one becomes such a process.

    Raises:
        OSError: the server could not be sealed or rehearsed.
        RuntimeError: an import has started a process, which would not be sealed.
    """
    if example is not None and can_seal():
        before_seal()
        import_all(rehearse(lambda: build()(example)))
        seal(keep=[0, 1, 2, pipes.answers.fileno()])
    else:
        print("serve.py: not sealed on this system or at this profile", file=sys.stderr)
    write_frame(pipes.answers, GREETING)
    array = read_frame(pipes.questions)
    answer = build()
    while array is not None:
        write_frame(pipes.answers, answer(array))
        array = read_frame(pipes.questions)
