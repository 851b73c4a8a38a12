"""Scores what training left: R2 on hidden points, computed here, where the targets are.

    python evaluate.py --profile cpu --outputs OUT --data D/train --hidden D/hidden \\
        --second D/second --result FILE --serve python serve.py

One pass: the points of the hidden and of the second shard go to one server, in an order that it
cannot know. A model that crashes, hangs or answers nonsense is a result without a value.
"""

import json
import math
import os
import subprocess
import sys
import threading

from frames import read_frame, write_frame

METRIC = "r2"
ANSWER_SECONDS = 10.0


class RefusedError(Exception):
    """There is no value: blame, and the reason as message."""

    def __init__(self, blame: str, reason: str) -> None:
        """Takes who is to blame and why."""
        super().__init__(reason)
        self.blame = blame


def load(folder: str) -> list[tuple[list[float], float]]:
    """The points and targets of a shard."""
    with open(os.path.join(folder, "points.json"), encoding="utf-8") as file:
        return json.load(file)


def predict(command: list[str], points: list[list[float]]) -> list[float]:
    """One pass: the server's answer to all points, asked in a secret order.

    Raises:
        RefusedError: the model crashed, hung, or answered nonsense.
    """
    order = sorted(range(len(points)), key=lambda _: os.urandom(8))
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe)
    clock = threading.Timer(ANSWER_SECONDS, server.kill)
    clock.start()
    try:
        write_frame(server.stdin, [points[at] for at in order])
        answer = read_frame(server.stdout)
        server.stdin.close()
        code = server.wait()
    except (ValueError, OSError) as error:
        raise RefusedError("evaluate", f"serve.py: no usable answer ({error})") from error
    finally:
        clock.cancel()
        server.kill()
        server.wait()
        server.stdout.close()
    if answer is None or code != 0:
        raise RefusedError("evaluate", f"serve.py: ended with code {code} before it answered")
    if len(answer) != len(points) or any(len(row) != 1 for row in answer):
        raise RefusedError("evaluate", f"serve.py: {len(answer)} answers to {len(points)} points")
    if not all(math.isfinite(row[0]) for row in answer):
        raise RefusedError("evaluate", "serve.py: an answer is not finite")
    return [row[0] for _, row in sorted(zip(order, answer, strict=True))]


def r2(predictions: list[float], targets: list[float]) -> float:
    """Share of the targets' variance that is explained, 1 at best."""
    mean = math.fsum(targets) / len(targets)
    total = math.fsum((y - mean) ** 2 for y in targets)
    return 1.0 - math.fsum((y - p) ** 2 for p, y in zip(predictions, targets, strict=True)) / total


def evaluate(given: dict[str, str], serve: list[str]) -> dict[str, object]:
    """The whole report."""
    hidden, second = load(given["--hidden"]), load(given["--second"])
    command = [*serve, "--profile", given["--profile"], "--checkpoint", given["--outputs"]]
    report = {"metric": METRIC, "value": None, "reason": None, "blame": None}
    verdicts: dict[str, str] = {}
    measures: dict[str, float] = {}
    try:
        predictions = predict(command, [x for x, _ in hidden + second])
        verdicts["finite"] = f"passed: {len(predictions)} answers are finite"
        try:
            value = r2(predictions[: len(hidden)], [y for _, y in hidden])
            measures["second"] = r2(predictions[len(hidden) :], [y for _, y in second])
        except OverflowError:
            value = measures["second"] = math.inf
        measures["points"] = len(hidden)
        if not math.isfinite(value) or not math.isfinite(measures["second"]):
            measures.clear()
            raise RefusedError("evaluate", "the predictions are too large to be compared")
        report["value"] = value
    except RefusedError as error:
        report |= {"reason": str(error), "blame": error.blame}
    return report | {"verdicts": verdicts, "measures": measures}


def main() -> None:
    """Reads the command line, scores, and leaves the report by rename."""
    at = sys.argv.index("--serve")
    given = dict(zip(sys.argv[1:at:2], sys.argv[2:at:2], strict=True))
    report = evaluate(given, sys.argv[at + 1 :])
    partial = f"{given['--result']}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(report, file, allow_nan=False, indent=1)
    os.replace(partial, given["--result"])


if __name__ == "__main__":
    main()
