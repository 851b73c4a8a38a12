"""`varve show`: what became of an idea, from any id of it, in words."""

import subprocess
import sys
from dataclasses import replace

import pytest
from campaigns import materialize, search_all
from conftest import RIDGE, VARVE, child_environment, trust, write_campaign
from rows import idea, patch, run, scored

from assets.config.home import Home
from assets.errors import VarveError
from assets.results.baseline import OwnBaseline
from assets.results.noise import Noise
from assets.terminal.show import find_row
from assets.terminal.story import BLAMED, KINDS, Story, tell
from lake import Lake, query
from lake.tables import (
    Blame,
    Idea,
    IdeaKind,
    IdeaStatus,
    Patch,
    PatchStatus,
    Run,
    RunStatus,
    Score,
    ScoreStatus,
    Stage,
)

EDITS = {
    "squares": (
        "model/features.py", "POWERS: tuple[int, ...] = ()", "POWERS: tuple[int, ...] = (2,)"
    ),
    "crash": (
        "train.py", "time.sleep(PAUSE_SECONDS)", "print('so far'); raise ValueError('no way')"
    ),
    "unfit": ("train.py", "no such line", "x = 1"),
    "broken": ("train.py", '{"weights": weights}', '{"weights": [1e308] * width}'),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """A home with a campaign of one epoch: a good idea, and three that fail in different ways.

    Runs and scores were made a second time, so that there is history.
    """
    folder = tmp_path_factory.mktemp("show")
    root = folder / "home"
    home = Home(root=root, lake=str(root / "lake"), campaigns=folder / "campaigns")
    catalog = folder / "four.toml"
    catalog.write_text(
        "".join(
            f"[[ideas]]\nname = '{name}'\ntitle = 'Title of {name}'\ntext = 'Text of {name}.'\n"
            f"[[ideas.edits]]\nfile = '{file}'\nsearch = '''{search}'''\nreplace = '''{new}'''\n"
            for name, (file, search, new) in EDITS.items()
        )
    )
    ideators = [{"model": "catalog", "name": str(catalog)}]
    write_campaign(home.campaigns, ideators=ideators, batch=len(EDITS), epochs=1)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VARVE_HOME", str(root))
        environment.setenv("VARVE_CAMPAIGNS", str(home.campaigns))
        environment.delenv("VARVE_LAKE", raising=False)
        trust(home, RIDGE)
        search_all(home)
        materialize(home, 0, (Stage.RUNS, Stage.SCORES))
    return home


def varve(home: Home, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(VARVE), *arguments],
        env=child_environment(home) | {"VARVE_LAKE": ""},
        capture_output=True,
        text=True,
    )


def shown(home: Home, *arguments: str) -> str:
    done = varve(home, "show", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def one(home: Home, sql: str) -> str:
    ((value,),) = query(home.lake, sql).rows
    return value


def idea_of(home: Home, name: str) -> str:
    return one(home, f"select idea_id from ideas where title = 'Title of {name}'")


def test_an_idea_with_a_value_is_told_from_idea_to_log(home):
    text = shown(home, idea_of(home, "squares"))
    for piece in (
        "· campaign small · epoch 0000 · attempt 0, current",
        "  Title of squares\n",
        "  fresh: proposed without history",
        "  edits of the catalog: squares",
        "  | Text of squares.",
        "try 0, revision 0 · written as search_replace · applied",
        "  changes model/features.py; --diff shows how",
        "· seed 0 · finished ·",
        "s of CPU time,",
        "sandbox level ",
        "  r2 0.",
        " noise units better than the baseline: ",
        "  verdict floor: passed: not above 0.99",
        "  measure points: 200",
        "log, its end, as the job printed it:\n| 129 points, 9 features\n",
    ):
        assert piece in text
    assert "+POWERS" not in text


def test_the_diff_is_shown_on_request(home):
    text = shown(home, idea_of(home, "squares"), "--diff")
    assert "  | --- a/model/features.py\n  | +++ b/model/features.py\n" in text
    assert "  | +POWERS: tuple[int, ...] = (2,)" in text


def test_a_failed_patch_names_who_is_to_blame_and_shows_the_answer(home):
    text = shown(home, idea_of(home, "unfit"))
    assert f"  {BLAMED[Blame.PATCH]} (blame: patch)\n" in text
    assert "block 1" in text
    assert "Nothing in the file is like it" in text
    assert "\nrun " not in text
    answer = shown(home, idea_of(home, "unfit"), "--diff")
    assert "  the answer that did not apply:\n  | train.py\n  | <<<<<<< SEARCH\n" in answer


def test_a_crash_of_training_has_no_value_and_its_log(home):
    text = shown(home, idea_of(home, "crash"))
    assert f"  {BLAMED[Blame.TRAIN]} (blame: train)\n" in text
    assert "  Reason: train.py: exited with code 1" in text
    assert "· invalid ·" in text
    assert "  No value, for the reason of its run." in text
    assert "\n| so far\n" in text
    assert "\n| ValueError: no way\n" in text


def test_a_model_that_cannot_be_scored_is_blamed_on_the_model(home):
    text = shown(home, idea_of(home, "broken"))
    assert f"  {BLAMED[Blame.EVALUATE]} (blame: evaluate)\n" in text
    assert "· invalid ·" in text


def test_the_baseline_is_told_with_all_its_seeds(home):
    text = shown(home, one(home, "select idea_id from ideas where kind = 'baseline'"))
    assert "  changes nothing\n" in text
    assert all(f"· seed {seed} ·" in text for seed in (0, 1, 2))


def test_history_is_told_too_and_says_what_is_current(home):
    text = shown(home, idea_of(home, "squares"))
    old = one(
        home,
        "select run_id from runs_history where n = 0 and seed = 0 "
        "and run_id in (select reused_from from runs_history where n = 1) "
        "and patch_id in (select patch_id from patches join ideas using (idea_id) "
        "where title = 'Title of squares')",
    )
    assert f"run {old} · screening · seed 0 · finished · attempt 0, no longer current" in text
    assert f"  taken over from run {old}: the same code, data and seed" in text
    assert "attempt 1, current" in text
    only = shown(home, old)
    assert only.count("\nrun ") == 1
    assert "attempt 1" not in only


@pytest.mark.parametrize("column", ["idea_id", "patch_id", "run_id", "score_id"])
def test_every_kind_of_id_and_its_beginning_leads_to_the_idea(home, column):
    identity = one(
        home,
        f"select {column} from ideas join patches using (idea_id) join runs using (patch_id) "
        "join scores using (run_id) where title = 'Title of crash'",
    )
    text = shown(home, identity[:8])
    assert "Title of crash" in text
    assert f"{column.removesuffix('_id')} {identity}" in text
    assert shown(home, identity.upper()) == text
    runs = text.count("\nrun ")
    assert runs == (1 if column in ("run_id", "score_id") else 2)


@pytest.mark.parametrize("column", ["idea_id", "patch_id", "run_id", "score_id"])
def test_the_lineage_of_every_kind_of_id_is_that_of_its_idea(home, column):
    idea_id, identity = query(
        home.lake,
        f"select idea_id, {column} from ideas join patches using (idea_id) join runs "
        "using (patch_id) join scores using (run_id) where title = 'Title of crash'",
    ).rows[0]
    wanted = varve(home, "lineage", idea_id).stdout
    assert wanted.count("Title of ") == 1
    for written in (identity, identity[:9], f" {identity.upper()} "):
        done = varve(home, "lineage", written)
        assert done.returncode == 0, done.stderr
        said = "" if column == "idea_id" else f"{column} {identity} is of the idea {idea_id}\n"
        assert done.stdout == said + wanted


def test_a_table_is_as_wide_without_a_terminal_as_a_file_may_be(home, tmp_path):
    folder = tmp_path / ("a" * 50)
    write_campaign(tmp_path / "campaigns", "b" * 40, environment=str(folder))
    done = varve(replace(home, campaigns=tmp_path / "campaigns"), "campaigns")
    assert "b" * 40 in done.stdout
    assert max(map(len, done.stdout.splitlines()[:5])) > 80


@pytest.mark.parametrize("command", ["show", "lineage"])
@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (
            "0123456789abcdef",
            "no id begins with '0123456789abcdef'; searched ideas_history, patches",
        ),
        ("abc", "expected 6 to 16 hexadecimal digits"),
        ("' or 1=1 --", "expected 6 to 16 hexadecimal digits"),
        ("0" * 17, "expected 6 to 16 hexadecimal digits"),
        ("\x1b[2J", "expected 6 to 16 hexadecimal digits"),
    ],
)
def test_an_id_that_leads_nowhere_is_answered_in_words(home, command, identity, said):
    done = varve(home, command, identity)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_an_empty_lake_is_answered_in_words(tmp_path):
    with pytest.raises(VarveError, match="no id begins with"):
        find_row(Lake.open(tmp_path / "lake"), "0123456789abcdef")


def test_an_ambiguous_beginning_lists_the_matches(tmp_path):
    lake = Lake.open(tmp_path / "lake")
    lake.append([idea("a", idea_id="abcdef0000000001"), idea("b", idea_id="abcdef1111111111")])
    lake.append([replace(patch("a"), patch_id="abcdef2222222222")])
    with pytest.raises(VarveError) as error:
        find_row(lake, "abcdef")
    assert str(error.value).splitlines() == [
        "several ids begin with 'abcdef'; give more digits:",
        "  idea_id abcdef0000000001 (campaign c, epoch 0000)",
        "  idea_id abcdef1111111111 (campaign c, epoch 0000)",
        "  patch_id abcdef2222222222 (campaign c, epoch 0000)",
    ]
    assert find_row(lake, "abcdef1").identity == "abcdef1111111111"


def test_a_campaign_that_is_gone_is_told_without_noise_units(home, tmp_path):
    elsewhere = replace(home, campaigns=tmp_path)
    text = shown(elsewhere, idea_of(home, "squares"))
    assert "and no baseline to compare it with is known" in text


# ------------------------------------------------------------------------------------ in words


def test_every_blame_and_every_kind_has_its_own_sentence():
    assert set(BLAMED) == set(Blame)
    assert set(KINDS) == set(IdeaKind)
    assert len(set(BLAMED.values())) == len(Blame)


def story(row: Idea, tried: Patch, ran: Run | None = None, score: Score | None = None) -> Story:
    return Story(
        idea=row,
        parents=[],
        patches=[tried],
        runs=[ran] if ran else [],
        scores=[score] if score else [],
        current=frozenset(),
        noise=Noise(mean=2.0, sd=0.1, n=20, mean_n=3, own=OwnBaseline(by_seed={0: 1.9, 1: 2.1})),
        minimize=True,
    )


def told(*rows, diff: bool = False) -> list[str]:
    return list(tell(story(*rows), diff=diff))


@pytest.mark.parametrize("blame", Blame)
def test_a_score_without_a_value_says_who_is_to_blame(blame):
    score = scored("x", value=None).score
    score = replace(score, blame=blame, reason="what happened", status=ScoreStatus.INVALID)
    lines = told(idea("x"), patch("x"), run("x"), score)
    assert f"  {BLAMED[blame]} (blame: {blame})" in lines
    assert "  Reason: what happened" in lines


def test_answers_that_were_not_looked_at_and_repairs_are_told():
    untried = [
        replace(patch("x"), patch_id=f"u{n}", ordinal=n, status=PatchStatus.UNTRIED, tree=None)
        for n in (1, 2)
    ]
    taken = replace(patch("x"), repairs=("hunk headers recounted",))
    whole = replace(story(idea("x"), taken, run("x")), patches=[taken, *untried])
    lines = list(tell(whole, diff=False))
    assert "2 more answers were asked for and not looked at: another one was taken" in lines
    assert "  mended: hunk headers recounted" in lines
    alone = told(idea("x"), untried[0])
    assert "  Not looked at: another try of the idea was taken." in alone


def test_a_rejected_idea_says_what_it_is_too_like():
    row = replace(idea("x"), status=IdeaStatus.REJECTED, reason="too like idea 0123")
    lines = list(tell(replace(story(row, patch("x")), patches=[]), diff=False))
    assert "  rejected, so that no patch was paid for it: too like idea 0123" in lines
    assert not any("no patch yet" in line for line in lines)


def test_what_has_not_happened_yet_is_said():
    assert "no run yet: the stage that runs patches has not ended" in told(idea("x"), patch("x"))
    lines = told(idea("x"), patch("x"), run("x"))
    assert "no score yet: the stage that judges runs has not ended" in lines
    unpatched = replace(story(idea("x"), patch("x")), patches=[])
    told_of = list(tell(unpatched, diff=False))
    assert told_of[-1] == "no patch yet: the stage that writes patches has not ended"


def test_values_are_compared_in_the_metric_s_direction():
    score = scored("x", value=1.5).score
    (line,) = [line for line in told(idea("x"), patch("x"), run("x"), score) if "val_loss" in line]
    assert line == (
        "  val_loss 1.5, 4.0 noise units better than the baseline: 1.9 with the same seed, "
        "2 (mean of 3) ± 0.1 (sd of 20)"
    )
    worse = replace(score, value=2.5)
    assert any("6.0 noise units worse" in x for x in told(idea("x"), patch("x"), run("x"), worse))


def test_a_cancelled_run_blames_nobody_and_an_unknown_parent_is_said():
    row = idea("x", kind="exploit", parents=("0123456789abcdef",))
    lines = told(row, patch("x"), run("x", status=RunStatus.CANCELLED, sandbox_level=None))
    assert "  parent 0123456789abcdef: not in this lake" in lines
    assert "  Stopped at the user's request. It says nothing of the idea." in lines
    assert "  sandbox level unknown, with no gap on record" in lines
    assert "log: the job printed nothing" in lines


def test_no_text_of_a_model_or_a_job_passes_for_a_line_of_the_story():
    fake = "x\nscore 0123456789abcdef · valid\n  val_loss 0.0\x1b[2J\u2028score 1"
    failed = replace(
        patch("x"), status=PatchStatus.FAILED, tree=None, blame=Blame.PATCH, reason=fake, diff=fake
    )
    score = replace(scored("x", value=1.5).score, verdicts={fake: fake}, measures={fake: 1.0})
    ran = run("x", log_tail=fake, hardware=fake, sandbox_gaps=(fake,), reason=fake)
    ran = replace(ran, status=RunStatus.FAILED, blame=Blame.TRAIN)
    row = idea("x", idea_id="i-x", edits=(fake,))
    lines = told(replace(row, title=fake, text=fake), failed, ran, score, diff=True)
    assert not [line for line in lines if line.startswith("score 0123456789abcdef")]
    assert not [line for line in lines if line.strip() == "val_loss 0.0"]
    assert "\x1b" not in "".join(lines)
    assert "\u2028" not in "".join(lines)
