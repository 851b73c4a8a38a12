"""Answers frames of points with frames of predictions, until the input ends. Scoring file.

python serve.py --profile cpu --checkpoint OUT
"""

import json
import os
import sys
from operator import mul

from frames import read_frame, write_frame
from model.features import features


def main() -> None:
    """Loads what training left and answers in lockstep."""
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    with open(os.path.join(given["--checkpoint"], "weights.json"), encoding="utf-8") as file:
        weights = json.load(file)["weights"]
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # what the model prints is log
    while (points := read_frame(sys.stdin.buffer)) is not None:
        seen = [features(x) for x in points]
        predictions = [sum(map(mul, row, weights)) for row in seen]
        write_frame(answers, [[value] for value in predictions])


if __name__ == "__main__":
    main()
