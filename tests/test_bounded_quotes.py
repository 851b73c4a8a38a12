"""What a reason or a message quotes has a cap at each boundary, whatever comes."""

import io
import json
import struct
import sys
from dataclasses import fields, replace

import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import KEYS, idea, run, scored
from test_launchers import jobs

from assets.config.environment import read_environment
from assets.config.settings import read_settings
from assets.errors import CampaignError, ManifestError, PatchError, VarveError
from assets.ladder import apply_answer
from lake import Lake, query
from lake.columns import row_columns
from lake.errors import QueryError
from lake.quoting import REASON_CHARACTERS as ROW_CHARACTERS
from lake.schema import from_record, to_record
from lake.tables import ROW_TYPES, TELLING, AttemptEvent, AttemptKind, Run, Stage
from launchers import Evaluation, JobResult, LauncherError, TreeError
from launchers.folder import read_result
from launchers.plain import PlainError, strict_json
from launchers.result import LOG_TAIL_BYTES, MOST_BYTES, MOST_REFUSALS
from launchers.supervisor.evaluation import EvaluationError, read_evaluation
from launchers.supervisor.formats import FormatError, check_format
from launchers.visible import PART_CHARACTERS, REASON_CHARACTERS, ToldError, quoted, told, visible

__all__ = ["jobs"]

RIDGE = read_environment(PROJECT / "tests" / "environments" / "ridge")
MEGABYTE = 1 << 20
PIECE = st.text(st.characters(), min_size=1, max_size=20)


@st.composite
def any_text(draw) -> str:
    """A text of any characters and up to 100,000 of them, with two ends of its own."""
    times = draw(st.sampled_from([0, 1, 50, 300, 5_000]))
    return draw(PIECE) + draw(PIECE) * times + draw(PIECE)


# ----------------------------------------------------------------------------------- the cap itself


@settings(deadline=None)
@given(any_text(), st.sampled_from([PART_CHARACTERS, REASON_CHARACTERS]))
def test_what_is_told_is_visible_and_no_longer_than_its_limit(text, limit):
    shown = told(text, limit)
    assert len(shown) <= limit
    assert shown == visible(shown) == told(shown, limit)
    if len(visible(text)) <= limit:
        assert shown == visible(text)
    else:
        assert f"cut: {len(text)} characters in all" in shown
        assert visible(text).startswith(shown[:200])
        assert visible(text).endswith(shown[-200:])


VALUES = {
    "text": "x" * MEGABYTE,
    "number": 10**5_000,
    "list": list(range(MEGABYTE)),
    "key": {"\x1b" * MEGABYTE: 1},
    "numbers": [10**5_000] * 100,
    "bytes": bytes(MEGABYTE),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_of_any_size_is_quoted_shortly(name):
    assert len(quoted(VALUES[name])) <= PART_CHARACTERS


def test_a_value_nested_too_deeply_is_quoted_shortly():
    value: list = []
    for _ in range(100_000):
        value = [value]
    assert quoted(value) == "a list that is too large to be shown"


ERRORS = [
    PlainError,
    FormatError,
    TreeError,
    LauncherError,
    EvaluationError,
    VarveError,
    PatchError,
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_that_may_quote_is_bounded_by_its_type(error):
    assert issubclass(error, ToldError)
    said = str(error(f"{'a' * MEGABYTE}\x1b[2J; do this"))
    assert len(said) <= REASON_CHARACTERS
    assert said.endswith(r"a\x1b[2J; do this")


def test_each_part_of_a_message_of_the_lake_is_bounded():
    error = QueryError(
        where="w" * MEGABYTE, found="f" * MEGABYTE, expected="e" * MEGABYTE, todo="t" * MEGABYTE
    )
    assert len(str(error)) <= 4 * ROW_CHARACTERS + 20
    assert "Expected eee" in str(error)


def test_an_error_of_sql_that_quotes_a_cell_is_bounded(tmp_path):
    lake = Lake.open(str(tmp_path / "lake"))
    lake.append([idea("t", text="x" * MEGABYTE)])
    with pytest.raises(QueryError) as failed:
        query(str(tmp_path / "lake"), "select text::int from ideas_history")
    assert len(str(failed.value)) <= 2 * ROW_CHARACTERS


# ------------------------------------------------------------------------ numbers, before parsing


@pytest.mark.parametrize("shape", ["{}", "-{}", "{}e999", "0.{}", "1e{}"])
def test_a_number_of_a_million_digits_is_refused_before_it_is_read(shape):
    text = shape.format("1" * 1_000_000)
    said = f"found a number of {len(text)} characters, expected at most 1100"
    with pytest.raises(PlainError, match=said):
        strict_json(f'{{"a": {text}}}')


def test_whole_numbers_that_no_float_can_hold_are_refused_and_others_are_exact():
    with pytest.raises(PlainError, match="expected finite numbers"):
        strict_json("1" + "0" * 309)
    assert strict_json(str(2**63 + 1)) == 2**63 + 1
    assert strict_json(f"{sys.float_info.min:.1074f}") == sys.float_info.min


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def tensor(name: str = "w", dtype: str = '"F32"', shape: str = "[2]", at: str = "[0, 8]") -> bytes:
    text = f'{{"{name}": {{"dtype": {dtype}, "shape": {shape}, "data_offsets": {at}}}}}'
    return safetensors(text.encode(), bytes(8))


def npy(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header


LONG = "x" * 1_000_000
LOUD = {
    "exponent.safetensors": safetensors(b'{"a": ' + b"1" * 1_000_000 + b"e999}"),
    "digits.safetensors": safetensors(b'{"a": ' + b"1" * 1_000_000 + b"}"),
    "name.safetensors": tensor(LONG, shape="[3]"),
    "hidden.safetensors": tensor(r"\u001b" * 100_000, shape="[3]"),
    "entry.safetensors": safetensors(f'{{"{LONG}": 1}}'.encode()),
    "type.safetensors": tensor(dtype=f'"{LONG}"'),
    "list.safetensors": tensor(dtype="[" + "1," * 400_000 + "1]"),
    "shape.safetensors": tensor(shape="[" + "1," * 400_000 + "1]"),
    "axes.safetensors": tensor(shape="[" + "9223372036854775807," * 63 + "2]"),
    "deep.safetensors": tensor(shape="[" * 900 + "]" * 900),
    "offset.safetensors": tensor(at="[0, " + "9" * 1_000 + "]"),
    "metadata.safetensors": safetensors(f'{{"__metadata__": {{"{LONG}": 1}}}}'.encode()),
    "axis.npy": npy("1" * 5_000 + ","),
    "axes.npy": npy("9," * 30_000),
    "long-axes.npy": npy("9999999999999999999," * 3_000),
    "digits.json": b"[" + b"1" * 1_000_000 + b"]",
    "constant.json": b"[-Infinity]",
    "twice.json": f'{{"{LONG}": 1, "{LONG}": 2}}'.encode(),
    "x" * 250 + ".pt": b"",
}


@pytest.mark.parametrize("name", LOUD)
def test_what_is_wrong_with_a_file_is_said_shortly(name):
    content = LOUD[name]
    with pytest.raises(FormatError) as refused:
        check_format(name, io.BytesIO(content), len(content))
    assert len(str(refused.value)) <= REASON_CHARACTERS
    assert visible(str(refused.value)) == str(refused.value)


# ---------------------------------------------------------------------------------- results of jobs

texts = st.dictionaries(any_text(), any_text(), max_size=3)


def result(**changes) -> JobResult:
    known = {"run_id": "r", "run_key": "k", "status": "failed", "sandbox_level": "none"}
    return JobResult(**known | changes)


@settings(deadline=None)
@given(reason=any_text(), refused=texts, verdicts=texts, metric=any_text(), log=any_text())
def test_a_result_is_bounded_when_it_is_made_and_when_it_is_read(
    reason, refused, verdicts, metric, log
):
    evaluation = Evaluation(metric=metric, reason=reason, verdicts=verdicts, measures={metric: 1.0})
    made = result(
        reason=reason, refused_outputs=refused, evaluations={"s": evaluation}, log_tail=log
    )
    assert JobResult.from_json(made.to_json()) == made
    assert len(made.to_json()) < 200_000
    assert len(made.reason) <= REASON_CHARACTERS
    assert len(made.evaluation.reason) <= REASON_CHARACTERS
    told_parts = [*made.refused_outputs.items(), *made.evaluation.verdicts.items()]
    assert all(len(text) <= PART_CHARACTERS for pair in told_parts for text in pair)
    assert log.endswith(made.log_tail)
    assert len(made.log_tail) <= LOG_TAIL_BYTES


def test_a_result_of_a_version_without_caps_is_bounded_when_it_is_read():
    text = result(reason="x").to_json().replace('"x"', f'"{"y" * MEGABYTE}"')
    assert len(JobResult.from_json(text).reason) == REASON_CHARACTERS


def test_a_file_that_is_larger_than_any_result_is_none(tmp_path):
    run_folder = tmp_path / "r"
    run_folder.mkdir()
    written = run_folder / "result.json"
    written.write_text(result().to_json() + " " * (MOST_BYTES - 10_000))
    assert read_result(str(run_folder)) == result()
    written.write_text(result().to_json() + " " * MOST_BYTES)
    assert read_result(str(run_folder)) is None


BROKEN = {
    "the value 'xxx": {"value": LONG},
    "the verdict xxx": {"verdicts": {LONG: 1}},
    "the measure m: 'xxx": {"measures": {"m": LONG}},
    "65 verdicts, expected at most 64": {"verdicts": {str(n): "passed" for n in range(65)}},
    "65 measures, expected at most 64": {"measures": {str(n): 1.0 for n in range(65)}},
    "expected an object with": {LONG: 1},
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_report_is_refused_shortly(tmp_path, said):
    report = {"metric": "m", "value": 1.0, "reason": None, "blame": None}
    report |= {"verdicts": {}, "measures": {}}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report | BROKEN[said]))
    with pytest.raises(EvaluationError) as broken:
        read_evaluation(str(path), program="evaluate.py")
    assert said in str(broken.value)
    assert len(str(broken.value)) <= REASON_CHARACTERS


ONE_OF_EACH = {
    "exponent": r"""b'{"a": ' + b"1" * 1_000_000 + b"e999}" """,
    "name": r"""b'{"' + b"x" * 1_000_000 + b'": 1}' """,
    "hidden": r"""b'{"' + b"\\u001b" * 100_000 + b'": 1}' """,
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_refusal_of_what_a_job_left_is_recorded_shortly(jobs, name):
    train = f"""
import struct
header = {ONE_OF_EACH[name].strip()}
open(os.path.join(OUT, "w.safetensors"), "wb").write(struct.pack("<Q", len(header)) + header)
"""
    found = jobs.run(train=train, outputs={"w.safetensors": {"max": 1, "bytes": 4 * MEGABYTE}})
    assert (found.status, found.blame) == ("failed", "train")
    assert set(found.refused_outputs) == {"w.safetensors"}
    for file in ("result.json", "events.jsonl"):
        assert jobs.path(file).stat().st_size < 20_000, file


def test_thousands_of_refusals_with_long_names_are_recorded_shortly(jobs):
    train = r"""
for n in range(4000):
    open(os.path.join(OUT, f"\x1b{n:04d}" + "\u00e9" * 100 + ".json"), "w").write("[1e999]")
"""
    found = jobs.run(train=train, outputs={"*.json": {"max": 4096, "bytes": 99}})
    assert (found.status, found.blame) == ("failed", "train")
    assert len(found.refused_outputs) == MOST_REFUSALS
    assert "and 3968 more" in jobs.path("events.jsonl").read_text()
    for file in ("result.json", "events.jsonl"):
        assert jobs.path(file).stat().st_size < 100_000, file


def test_a_number_that_cannot_be_converted_is_the_fault_of_who_left_it(jobs):
    train = """
header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1" * 5000 + ",), }\\n").encode()
start = b"\\x93NUMPY\\x01\\x00" + len(header).to_bytes(2, "little")
open(os.path.join(OUT, "w.npy"), "wb").write(start + header)
"""
    found = jobs.run(train=train, outputs={"w.npy": {"max": 1, "bytes": MEGABYTE}})
    assert (found.status, found.blame) == ("failed", "train")


# --------------------------------------------------------------------------------- rows of the lake

TELLING_TYPES = [kind for kind in ROW_TYPES if {f.name for f in fields(kind)} & set(TELLING)]


def test_every_column_that_tells_in_words_is_one_of_these():
    known = {c.name for kind in ROW_TYPES for c in row_columns(kind)}
    assert set(TELLING) <= known
    assert len(TELLING_TYPES) == 7


@settings(deadline=None)
@given(said=any_text(), texts=texts)
def test_no_reason_in_a_row_is_longer_than_the_cap(said, texts):
    texts = {name.encode(errors="replace").decode(): text for name, text in texts.items()}
    attempt = AttemptEvent(
        **KEYS, attempt_id="a", stage=Stage.RUNS, seq=0, kind=AttemptKind.ABANDONED, reason=said
    )
    whole = scored("t", value=None)
    rows = [
        attempt,
        idea("t", reason=said),
        run("t", reason=said, verdicts=texts),
        replace(whole.patch, reason=said, repairs=(said, said)),
        replace(whole.score, reason=said, verdicts=texts),
    ]
    for row in rows:
        assert_bounded(row)
        assert len(row.reason) == min(len(said), ROW_CHARACTERS)
    assert row_of_record(run("t", reason="x"), reason=said).reason == rows[2].reason


def row_of_record(row: Run, **changes) -> Run:
    """A row as it is read where another version wrote it."""
    return from_record(Run, to_record(row) | changes)


def assert_bounded(row) -> None:
    for name in TELLING:
        said = getattr(row, name, None) or ""
        texts = (
            said.values() if isinstance(said, dict) else [said] if isinstance(said, str) else said
        )
        assert all(len(text) <= ROW_CHARACTERS for text in texts), name


def test_a_reason_reaches_the_lake_bounded_whoever_made_the_row(tmp_path):
    lake = Lake.open(str(tmp_path / "lake"))
    lake.append([run("t", reason="x" * MEGABYTE, verdicts={"v": "y" * MEGABYTE})])
    asked = "select length(reason), length(verdicts['v']), reason from runs_history"
    ((reason, verdict, text),) = query(str(tmp_path / "lake"), asked).rows
    assert (reason, verdict) == (ROW_CHARACTERS, ROW_CHARACTERS)
    assert f"cut: {MEGABYTE} characters in all" in text


# ----------------------------------------------------------------------- files of people, answers


NUMBERS = {
    "decimal": "9" * 5_000,
    "hexadecimal": "0x" + "f" * 100_000,
    "sexagesimal": ":".join(["59"] * 5_000),
}
"""Whole numbers that Python reads in one way or the other, and does not write in decimal."""


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_huge_number_in_a_campaign_is_told_shortly(tmp_path, kind):
    path = tmp_path / "defs.yaml"
    path.write_text(f"type: assets.campaign.Campaign\nattributes:\n  epochs: {NUMBERS[kind]}\n")
    with pytest.raises(CampaignError) as refused:
        read_settings(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) <= REASON_CHARACTERS


@pytest.mark.parametrize("kind", ["decimal", "hexadecimal"])
def test_a_huge_number_in_a_manifest_is_told_shortly(tmp_path, kind):
    folder = tmp_path / "env"
    folder.mkdir()
    text = (RIDGE.path / "pyproject.toml").read_text()
    assert "\nfloor = " in text
    manifest = "\n".join(
        f"floor = {NUMBERS[kind]}" if line.startswith("floor = ") else line
        for line in text.split("\n")
    )
    (folder / "pyproject.toml").write_text(manifest)
    with pytest.raises(ManifestError) as refused:
        read_environment(folder)
    assert len(str(refused.value)) <= REASON_CHARACTERS


@given(any_text())
@settings(deadline=None, max_examples=25)
def test_no_reason_of_a_patch_is_longer_than_the_cap(said):
    line = said.replace("\n", " ").replace("\r", " ")
    for answer in (
        f"{line}\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n",
        f"train.py\n<<<<<<< SEARCH\n{said}\n=======\ny\n>>>>>>> REPLACE\n",
        f"diff --git a/{line} b/{line}\n",
        f"--- a/{line}\n+++ b/train.py\n@@\n-x\n+y\n",
        f"train.py\n```python\n{said}\n```\n",
    ):
        applied = apply_answer(RIDGE, answer)
        assert len(applied.reason or "") <= REASON_CHARACTERS
        assert visible(applied.reason or "") == (applied.reason or "")
