"""Reads the file in which a grader reports: a value or a reason, verdicts, measures.

The program that writes it is ours, but at level none others can reach its folder, so the file is
opened without following links and every field is checked.
"""

import os
import stat
from typing import Any

from launchers.plain import PlainError, strict_json
from launchers.result import Evaluation
from launchers.visible import ToldError, quoted

MOST_BYTES = 1 << 20
MOST_VERDICTS = 64
"""And as many measures."""
BLAMES = ("evaluate", "guard")
FIELDS = {"metric", "value", "reason", "blame", "verdicts", "measures"}


class EvaluationError(ToldError):
    """A grader left no report, or one that breaks the contract: a bug of the environment."""


def read_evaluation(path: str, *, program: str) -> Evaluation:
    """Reads and checks the report.

    Args:
        path: of the file.
        program: that should have written it, named in messages.

    Raises:
        EvaluationError: it is missing or broken; the message says how.
    """
    try:
        report = strict_json(_plain_bytes(path))
    except (OSError, PlainError) as error:
        raise EvaluationError(f"{program}: cannot read its result file ({error})") from error
    problem = _problem(report)
    if problem:
        raise EvaluationError(f"{program}: {problem}; correct the environment's {program}")
    reason = report["reason"]
    return Evaluation(**report | {"reason": reason if isinstance(reason, str) else None})


def _plain_bytes(path: str) -> bytes:
    """Content of a regular file that is no link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise PlainError(f"not a regular file of at most {MOST_BYTES} bytes")
        return file.read(MOST_BYTES)


def _problem(report: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """What is wrong with a report, or None."""
    if not isinstance(report, dict) or set(report) != FIELDS:
        return f"found {quoted(report)}, expected an object with {sorted(FIELDS)}"
    kinds = {"metric": str, "verdicts": dict, "measures": dict}
    if not all(isinstance(report[key], kind) for key, kind in kinds.items()):
        return "expected the metric to be a text, verdicts and measures to be objects"
    return _problem_of_lists(report) or _problem_of_value(report)


def _problem_of_lists(report: dict[str, Any]) -> str | None:
    """What is wrong with the verdicts or the measures, or None."""
    for name in ("verdicts", "measures"):
        if len(report[name]) > MOST_VERDICTS:
            return f"found {len(report[name])} {name}, expected at most {MOST_VERDICTS}"
    for name, text in report["verdicts"].items():
        if not isinstance(text, str):
            return f"found the verdict {name}: {quoted(text)}, expected a text"
    for name, number in report["measures"].items():
        if not _is_number(number):
            return f"found the measure {name}: {quoted(number)}, expected a finite number"
    return None


def _problem_of_value(report: dict[str, Any]) -> str | None:
    """What is wrong with the value, or with what is said where there is none; or None."""
    if report["value"] is not None:
        if not _is_number(report["value"]):
            return f"found the value {quoted(report['value'])}, expected a number or null"
        return None if report["blame"] is None else "found a value and blame, expected one of them"
    if report["blame"] not in BLAMES or not isinstance(report["reason"], str):
        return f"found no value, expected a reason and blame from {BLAMES}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
