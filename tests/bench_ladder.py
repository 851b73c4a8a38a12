"""How the patch ladder does on the corpus of damaged answers, beside `patch` and `git apply`.

    .venv/bin/python tests/bench_ladder.py

`patch` gets the diff with its hunk headers recounted, the method of arXiv 2601.14525, and the strip
level that its paths ask for (0 without prefixes); `git apply` gets --recount. For both the diff is
what stands in the first ``` fence, or the whole answer where there is none.
"""

import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from damage.corpus import Case, corpus
from damage.traps import TRAPS
from rich.console import Console
from rich.table import Table

from assets.ladder import apply_answer
from launchers import tree_hash

FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
SECONDS = 20


def main() -> None:
    """Run all methods on all cases and print one row a way."""
    methods = {"ladder": by_ladder, "patch, recounted": by_patch, "git apply --recount": by_git}
    if shutil.which("patch") is None:
        methods["patch, recounted"] = lambda case: "no `patch` here"
    came: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    with ThreadPoolExecutor(2) as threads:
        for name, method in methods.items():
            for case, outcome in zip(corpus(), threads.map(method, corpus()), strict=True):
                came[case.way][name][outcome] += 1
    show(came, list(methods))


def show(came: Mapping[str, Mapping[str, Counter[str]]], methods: list[str]) -> None:
    """Print the table: shares in per cent of a way's cases."""
    table = Table(title=f"{len(corpus())} damaged answers: right / wrong / refused, in %")
    table.add_column("way")
    table.add_column("n", justify="right")
    for name in methods:
        table.add_column(name, justify="right")
    for traps, title in ((False, "ALL WITH A RIGHT RESULT"), (True, "ALL THAT MUST BE REFUSED")):
        ways = [way for way in came if (way in TRAPS) == traps]
        for way in ways:
            table.add_row(*row(way, came[way], methods))
        total = {name: sum((came[way][name] for way in ways), Counter()) for name in methods}
        table.add_row(*row(title, total, methods), style="bold", end_section=True)
    Console(width=110).print(table)


def row(title: str, outcomes: Mapping[str, Counter[str]], methods: list[str]) -> list[str]:
    """One line of the table."""
    return [title, str(outcomes[methods[0]].total()), *(shares(outcomes[name]) for name in methods)]


def shares(outcomes: Counter[str]) -> str:
    """Right, wrong and refused."""
    odd = outcomes.keys() - {"right", "wrong", "refused"}
    if odd:
        return odd.pop()
    return " / ".join(
        f"{100 * outcomes[o] / outcomes.total():3.0f}" for o in ("right", "wrong", "refused")
    )


def judged(case: Case, tree: str | None) -> str:
    """What came of a case; a refusal is right where nothing else is."""
    if tree is None:
        return "refused" if case.tree else "right"
    return "right" if tree == case.tree else "wrong"


def by_ladder(case: Case) -> str:
    """The ladder's outcome."""
    return judged(case, apply_answer(case.edit.environment, case.answer).tree)


def by_patch(case: Case) -> str:
    """The outcome of GNU patch on the recounted diff."""
    diff = recounted(extracted(case.answer))
    level = "-p1" if re.search(r"^(?:---|\+\+\+) [ab]/", diff, re.MULTILINE) else "-p0"
    return judged(
        case,
        applied(case, ["patch", level, "--batch", "--forward", "--no-backup-if-mismatch"], diff),
    )


def by_git(case: Case) -> str:
    """The outcome of git on the diff as it is."""
    diff = extracted(case.answer)
    level = "-p1" if re.search(r"^(?:---|\+\+\+) [ab]/", diff, re.MULTILINE) else "-p0"
    return judged(case, applied(case, ["git", "apply", "--recount", level, "-"], diff))


def applied(case: Case, command: list[str], diff: str) -> str | None:
    """Hash of the tree that a command makes; None where it refuses."""
    with tempfile.TemporaryDirectory(prefix="varve-bench-") as folder:
        root = Path(folder)
        for path, content in case.edit.environment.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        done = subprocess.run(
            command, cwd=root, input=diff.encode(), capture_output=True, timeout=SECONDS
        )
        if done.returncode != 0:
            return None
        return tree_hash(
            {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        )


def extracted(answer: str) -> str:
    """What stands in the first fence; the whole answer where there is none."""
    fence = FENCE.search(answer)
    return fence[1] if fence else answer


def recounted(diff: str) -> str:
    """The diff with every hunk header's counts made to fit its lines."""
    lines = diff.split("\n")
    for at, line in enumerate(lines):
        match = HEADER.match(line)
        if match is None:
            continue
        old = new = 0
        for text in lines[at + 1 :]:
            if text[:1] not in {" ", "+", "-"} or text.startswith(("--- ", "+++ ")):
                break
            old, new = old + (text[0] != "+"), new + (text[0] != "-")
        lines[at] = f"@@ -{match[1]},{old} +{match[2]},{new} @@" + line[match.end() :]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
