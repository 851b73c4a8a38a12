"""Makes the data: points drawn from a known function with noise, in three shards.

    python prepare.py --profile cpu --out DATA

Leaves DATA/train, DATA/hidden, DATA/second with a points.json each, and DATA/data.json with the
hash of all. Values are rounded, so that every machine makes the same bytes.
"""

import argparse
import hashlib
import json
import math
import random
from pathlib import Path

SIZES = {"train": 160, "hidden": 200, "second": 200}
NOISE = 0.15


def target(x: list[float], noise: float) -> float:
    """The function that is to be found, with noise; rounded: libraries differ in the last bit."""
    value = math.sin(3 * x[0]) + x[1] * x[2] + 0.8 * x[3] ** 2 + 0.3 * x[1] + NOISE * noise
    return round(value, 9)


def draw(shard: str, count: int) -> list[tuple[list[float], float]]:
    """Points of one shard; another name gives other points."""
    source = random.Random(f"ridge {shard}")
    points = []
    for _ in range(count):
        x = [round(source.uniform(-1, 1), 6) for _ in range(4)]
        noise = sum(source.random() for _ in range(12)) - 6
        points.append((x, target(x, noise)))
    return points


def main() -> None:
    """Writes the shards and their hashes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", choices=["cpu"], required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    files = {}
    for shard, count in SIZES.items():
        folder = arguments.out / shard
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(draw(shard, count)).encode()
        (folder / "points.json").write_bytes(content)
        files[f"{shard}/points.json"] = hashlib.sha256(content).hexdigest()
    whole = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    record = {"profile": arguments.profile, "sha256": whole, "files": files}
    (arguments.out / "data.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
