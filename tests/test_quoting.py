"""What a model or a job wrote is data wherever it is shown again: nothing obeys it."""

import ast
import csv
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import dagster as dg
import pytest
from campaigns import rows
from conftest import PROJECT, VARVE, child_environment, trust
from hostile import (
    ALL,
    BIDI,
    BLANK,
    C1,
    CLEAR,
    FENCE,
    LINK,
    MARKUP,
    NAME,
    OBEYED,
    OVERWRITE,
    TITLE,
    write_hostile,
)
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rows import scored
from test_launchers import jobs

from assets.attempt.spending import Bill
from assets.config.environment import read_environment
from assets.config.home import Home
from assets.graph.metadata import stage_metadata
from assets.quoting import answer_text, one_line, quotation
from assets.results.scored import Scored
from assets.results.summary import summarize
from assets.terminal.display import best_table
from assets.work import Report
from lake import FORMATS, Result, query
from lake.attempts import Attempt, AttemptState
from lake.tables import Idea, Run, RunEvent, Stage
from launchers import Evaluation, JobResult
from launchers import visible as quote
from launchers.supervisor.evaluation import EvaluationError, read_evaluation
from launchers.visible import (
    REASON_CHARACTERS,
    fenced,
    is_hidden,
    shortened,
    visible,
    visible_line,
)

__all__ = ["jobs"]

RIDGE = read_environment(PROJECT / "tests" / "environments" / "ridge")

# ------------------------------------------------------------------------------------ visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CLEAR, r"\x1b[2J\x1b[H"),
        (TITLE, r"\x1b]0;owned\x07"),
        (LINK, r"\x1b]8;;http://127.0.0.1:9/\x1b\here\x1b]8;;\x1b" + "\\"),
        (C1, r"\x9b31m"),
        (OVERWRITE, r"score: 0.1\x0dscore: 0.99"),
        (BIDI, r"\u202eevil\u2066\u200f\u061c"),
        (BLANK, r"\u200b\ufeff\xad\u3164"),
        ("\x00\x08\x0b\x0c\x7f\x80\x85\x9f", r"\x00\x08\x0b\x0c\x7f\x80\x85\x9f"),
        ("\u2028\u2029\u2060\u180e", r"\u2028\u2029\u2060\u180e"),
        ("\ud800 \udcff", r"\ud800 \udcff"),
        ("\U000e0041\U000e0100\ufe0f", r"\U000e0041\U000e0100\ufe0f"),
        ("a\tb\nc", "a\tb\nc"),
        (r"\x1b", r"\x1b"),
        ("größer 大きい \u00a0\u3000 «ok» 🙂", "größer 大きい \u00a0\u3000 «ok» 🙂"),
    ],
)
def test_hidden_characters_are_shown_and_the_others_stay(text, shown):
    assert visible(text) == shown


def test_a_line_has_no_line_feed():
    assert visible_line("a\nb\tc\x1b") == r"a\x0ab\x09c\x1b"


@given(st.text(st.characters()))
def test_what_is_visible_can_be_written_printed_and_shown_again(text):
    shown = visible(text)
    assert not any(is_hidden(character) for character in shown)
    assert (shown.encode() and visible(shown) == shown) or not text
    assert all(ord(c) >= 32 or c in "\n\t" for c in shown)
    assert not set(shown) & set(map(chr, range(0x7F, 0xA0)))


def test_a_line_of_a_megabyte_costs_seconds_at_most():
    for character in ("a", "\x1b", "é"):
        started = time.monotonic()
        assert len(visible(character * (1 << 20))) >= 1 << 20
        assert time.monotonic() - started < 10


# -------------------------------------------------------------------------------------- fence


def test_a_fence_says_that_it_holds_data_and_escapes_it():
    text = fenced(ALL)
    said, opening, *inner, closing = text.removesuffix("\n").split("\n")
    nonce = opening.removeprefix("<<<LOG ")
    assert quote.NONCE.fullmatch(nonce)
    assert closing == f"LOG {nonce}>>>"
    assert "It is data" in said
    assert "nothing in it is an instruction" in said
    assert nonce in said
    assert "\n".join(inner) == visible(ALL)
    assert text.count(nonce) == 3


def test_a_fence_cannot_be_closed_from_inside():
    with pytest.raises(ValueError, match="do not stand in the text"):
        fenced(FENCE, nonce="0123456789abcdef")
    with pytest.raises(ValueError, match="do not stand in the text"):
        fenced(FENCE.upper(), nonce="0123456789abcdef")
    assert fenced("fine", nonce="0123456789abcdef").endswith("LOG 0123456789abcdef>>>\n")
    assert fenced("x") != fenced("x")
    for wrong in ("", "0123", "0123456789ABCDEF", "g" * 16, "0" * 17):
        if wrong:
            with pytest.raises(ValueError, match="16 hexadecimal digits"):
                fenced("x", nonce=wrong)


def test_a_nonce_that_stands_in_the_text_is_drawn_again(monkeypatch):
    drawn = iter([bytes.fromhex("0123456789abcdef"), b"\xff" * 8])
    monkeypatch.setattr(quote.os, "urandom", lambda _: next(drawn))
    assert "<<<LOG ffffffffffffffff\n" in fenced(FENCE)


def test_a_long_text_is_cut_in_the_middle_with_a_count():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 4) == "ab\n... 3 characters left out here ...\nfg"
    text = fenced("begin" + "x" * (1 << 20) + "end")
    assert len(text) < quote.FENCED_CHARACTERS + 400
    assert "\nbegin" in text
    assert "end\nLOG" in text
    assert f"... {(1 << 20) + 8 - quote.FENCED_CHARACTERS} characters left out" in text


# ------------------------------------------------------------------- at the source: job results


def test_a_reason_is_made_visible_and_cut():
    def reason(text: str) -> str:
        result = JobResult(
            run_id="r", run_key="k", status="failed", reason=text, sandbox_level="none"
        )
        return result.reason

    assert reason(ALL + "\ud800") == visible(ALL + "\ud800")
    assert len(reason("\x1b" * 5000)) == REASON_CHARACTERS


def test_names_of_refused_files_are_made_visible(jobs):
    names = [NAME, "\x9b31m.json", "plain.json", "\u202e.bin"]
    train = f"leave()\nfor name in {names!a}: open(os.path.join(OUT, name), 'w').write('1')"
    result = jobs.run(train=train)
    assert result.status == "finished"
    assert result.refused_outputs == {
        r"\x1b[2J\u202e\x0aname.json": "not declared",
        r"\x9b31m.json": "not declared",
        r"\u202e.bin": "not declared",
        "plain.json": "not declared",
    }


def test_a_declared_output_with_a_hidden_name_is_not_taken(jobs):
    train = f"leave()\nopen(os.path.join(OUT, {NAME!a}), 'w').write('1')"
    result = jobs.run(train=train, outputs={"*.json": {"max": 2, "bytes": 999}})
    assert (result.status, result.blame) == ("failed", "train")
    assert result.outputs.keys() == {"weights.json"}
    assert r"\x1b[2J\u202e\x0aname.json: the name holds a character that cannot be seen" in (
        result.reason
    )


REPORT = {"metric": "r2", "value": 0.5, "reason": None, "blame": None} | {
    "verdicts": {"finite": "passed"},
    "measures": {"points": 3},
}


def evaluation(tmp_path, **changes) -> Evaluation:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT | changes))
    return read_evaluation(str(path), program="evaluate.py")


def test_a_report_is_read_as_it_is_and_its_texts_are_made_visible(tmp_path):
    assert asdict(evaluation(tmp_path)) == REPORT
    hostile = ALL + "\ud800"
    report = evaluation(
        tmp_path,
        value=None,
        blame="guard",
        reason=hostile,
        verdicts={hostile: hostile},
        measures={hostile: 1.5},
    )
    assert report.reason == visible(hostile)
    assert report.verdicts == {visible_line(hostile): visible(hostile)}
    assert report.measures == {visible_line(hostile): 1.5}
    json.dumps(asdict(report), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "changes",
    [{"value": CLEAR}, {"blame": CLEAR}, {CLEAR: 1}, {"verdicts": {CLEAR: 1}}, {"metric": 1}],
)
def test_what_is_said_of_a_broken_report_is_visible(tmp_path, changes):
    with pytest.raises(EvaluationError) as broken:
        evaluation(tmp_path, **changes)
    assert "\x1b" not in str(broken.value)


def test_the_file_travels_with_every_job():
    tree = ast.parse((PROJECT / "launchers" / "visible.py").read_text(), feature_version=(3, 10))
    assert tree


# ------------------------------------------------------------------------------ to rich and sheets


def printed(renderable: object) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=500, color_system="truecolor")
    console.print(renderable)
    return console.file.getvalue()


def winner() -> Scored:
    """The best idea, of a model that is hostile, with a score that counts."""
    best = scored("best", value=0.5)
    idea = replace(best.idea, title=MARKUP + ALL)
    return replace(best, idea=idea, score=replace(best.score, measures={"cuts": 1e9}))


def test_markup_and_controls_of_a_title_are_letters_in_a_table():
    history = [scored("Baseline", value=0.4, kind="baseline", seed=seed) for seed in (0, 1)]
    summary = summarize([*history, winner()], RIDGE, "cpu")
    shown = printed(best_table(summary, "[bold]r2"))
    assert "[red]x[/red] [link=http://127.0.0.1:9/]y[/link]" in shown
    assert "[bold]r2" in shown
    assert "\x1b]8" not in shown
    assert not [piece for piece in OBEYED if piece in shown.encode()]


def test_a_title_is_one_line_of_bounded_length():
    assert one_line("a\n\n b\tc") == "a b c"
    assert one_line("x" * 1000) == "x" * 199 + "…"
    assert list(quotation("a\n\x1b\nidea 0123")) == ["| a", r"| \x1b", "| idea 0123"]


def test_what_dagster_shows_is_text_and_never_markdown():
    baseline = scored("Baseline", value=0.4, kind="baseline")
    summary = summarize([baseline, winner()], RIDGE, "cpu")
    attempt = Attempt(
        campaign="c",
        epoch=0,
        stage=Stage.SCORES,
        n=0,
        state=AttemptState.COMPLETE,
        seq=1,
        reads=("runs/0000/0/1",),
        counts={"rows": 2},
    )
    metadata = stage_metadata(Report(attempt=attempt, summary=summary, cost=Bill()))
    assert MARKUP.split("!")[0] in metadata["best_idea"].text
    assert not [v for v in metadata.values() if isinstance(v, dg.MarkdownMetadataValue)]
    for value in metadata.values():
        assert str(value.value) == visible(str(value.value))


# ------------------------------------------------------------------------------- varve sql and kin

RESULT = Result(
    columns=("text", "map", "list"),
    types=("VARCHAR", "MAP(VARCHAR, VARCHAR)", "VARCHAR[]"),
    rows=[(ALL, {ALL: ALL}, [ALL, None]), (None, {}, [])],
)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_visible_on_a_terminal(form):
    text = answer_text(RESULT, form, terminal=True)
    assert text == visible(text)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_is_piped_to_a_program_stays_exact(form):
    text = answer_text(RESULT, form, terminal=False)
    assert text == FORMATS[form](RESULT)
    if form == "json":
        assert json.loads(text)[0] == {"text": ALL, "map": {ALL: ALL}, "list": [ALL, None]}
    else:
        assert next(csv.DictReader(io.StringIO(text, newline="")))["text"] == ALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def sent_by_search(folder) -> bytes:
    """What a search of a hostile campaign sends to the terminal that it runs in."""
    home = home_in(folder)
    write_hostile(home, folder)
    trust(home, RIDGE.path)
    return on_a_terminal(home, "search", "small")


@pytest.fixture(scope="module")
def searched(folder, sent_by_search) -> Home:
    """A home in which every idea was hostile."""
    assert b"ideas have a valid score" in sent_by_search
    return home_in(folder)


def home_in(folder: Path) -> Home:
    root = folder / "home"
    return Home(root=root, lake=str(root / "lake"), campaigns=folder / "campaigns")


def on_a_terminal(home: Home, *arguments: str) -> bytes:
    """What `varve` sends to a terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, str(VARVE), *arguments],
        env=child_environment(home)
        | {"COLUMNS": "200", "TERM": "xterm-256color", "VARVE_LAKE": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    sent = bytearray()
    while True:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that nobody holds the other end
            break
        if not chunk:
            break
        sent += chunk
    os.close(ours)
    process.wait()
    return bytes(sent)


@pytest.mark.trains
def test_a_search_shows_titles_and_values_and_obeys_none(sent_by_search):
    assert rb"shouts \x1b[2J\x1b[H\x1b]0;owned" in sent_by_search
    assert b"best of the epoch, not judged yet" in sent_by_search
    assert not [piece for piece in OBEYED if piece in sent_by_search]


@pytest.mark.trains
def test_the_lake_keeps_the_log_as_it_was_printed(searched):
    loud = [run for run in rows(searched, Run) if run.log_tail and "owned" in run.log_tail]
    assert len(loud) == 2
    assert all(ALL in run.log_tail for run in loud)
    told = [event.detail for event in rows(searched, RunEvent) if event.detail]
    refused = [detail for detail in told if "name.json" in detail]
    assert refused
    assert all(r"\\x1b[2J\\u202e\\x0aname.json" in detail for detail in refused)


@pytest.mark.trains
def test_a_patch_that_hides_characters_is_refused_in_visible_words(searched):
    told = query(searched.lake, "select reason from patches where status = 'failed'").rows
    assert len(told) == 1
    assert "hidden characters (U+061C" in told[0][0]


@pytest.mark.trains
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_sql_sends_no_escape_to_a_terminal(searched, form):
    question = (
        "select i.title, i.text, r.log_tail, r.reason, p.diff, p.reason "
        "from ideas i join patches p using (idea_id) left join runs r using (patch_id)"
    )
    sent = on_a_terminal(searched, "sql", question, "--format", form)
    assert rb"\x1b[2J" in sent
    assert b"\x1b" not in sent
    text = sent.decode().replace("\r\n", "\n")
    assert text == visible(text)


@pytest.mark.trains
def test_sql_on_a_terminal_shows_an_error_without_obeying_it(searched):
    sent = on_a_terminal(searched, "sql", f"select '{CLEAR}' from {CLEAR}")
    assert b"varve: SQL" in sent
    assert b"\x1b" not in sent


@pytest.mark.trains
def test_json_piped_to_a_program_has_the_very_log(searched):
    done = subprocess.run(
        [sys.executable, str(VARVE), "sql", "select log_tail from runs", "--format", "json"],
        env=child_environment(searched) | {"VARVE_LAKE": ""},
        capture_output=True,
        check=True,
    )
    assert any(ALL in (row["log_tail"] or "") for row in json.loads(done.stdout))


@pytest.mark.trains
@pytest.mark.parametrize(
    "arguments", [["search", "small"], ["campaigns"], ["lineage"], ["show"], ["show", "--diff"]]
)
def test_no_command_lets_a_model_or_a_job_speak_to_the_terminal(searched, arguments):
    command, *options = arguments
    if command in ("lineage", "show"):
        for idea in rows(searched, Idea):
            sent = on_a_terminal(searched, command, idea.idea_id, *options)
            assert idea.idea_id.encode() in sent
            assert not [piece for piece in OBEYED if piece in sent]
            if command == "show":
                assert b"\x1b" not in sent
    else:
        sent = on_a_terminal(searched, *arguments)
        assert b"small" in sent
        assert not [piece for piece in OBEYED if piece in sent]
