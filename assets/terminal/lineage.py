"""What an idea descends from, as a table."""

from rich.console import Console
from rich.table import Table

from assets.config.home import Home
from assets.errors import VarveError
from assets.quoting import title_cell
from assets.terminal.show import find_row
from lake import Lake, ancestors
from lake.ids import DIGITS
from lake.tables import Idea


def show_lineage(home: Home, idea_id: str) -> None:
    """Print the idea and its ancestors, nearest first.

    Args:
        home: where the lake is.
        idea_id: an idea's id, or its beginning.

    Raises:
        VarveError: if the lake has no such idea, or several.
    """
    lake = Lake.open(home.lake)
    if len(idea_id) != DIGITS:
        idea_id = find_row(lake, idea_id).identity
    depths = {found.idea_id: found.depth for found in ancestors(lake, idea_id)}
    if not depths:
        raise VarveError(
            f"{home.lake}: no idea {idea_id!r}; expected an id such as "
            '`varve sql "select idea_id, title from ideas_history"` shows'
        )
    table = Table("depth", "epoch", "idea", "kind", "title")
    ideas = lake.read(Idea, where={"idea_id": depths.keys()})
    for idea in sorted(ideas, key=lambda idea: (depths[idea.idea_id], idea.ordinal)):
        depth = str(depths[idea.idea_id])
        table.add_row(depth, f"{idea.epoch:04d}", idea.idea_id, idea.kind, title_cell(idea.title))
    Console().print(table)
