"""What this machine can do: its git, its sandbox levels, each tried for real, and better ones."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.config.git import find_git
from assets.config.sandbox import STRONGEST
from assets.errors import VarveError
from assets.terminal.console import open_console
from launchers.sandbox.finding import Finding
from launchers.sandbox.levels import LEVELS, at_least
from launchers.sandbox.preflight import examine


def show_doctor() -> bool:
    """Print the levels, and where git is; return whether the strongest one works, and git."""
    findings = examine()
    best = [found.level for found in findings if found.works][-1]
    console = open_console()
    console.print(_table(findings))
    console.print(f"Patches of the shipped catalogs run at level {best}.", highlight=False)
    if best != STRONGEST:
        console.print(f"Patches that a model writes need {STRONGEST}.", highlight=False)
    console.print(f"{best} does not hold against:", highlight=False)
    for gap in LEVELS[best].gaps:
        console.print(f"  {gap}", highlight=False, soft_wrap=True, markup=False)
    better = next((one for one in findings if not one.works and at_least(one.level, best)), None)
    if better:
        console.print(f"\nThe next better level is {better.level}. To get it:", highlight=False)
        console.print(f"  {better.remedy}", highlight=False, soft_wrap=True, markup=False)
    return _show_git(console) and findings[-1].works


def _show_git(console: Console) -> bool:
    """Print where git is, or what to do without; return whether it is there."""
    try:
        found, said = True, f"git: {find_git()}"
    except VarveError as error:
        found, said = False, str(error)
    console.print(f"\n{said}", highlight=False, soft_wrap=True, markup=False)
    return found


def _table(findings: list[Finding]) -> Table:
    table = Table("sandbox level", "works here", "because")
    for found in reversed(findings):
        table.add_row(found.level, "yes" if found.works else "no", Text(found.reason))
    return table
