"""The one lake of a process at a place, with its open tables and what was read through it.

Stages of an epoch, and epochs of a search, run one after the other in one process; opening every
table and reading every epoch anew in each of them costs more with every epoch before. A folder
that was removed or replaced since is another lake: the open one is given up then. Of an object
store nobody can tell that at once, so a lake there is opened anew.
"""

import threading
from pathlib import Path

from lake.delta import Lake

MOST = 4
"""Lakes that are kept open; a process works on one."""
_open: dict[str, Lake] = {}
_guard = threading.Lock()


def shared_lake(uri: str | Path) -> Lake:
    """The lake of this process at a place; see `Lake.open`."""
    lake = Lake.open(uri)
    if not lake.is_local:
        return lake
    with _guard:
        known = _open.pop(lake.uri, None)
        if known is not None and known.is_in_place():
            lake = known
        _open[lake.uri] = lake
        while len(_open) > MOST:
            del _open[next(iter(_open))]
    return lake
