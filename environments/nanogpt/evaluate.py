"""Score what training left: the mean loss, in nats a token, on text that training never saw.

    python evaluate.py --profile cpu --outputs out --data data/train --hidden data/hidden \
        --second data/second --result result.json --serve python serve.py

This process is the trusted one. It holds the hidden tokens, starts a server for the patched model,
gives it inputs only and computes the loss itself from the logits that come back. Needs numpy only.

What keeps the score honest here:
- Only every second window of a shard is scored, so no scored row contains another row's target.
- Rows go out in a secret order, in batches of one shape; their losses are put back before summing,
  so that the value does not depend on the order.
- A server that crashes, hangs, or answers anything but finite logits of the right shape gives no
  value, and the reason.
A pass is one call of `run_pass`; an audit in a fresh server is another one with the same order.

Axes: N rows, B rows in a batch, T positions, V vocabulary.
"""

import argparse
import io
import json
import math
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is scored, and how it is fed."""

    context: int
    vocabulary: int
    token: str
    """numpy type of a token, in the shards and in the frames."""
    hidden_rows: int
    second_rows: int
    batch: int
    """Rows in a frame; divides the sum of both."""
    seconds: float
    """Deadline of a pass, inside the manifest's score_seconds."""


PROFILES = {
    "cpu": Profile(
        context=64,
        vocabulary=256,
        token="|u1",
        hidden_rows=1024,
        second_rows=256,
        batch=32,
        seconds=50,
    ),
    "h100x8": Profile(
        context=1024,
        vocabulary=50304,
        token="<u2",
        hidden_rows=448,
        second_rows=64,
        batch=8,
        seconds=540,
    ),
}


LOGIT_BYTES = 4
HEADER_BYTES = 4096
"""More than the header of any .npy record that is expected here."""


class Refusal(Exception):
    """The patched model gives no score. `blame` says whose boundary was broken."""

    def __init__(self, blame, reason):
        super().__init__(reason)
        self.blame = blame


class Rows(NamedTuple):
    """Windows of hidden text."""

    inputs_N_T: np.ndarray
    targets_N_T: np.ndarray


# ---------------------------------------------------------------------------- rows


def read_rows(folder, *, count, profile):
    """The first `count` of every second window of the shards, so that no two of them touch."""
    shards = [np.fromfile(path, profile.token) for path in sorted(folder.glob("*.bin"))]
    tokens = np.concatenate(shards)
    starts_N = 2 * profile.context * np.arange(count)
    windows = tokens[starts_N[:, None] + np.arange(profile.context + 1)]
    return Rows(windows[:, :-1], windows[:, 1:])


def secret_order(count):
    """A permutation that nobody can guess."""
    return np.random.default_rng(int.from_bytes(os.urandom(16), "little")).permutation(count)


# ---------------------------------------------------------------------------- frames


class Server:
    """The patched model in its own process, asked one batch at a time until a deadline."""

    def __init__(self, command, *, seconds):
        self.deadline = time.monotonic() + seconds
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.buffer = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        self.process.stdin.close()  # end of file: the server's sign to end by itself
        if error or not self.ends_by_itself():
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def ends_by_itself(self):
        """Whether the server ends within a few seconds."""
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ask(self, tokens_B_T, *, vocabulary):
        """Logits (B, T, V) float32 for one batch, in a buffer that the next call uses again."""
        self.send(frame(tokens_B_T))
        shape = (*tokens_B_T.shape, vocabulary)
        largest = 4 * LOGIT_BYTES * math.prod(shape)  # a wrong shape may come, to be named
        record = self.read_record(largest=largest + HEADER_BYTES)
        return parse_logits(record, shape=shape)

    def send(self, content):
        """Writes one small frame, once the pipe takes it."""
        left = max(self.deadline - time.monotonic(), 0)
        if not select.select([], [self.process.stdin], [], left)[1]:
            raise Refusal("evaluate", "serve.py did not read its input before the scoring deadline")
        try:
            self.process.stdin.write(content)
        except BrokenPipeError:
            raise self.ended() from None

    def read_record(self, *, largest):
        """The .npy record of the next frame, of at most `largest` bytes.

        Source: the contract, environments/README.md.
        """
        size = int.from_bytes(self.read(8), "little")
        if size > largest:
            reason = f"serve.py wrote a frame of {size} bytes, or none; at most {largest} fit"
            raise Refusal("evaluate", reason)
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

    def ended(self):
        """The refusal for a server that has closed its pipe."""
        if not self.ends_by_itself():
            return Refusal("evaluate", "serve.py closed its output and went on running")
        code = self.process.returncode
        return Refusal("evaluate", f"serve.py ended with exit code {code} while it was scored")


def frame(array):
    """One array as the bytes of a frame."""
    record = io.BytesIO()
    np.lib.format.write_array(record, array, allow_pickle=False)
    return record.tell().to_bytes(8, "little") + record.getvalue()


def parse_logits(record, *, shape):
    """The array of a record, not copied; refuses all but float32 of the shape that was asked for."""
    stream = io.BytesIO(record[:HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        found, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, TypeError, LookupError, SyntaxError, RecursionError) as error:
        raise Refusal(
            "evaluate", f"serve.py wrote a frame that is no .npy record: {error}"
        ) from None
    if found != shape or fortran or dtype.str != "<f4":
        raise Refusal(
            "evaluate", f"logits are {dtype.str} {found}, expected <f4 {shape} in C order"
        )
    if len(record) - stream.tell() != LOGIT_BYTES * math.prod(shape):
        raise Refusal("evaluate", f"a frame of {len(record)} bytes does not hold {shape} float32")
    return np.frombuffer(record, "<f4", offset=stream.tell()).reshape(shape)


# ---------------------------------------------------------------------------- loss


def token_losses(logits_B_T_V, targets_B_T):
    """Negative log-likelihood in nats of each target (B, T), float64.

    Raises:
        Refusal: where a logit is not finite.
    """
    largest_B_T = logits_B_T_V.max(axis=-1)
    if not (np.isfinite(largest_B_T).all() and np.isfinite(logits_B_T_V.min())):
        raise Refusal("evaluate", "logits are not finite")
    exponentials = np.exp(logits_B_T_V - largest_B_T[..., None])
    normalizers_B_T = np.log(exponentials.sum(axis=-1, dtype=np.float32).astype(np.float64))
    chosen_B_T = np.take_along_axis(logits_B_T_V, targets_B_T[..., None].astype(np.int64), axis=-1)
    return normalizers_B_T + largest_B_T - chosen_B_T[..., 0].astype(np.float64)


def run_pass(serve, rows, order, *, profile):
    """One pass of a fresh server over all rows.

    Args:
        serve: The server's command line.
        rows: Inputs and targets (N, T).
        order: Permutation of N; row `order[i]` goes into slot i. A second pass that is to be
            compared with a first one takes the same order, so that rows keep slot and shape.
        profile: Batch size, vocabulary, deadline in seconds.

    Returns:
        Losses (N, T) in the order of `rows`, nats, float64.

    Raises:
        Refusal: the server crashed, hung or answered something else than finite logits.
    """
    losses_N_T = np.empty(rows.targets_N_T.shape)
    with Server(serve, seconds=profile.seconds) as server:
        for start in range(0, len(order), profile.batch):
            batch = order[start : start + profile.batch]
            logits_B_T_V = server.ask(rows.inputs_N_T[batch], vocabulary=profile.vocabulary)
            losses_N_T[batch] = token_losses(logits_B_T_V, rows.targets_N_T[batch])
    return losses_N_T


# ---------------------------------------------------------------------------- judging


def score(serve, *, hidden, second, profile):
    """The result of one evaluation, ready to be written.

    Args:
        serve: The server's command line.
        hidden: Folder of the shard whose loss is the value.
        second: Folder of the shard whose loss is only a measure: memorised text shows as a gap.
        profile: What is scored.
    """
    parts = [
        read_rows(hidden, count=profile.hidden_rows, profile=profile),
        read_rows(second, count=profile.second_rows, profile=profile),
    ]
    rows = Rows(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    try:
        losses_N_T = run_pass(serve, rows, secret_order(len(rows.inputs_N_T)), profile=profile)
    except Refusal as refusal:
        return refused(refusal, verdicts={"finite": f"failed: {refusal}"}, measures={})
    value = float(losses_N_T[: profile.hidden_rows].mean())
    measures = {
        "second": float(losses_N_T[profile.hidden_rows :].mean()),
        "tokens": losses_N_T[: profile.hidden_rows].size,
    }
    verdicts = {"finite": f"passed: {losses_N_T.size} token losses"}
    return result(value=value, verdicts=verdicts, measures=measures)


def refused(refusal, *, verdicts, measures):
    """A result without a value."""
    return result(reason=str(refusal), blame=refusal.blame, verdicts=verdicts, measures=measures)


def result(*, verdicts, measures, value=None, reason=None, blame=None):
    """The result file's content."""
    return {
        "metric": "val_loss",
        "value": value,
        "reason": reason,
        "blame": blame,
        "verdicts": verdicts,
        "measures": measures,
    }


def write_result(path, content):
    """Writes the result file by rename."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)


def main():
    """Exit code 0 whenever a result was written, whatever it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=sorted(PROFILES), required=True)
    parser.add_argument("--outputs", type=Path, required=True, help="what training left")
    parser.add_argument("--data", type=Path, help="training data; not needed by this evaluator")
    parser.add_argument("--hidden", type=Path, required=True, help="folder of the hidden shard")
    parser.add_argument("--second", type=Path, required=True, help="folder of the second shard")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--serve", nargs=argparse.REMAINDER, required=True, help="command of a server; goes last"
    )
    args = parser.parse_args()
    serve = [*args.serve, "--profile", args.profile, "--checkpoint", str(args.outputs)]
    content = score(serve, hidden=args.hidden, second=args.second, profile=PROFILES[args.profile])
    write_result(args.result, content)
    print(json.dumps(content), file=sys.stderr)


if __name__ == "__main__":
    main()
