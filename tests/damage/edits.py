"""Real edits: what the catalogs know of each environment, and some of nested and new files."""

import difflib
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from conftest import PROJECT

from assets.config.environment import Environment, read_environment

CATALOGS = {
    "environments/nanogpt": "environments/nanogpt/catalog.toml",
    "tests/environments/ridge": "tests/environments/ridge/catalog.toml",
}
PAIRS = '''"""Pairs of different inputs."""


def pairs(x):
    """Every two of them."""
    for a in range(len(x)):
        for b in range(a):
            yield x[a], x[b]
'''
NESTED = {
    "new-module": (
        ("model/features.py", "from math import prod, sin\n",
         "from math import prod, sin\n\nfrom model.pairs import pairs\n"),
        ("model/features.py", "prod((x[a], x[b])) for a in range(len(x)) for b in range(a)",
         "prod(pair) for pair in pairs(x)"),
        ("model/pairs.py", "", PAIRS),
    ),
    "cosines": (
        ("model/features.py", "from math import prod, sin\n", "from math import cos, prod, sin\n"),
        ("model/features.py", "    if PRODUCTS:\n",
         "    values += [cos(wave * value) for wave in WAVES for value in x]\n    if PRODUCTS:\n"),
        ("train.py", "RIDGE = 30.0", "RIDGE = 3.0"),
    ),
    "no-pivoting": (
        ("train.py",
         "    best = max(range(pivot, width), key=lambda row: abs(system[row][pivot]))\n"
         "    system[pivot], system[best] = system[best], system[pivot]\n", ""),
        ("model/features.py", "    values = [1.0]\n    values += x\n", "    values = [1.0, *x]\n"),
    ),
    "tags-of-thinking-in-the-code": (
        ("train.py", "RIDGE = 30.0", "RIDGE = 3.0"),
        ("train.py", "time.sleep(PAUSE_SECONDS)\n",
         'PROMPT = """\n<think>\nhow\n</think>\n"""\ntime.sleep(PAUSE_SECONDS)\n'),
        ("model/features.py", "POWERS: tuple[int, ...] = ()", "POWERS: tuple[int, ...] = (2,)"),
    ),
    "dots-in-the-code": (
        ("model/features.py", "    values = [1.0]\n",
         "    # first a constant\n    # ... and then the inputs as they are\n    values = [1.0]\n"),
        ("model/features.py", 'the constant first."""\n',
         "the constant first.\n\n    >>> for value in features([2.0]):\n"
         '    ...     print(value)\n    ...\n    1.0\n    2.0\n    """\n'),
    ),
    "skip-empty-rows": (
        ("train.py", "        if row != pivot:\n",
         "        if row == pivot:\n            continue\n        if system[row][pivot]:\n"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """A change of an environment that is known to be right."""

    name: str
    environment: Environment
    after: Mapping[str, bytes]

    @property
    def paths(self) -> list[str]:
        """The files that it touches."""
        before = self.environment.files
        return sorted(p for p in self.after if self.after[p] != before.get(p))

    def sides(self, path: str) -> tuple[list[str], list[str]]:
        """The lines of a file before and after."""
        before = self.environment.files.get(path, b"").decode().splitlines()
        return before, self.after[path].decode().splitlines()

    def hunks(self, path: str, context: int = 3) -> list[tuple[int, list[str]]]:
        """Where each change begins, from 1, and its lines with their signs."""
        before, after = self.sides(path)
        lines = list(difflib.unified_diff(before, after, n=context, lineterm=""))[2:]
        hunks: list[tuple[int, list[str]]] = []
        for line in lines:
            if line.startswith("@@"):
                hunks.append((int(line.split()[1][1:].split(",")[0]), []))
            else:
                hunks[-1][1].append(line)
        return hunks


@cache
def edits() -> tuple[Edit, ...]:
    """All edits, in an order that mixes them."""
    known = [edit for folder, catalog in CATALOGS.items() for edit in _of_catalog(folder, catalog)]
    ridge = read_environment(PROJECT / "tests" / "environments" / "ridge")
    known += [Edit(name, ridge, _changed(ridge, changes)) for name, changes in NESTED.items()]
    random.Random(0).shuffle(known)
    return tuple(known)


def _of_catalog(folder: str, catalog: str) -> list[Edit]:
    environment = read_environment(PROJECT / folder)
    ideas = tomllib.loads((PROJECT / catalog).read_text())["ideas"]
    return [
        Edit(
            f"{folder.rpartition('/')[2]}/{idea['name']}",
            environment,
            _changed(environment, [(e["file"], e["search"], e["replace"]) for e in idea["edits"]]),
        )
        for idea in ideas
    ]


def _changed(environment: Environment, changes) -> dict[str, bytes]:
    files = dict(environment.files)
    for path, search, replace in changes:
        text = files.get(path, b"").decode()
        assert not search or text.count(search) == 1, (path, search)
        files[path] = (text.replace(search, replace) if search else replace).encode()
    return files
