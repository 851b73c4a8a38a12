"""Fits ridge regression on the features of model/features.py. Editable.

    python train.py --profile cpu --seed 0 --data DATA/train --out OUT --budget-seconds 20

The seed draws which training points are used. Leaves OUT/weights.json, by rename.
"""

import json
import os
import sys
import time
from operator import mul

from model.features import features

# ------------------------------------------------------------------- what an idea may change

RIDGE = 30.0  # penalty on the squared weights
SHARE = 0.8  # part of the training points that a seed draws
PAUSE_SECONDS = 0.0  # how long to do nothing, to make jobs of a chosen length

# --------------------------------------------------------------------------------- arguments

given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
seed = int(given["--seed"])

# -------------------------------------------------------------------------------------- data

with open(os.path.join(given["--data"], "points.json"), encoding="utf-8") as file:
    points = json.load(file)


def draw(position):
    """A number in [0, 1) that depends on the seed and the position alone."""
    mixed = (position * 2654435761 + seed * 40503 + 12345) % 2**32
    mixed = (mixed ^ mixed >> 16) * 0x45D9F3B % 2**32
    return (mixed ^ mixed >> 16) % 2**32 / 2**32


rows = [features(x) for position, (x, _) in enumerate(points) if draw(position) < SHARE]
targets = [y for position, (_, y) in enumerate(points) if draw(position) < SHARE]

# --------------------------------------------------------------------------------------- fit

time.sleep(PAUSE_SECONDS)
width = len(rows[0])
columns = list(zip(*rows, strict=True))
system = [
    [sum(map(mul, left, right)) for right in columns] + [sum(map(mul, left, targets))]
    for left in columns
]
for at in range(1, width):  # the constant carries no penalty
    system[at][at] += RIDGE

for pivot in range(width):
    best = max(range(pivot, width), key=lambda row: abs(system[row][pivot]))
    system[pivot], system[best] = system[best], system[pivot]
    for row in range(width):
        if row != pivot:
            factor = system[row][pivot] / system[pivot][pivot]
            system[row] = [a - factor * b for a, b in zip(system[row], system[pivot], strict=True)]
weights = [system[row][width] / system[row][row] for row in range(width)]

# ------------------------------------------------------------------------------------- leave

print(f"{len(rows)} points, {width} features")
partial = os.path.join(given["--out"], "weights.partial")
with open(partial, "w", encoding="utf-8") as file:
    json.dump({"weights": weights}, file, allow_nan=False)
os.replace(partial, os.path.join(given["--out"], "weights.json"))
sys.stdout.flush()
