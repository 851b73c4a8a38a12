"""What a running program may not exceed, looked at every tenth of a second.

Processor time and the wall clock are the step's own affair. The wall holds some of these limits
harder; the watch holds them where the wall cannot.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from launchers.process_tree import ProcessTree
from launchers.sandbox.bwrap import IN_MEMORY
from launchers.supervisor.kernel_memory import MOST_OPEN, TooManyOpenError, kernel_bytes
from launchers.supervisor.log import BoundedLog

FLOOD_BYTES = 1 << 30
"""Most that a program may print; what is over the log's cap is dropped long before."""
MOST_ENTRIES = 65536
"""Files and folders that a program may have made where its disk is watched."""


class Limits(NamedTuple):
    """The limits of one step."""

    memory_bytes: int
    """Of all processes together, the files that they keep in memory, and what the kernel keeps for
    them: page tables, and what fits into their pipes and sockets. Shared pages count once,
    but for those of such files, which count as file and as memory where they are mapped."""
    processes: int
    """Alive at once."""
    folder: str | None = None
    """Folder whose content is watched; None where its size is limited by other means."""
    folder_bytes: int = 0

    def excess(self, tree: ProcessTree, log: BoundedLog) -> str | None:
        """What is exceeded at this moment, in words; None while nothing is."""
        kept, entries = _kept_in_memory(tree.pids())
        if entries > MOST_ENTRIES:
            return f"made more than {MOST_ENTRIES} files"
        memory = tree.memory_bytes(above=self.memory_bytes - kept) + kept
        if memory > self.memory_bytes:
            return f"used {memory} bytes of memory, at most {self.memory_bytes} may be used"
        try:
            memory += kernel_bytes(tree.folders(), room=self.memory_bytes - memory)
        except TooManyOpenError:
            return f"had more than {MOST_OPEN} files open"
        if memory > self.memory_bytes:
            return (
                f"used {memory} bytes of memory, with its page tables and what fits into its pipes "
                f"and sockets, at most {self.memory_bytes} may be used"
            )
        if tree.count() > self.processes:
            return f"had {tree.count()} processes, at most {self.processes} may live at once"
        if log.total > FLOOD_BYTES:
            return f"printed {log.total} bytes, at most {FLOOD_BYTES} may be printed"
        return self._folder_excess()

    def _folder_excess(self) -> str | None:
        if self.folder is None:
            return None
        size, entries = _content(self.folder, self.folder_bytes)
        if entries > MOST_ENTRIES:
            return f"made more than {MOST_ENTRIES} files"
        if size > self.folder_bytes:
            return f"wrote {size} bytes to disk, at most {self.folder_bytes} may lie there"
        return None


def _kept_in_memory(pids: Iterable[int]) -> tuple[int, int]:
    """Bytes and number of files in the memory file systems of a namespace below this process.

    Args:
        pids: processes; the first whose root is not this one's is looked through.
    """
    for pid in pids:
        inside = f"/proc/{pid}/root"
        try:
            if os.path.samestat(os.stat(inside), os.stat("/")):
                continue
            found = [os.statvfs(f"{inside}{at}") for at in IN_MEMORY if os.path.isdir(inside + at)]
        except OSError:  # not entered yet, or gone
            continue
        used = sum((one.f_blocks - one.f_bfree) * one.f_frsize for one in found)
        return used, sum(one.f_files - one.f_ffree for one in found)
    return 0, 0


def _content(folder: str, enough: int) -> tuple[int, int]:
    """Bytes on disk and number of entries below a folder, counted until they are too many."""
    size, entries, pending = 0, 0, [folder]
    while pending and size <= enough and entries <= MOST_ENTRIES:
        try:
            with os.scandir(pending.pop()) as found:
                for entry in found:
                    entries += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    if entries > MOST_ENTRIES:
                        break
        except OSError:  # what is gone takes no room
            continue
    return size, entries
