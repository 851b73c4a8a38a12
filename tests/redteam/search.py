"""Looks for a text in every file that can be read, and says how much of it stands somewhere.

    python search.py PIECES.npy [FOLDER...]

Runs behind a wall with numpy alone. PIECES.npy has pieces of the text as rows of bytes. A file has
a piece if it has all of its bytes in a row, wherever they begin.
"""

import os
import sys
from bisect import bisect

import numpy as np

KEY_BYTES = 8
MOST_BYTES = 8 << 20
"""Of one file: no source is larger."""
AT_ONCE_BYTES = 16 << 20
SUFFIXES = (".py", ".pyi", ".txt", ".md", ".rst", ".whl", ".zip", ".egg", ".orig", ".bin")
"""Where text lies; compiled code and data of other programs are too much to read."""
TOPS = ("/", "/usr", "/opt", "/tmp", "/var/tmp", "/home", "/root", sys.prefix, sys.base_prefix)
"""Where to begin: of some folders only what is below them may be listed."""
SKIPPED = ("/proc", "/sys", "/dev")
BITS = 22


def files(tops):
    """Every file that may hold text of Python, once; not what lies beside this one."""
    seen = {*SKIPPED, os.path.dirname(os.path.abspath(__file__))}
    for start in tops:
        if start in seen:
            continue
        for top, folders, names in os.walk(start):
            folders[:] = [name for name in folders if os.path.join(top, name) not in seen]
            seen.add(top)
            for name in names:
                path = os.path.join(top, name)
                if name.endswith(SUFFIXES) and not os.path.islink(path):
                    yield path


def batches(tops):
    """Contents of many files at once, with where each of them begins."""
    contents, starts, paths, size = [], [], [], 0
    for path in files(tops):
        try:
            with open(path, "rb") as file:
                content = file.read(MOST_BYTES)
        except OSError:
            continue
        starts.append(size)
        paths.append(path)
        contents.append(content)
        size += len(content)
        if size > AT_ONCE_BYTES:
            yield b"".join(contents), starts, paths
            contents, starts, paths, size = [], [], [], 0
    yield b"".join(contents), starts, paths


def marks(keys):
    """A short number for each key."""
    return (keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - BITS)


def hits(content, table):
    """Places in a content that look like the beginning of a piece."""
    for shift in range(min(KEY_BYTES, max(0, len(content) - KEY_BYTES + 1))):
        words = np.frombuffer(content, "<u8", (len(content) - shift) // KEY_BYTES, shift)
        yield from (shift + KEY_BYTES * np.flatnonzero(table[marks(words)])).tolist()


def main():
    """Prints the share of pieces that were found, and the files with the most of them."""
    pieces = np.load(sys.argv[1])
    length = pieces.shape[1]
    wanted = {piece.tobytes(): number for number, piece in enumerate(pieces)}
    table = np.zeros(1 << BITS, bool)
    table[marks(np.frombuffer(b"".join(piece[:KEY_BYTES] for piece in wanted), "<u8"))] = True
    found, places, looked = set(), {}, 0
    for content, starts, paths in batches(sys.argv[2:] or TOPS):
        looked += len(content)
        for at in hits(content, table):
            number = wanted.get(content[at : at + length])
            if number is not None:
                found.add(number)
                path = paths[bisect(starts, at) - 1]
                places[path] = places.get(path, 0) + 1
    most = sorted(places, key=places.get, reverse=True)[:5]
    print(f"{len(found) / len(wanted):.4f} of {len(wanted)} in {looked >> 20} MiB")
    for path in most:
        print(places[path], path)


if __name__ == "__main__":
    main()
