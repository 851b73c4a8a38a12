"""What an idea descends from, as a table."""

from rich.table import Table

from assets.config.home import Home
from assets.quoting import title_cell
from assets.terminal.console import open_console
from assets.terminal.show import find_row, idea_above
from lake import Lake, ancestors
from lake.tables import Idea


def show_lineage(home: Home, identity: str) -> None:
    """Print an idea and its ancestors, nearest first.

    Args:
        home: where the lake is.
        identity: an id of an idea, or of a patch, run or score of one, or its beginning.

    Raises:
        VarveError: if nothing or more than one thing has such an id.
    """
    lake, console = Lake.open(home.lake), open_console()
    found = find_row(lake, identity)
    idea_id = idea_above(lake, found)
    if idea_id != found.identity:
        said = f"{found.key} {found.identity} is of the idea {idea_id}"
        console.print(said, highlight=False, soft_wrap=True)
    depths = {each.idea_id: each.depth for each in ancestors(lake, idea_id)}
    table = Table("depth", "epoch", "idea", "kind", "title")
    ideas = lake.read(Idea, where={"idea_id": depths.keys()})
    for idea in sorted(ideas, key=lambda idea: (depths[idea.idea_id], idea.ordinal)):
        depth = str(depths[idea.idea_id])
        table.add_row(depth, f"{idea.epoch:04d}", idea.idea_id, idea.kind, title_cell(idea.title))
    console.print(table)
