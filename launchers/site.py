"""Where a job will run: what its identity and row say about the machine, told by the launcher.

The machine that asks for a job does not count: its interpreter, torch and processor may differ.
"""

from collections.abc import Callable
from dataclasses import dataclass

from launchers.sandbox.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a profile of an environment asks of a machine."""

    python: str = "this"
    """`this`: the interpreter that runs Varve there; `venv`: one of the environment's own."""
    accelerators: str | None = None
    """As `H100:8`; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The machine that a profile's jobs run on."""

    python: str
    """Path of the interpreter there."""
    torch: str
    """Version with its build, for example `2.13.0+cpu`; `none` where there is none."""
    device_class: str
    """What it computes on, as `cpu-x86_64` or `H100`: results are bit-equal within one class."""
    usd_per_hour: float | None = None
    """Price of the whole machine; None where nothing is charged."""
    try_levels: Callable[[], tuple[Finding, ...]]
    """Tries every sandbox level there, weakest first; done once per process."""

    def finding(self, level: str) -> Finding:
        """What trying a level gave."""
        return next(found for found in self.try_levels() if found.level == level)
