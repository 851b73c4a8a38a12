"""`varve`: run a search, ask the lake, open the UI.

Commands import what they need when they run, so that `varve sql` does not wait for Dagster.
"""

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import click

from assets.config.home import find_home
from assets.errors import TOLD, Interrupted, no_room
from launchers.visible import visible

IMPORTED = 100_000
"""Objects between two looks for circles among them: imports alone make half a million that stay."""
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@contextmanager
def spoken_errors() -> Iterator[None]:
    """Show what a user can act on without a traceback; exit code 130 after Ctrl-C, else 1."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("varve: stopped at your request", err=True)
        sys.exit(130)
    except TOLD as error:
        click.echo(f"varve: {visible(str(error))}", err=True)
        sys.exit(130 if isinstance(error, Interrupted) else 1)
    except OSError as error:
        click.echo(f"varve: {visible(no_room(find_home().root, error))}", err=True)
        sys.exit(1)


at_level = click.option(
    "--sandbox",
    type=click.Choice(["bwrap", "landlock", "none"]),
    help="Level for the jobs of this call (default: the campaign's). Patches that a model wrote "
    "run below bwrap only if the level is named here.",
)


KEY = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="VARIABLE=ADDRESS",
    help="The key in this environment variable may go to this address; remembered. A vendor's own "
    "goes to the vendor without it. Repeat for more.",
)
TRUST = click.option(
    "--trust",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The prepare.py and the scoring files of this environment's folder may run as you, as "
    "they are; remembered until they change. Look at them first. Repeat for more.",
)


def allowing(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which a user allows what a campaign may not decide."""

    @KEY
    @TRUST
    @wraps(command)
    def allow_first(
        *given: object, keys: tuple[str, ...], folders: tuple[Path, ...], **named: object
    ) -> None:
        if keys or folders:
            from assets.config.allowed import allow
            from assets.config.environment import read_environment

            with spoken_errors():
                environments = [read_environment(folder.resolve()) for folder in folders]
                allow(find_home(), keys=keys, environments=environments)
        command(*given, **named)

    return allow_first


@click.group(context_settings=HELP)
def main() -> None:
    """Execution-grounded automated AI research.

    A campaign proposes ideas, patches an environment for each, trains and scores the patched code,
    and lets the scores decide what is tried next. Every idea, patch, run and score is a row in a
    lake that is only ever added to.

    \b
    Try:
      varve search demo
      varve sql "select title, value from leaderboard order by reward desc limit 5"
      varve ui
    """
    gc.set_threshold(IMPORTED)


@main.command()
@click.argument("campaign")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Work on at most this many epochs in this call (default: all that are missing).",
)
@at_level
@allowing
def search(campaign: str, epochs: int | None, sandbox: str | None) -> None:
    """Run CAMPAIGN from where it stands until all its epochs have scores.

    Only what is missing or was left open is worked on; finished jobs are never repeated. The first
    Ctrl-C starts no new job and waits for those that run, the second cancels them; either way the
    same command continues where it stopped.

    \b
    Example: varve search demo --epochs 2
    """
    from assets.terminal.commands import search_in_terminal

    atexit.register(gc.freeze)  # what is left is not looked through before the process ends
    with spoken_errors():
        search_in_terminal(find_home(), campaign, limit=epochs, sandbox=sandbox)


@main.command()
@click.argument("campaign")
@click.option(
    "--epochs",
    "span",
    required=True,
    metavar="FIRST[-LAST]",
    help="Epochs to run again, for example 2 or 1-3; each rests on the new results before it.",
)
@at_level
@allowing
def backfill(campaign: str, span: str, sandbox: str | None) -> None:
    """Run a range of epochs of CAMPAIGN again, in order, as new attempts.

    Nothing is overwritten: the earlier attempts stay in the *_history views. Jobs whose code, data
    and seed were run before are taken over, not bought again. The UI can do the same; this command
    needs no server.

    \b
    Example: varve backfill demo --epochs 2-3
    """
    from assets.terminal.commands import backfill_in_terminal

    atexit.register(gc.freeze)  # what is left is not looked through before the process ends
    with spoken_errors():
        backfill_in_terminal(find_home(), campaign, span, sandbox=sandbox)


@main.command()
@click.argument("query")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="table for eyes, csv and json for programs.",
)
def sql(query: str, form: str) -> None:
    """Ask the lake one read-only question in DuckDB SQL.

    \b
    Views of what is current: ideas patches runs scores selections leaderboard
    With every attempt:      ideas_history patches_history runs_history scores_history
    Events and model calls:  attempts run_events completions

    \b
    Examples:
      varve sql "select * from leaderboard order by reward desc limit 10"
      varve sql "select blame, count(*) from scores group by blame" --format csv
      varve sql "describe runs"
    """
    from assets.quoting import answer_text
    from lake import query as ask

    with spoken_errors():
        result = ask(find_home().lake, query)
        click.echo(answer_text(result, form, terminal=sys.stdout.isatty()), nl=False)


@main.command()
@click.argument("idea_id")
def lineage(idea_id: str) -> None:
    """Show the ideas that IDEA_ID descends from, nearest first, over all attempts.

    Its first six digits, or more, are enough; the id of a patch, run or score stands for its idea.

    \b
    Example: varve lineage 24a549
    """
    from assets.terminal.lineage import show_lineage

    with spoken_errors():
        show_lineage(find_home(), idea_id)


@main.command()
@click.argument("identity", metavar="ID")
@click.option("--diff", is_flag=True, help="Show the diffs too, or the answers that did not apply.")
def show(identity: str, diff: bool) -> None:
    """Explain ID in words: what was tried, what came of it, and who is to blame.

    ID is an idea_id, patch_id, run_id or score_id of any attempt, or its first six digits or more.
    What models and jobs wrote is quoted: hidden characters are shown as escapes such as \\x1b.

    \b
    Example: varve show 24a549 --diff
    """
    from assets.terminal.show import show as show_in_terminal

    with spoken_errors():
        show_in_terminal(find_home(), identity, diff=diff)


@main.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port to listen on.",
)
@click.option(
    "--host",
    "address",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. There is no login: whoever reaches it can start runs.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME[:PORT]",
    help="A further name that browsers may ask for, where the address or port that they see is "
    "another one. May be repeated.",
)
@allowing
def ui(port: int, address: str, names: tuple[str, ...]) -> None:
    """Open the Dagster UI on this project's history, with its daemon, until Ctrl-C.

    It listens on 127.0.0.1 only, because it has no login, and answers no page but its own. A run
    may name a weaker sandbox level than its campaign's with the token that is printed here.

    \b
    Example: varve ui --port 3001
    """
    from assets.terminal.ui import serve_ui

    with spoken_errors():
        serve_ui(find_home(), port, address=address, names=names)


@main.command("rebuild-history")
def rebuild() -> None:
    """Make Dagster's history again from the lake, where it is damaged or lost.

    The old one is set aside, with its logs, and nothing is started. The UI then shows every epoch
    and stage that the lake has.

    \b
    Example: varve rebuild-history
    """
    from assets.graph.rebuild import rebuild_history

    with spoken_errors():
        rebuilt = rebuild_history(find_home())
        aside = f"; the old one lies in {rebuilt.aside}" if rebuilt.aside else ""
        click.echo(f"{rebuilt.attempts} attempts of the lake stand in the new history{aside}")


@main.command()
def doctor() -> None:
    """Say where git is, which sandbox levels this machine has, and how to get the next better one.

    Each level is actually tried with the arguments of a job. Exit code 1 if the best one does not
    work, or git is not found.

    \b
    Example: varve doctor
    """
    from assets.terminal.doctor import show_doctor

    with spoken_errors():
        sys.exit(0 if show_doctor() else 1)


@main.command()
def campaigns() -> None:
    """List the campaigns, how far each has come, and which cannot be loaded.

    \b
    Example: varve campaigns
    """
    from assets.terminal.commands import list_campaigns

    with spoken_errors():
        list_campaigns(find_home())
