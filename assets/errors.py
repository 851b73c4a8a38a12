"""Errors of `assets`. A message says where, what was found, what was expected, what to do.

The other rooms have trees of their own; `TOLD` has the root of each.

VarveError
├── CampaignError      a `defs.yaml` that cannot be used, or a campaign that is not there
├── NotAllowedError    a key, or the code of a folder, that the user has not named
├── ManifestError      an environment folder that breaks the contract
├── IdentityError      what a campaign measures has changed since its first attempt
├── OrderError         an epoch whose predecessors are not ready
├── HeldError          another process works on the campaign
├── SandboxError       the sandbox level that is asked for or needed does not work, or is too weak
├── MachineError       jobs fail for reasons that say nothing about their ideas
├── PatchError         an answer that cannot be applied
├── BudgetReached      a cap on money or GPU time is reached; the attempt stays open
├── ProviderError      no model call can succeed as things are; the attempt stays open
├── AnswerError        a model's answer that cannot be read
└── Interrupted        the user asked to stop; the attempt stays open
"""

import errno
from pathlib import Path
from typing import Self

from lake.errors import LakeError
from launchers import LauncherError, TreeError
from launchers.visible import ToldError

NO_ROOM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EIO,
}


def no_room(place: Path, error: OSError) -> str:
    """What to say when the machine refuses to write; any other error is a bug and is raised.

    Raises:
        OSError: the error itself, if it says something else.
    """
    if error.errno not in NO_ROOM:
        raise error
    return (
        f"{error.filename or place}: {error.strerror}. Expected to be able to write under {place}: "
        "free space or correct the permissions, then run the same command again; what was recorded "
        "is kept"
    )


class VarveError(ToldError):
    """Something a user can act on; shown without a traceback."""


class CampaignError(VarveError):
    """A `defs.yaml` that cannot be used, or a campaign that is not there."""


class NotAllowedError(VarveError):
    """A key that would go, or code of a folder that would run, without the user's word for it."""


class ManifestError(VarveError):
    """An environment folder that breaks the contract of `environments/README.md`."""


class IdentityError(VarveError):
    """What a campaign measures has changed since its first attempt."""


class OrderError(VarveError):
    """An epoch was asked for before its predecessors are ready."""


class HeldError(VarveError):
    """Another process works on the campaign."""


class HistoryError(VarveError):
    """Dagster's history cannot be read; the results are in the lake, from which it can be made."""


class MachineError(VarveError):
    """Jobs fail for reasons that say nothing about their ideas; the attempt stays open."""

    @classmethod
    def of_job(cls, what: str, reason: str | None, *, expected: str, shown: object) -> Self:
        """A job that failed more than once.

        Args:
            what: the job.
            reason: why it failed.
            expected: what it should have done.
            shown: where to look.
        """
        return cls(
            f"{what} failed more than once because of the machine: {reason}. Expected {expected}: "
            f"repair what {shown} shows and run the same command again"
        )


class SandboxError(VarveError):
    """The sandbox level that a call asks for or needs does not work, or is too weak."""


class PatchError(VarveError):
    """An answer that cannot be applied to the environment; the message is the patch's reason."""


class BudgetReached(VarveError):
    """A cap of the campaign's budget is reached: nothing new starts, what was paid for is kept."""


class AnswerError(VarveError):
    """An answer that holds no ideas in a form that can be read; says what was found."""


class ProviderError(VarveError):
    """No call can succeed as things are: a missing or refused key, an unknown model, an outage.

    Nothing is lost: the stage stays open, and the same command goes on from there.
    """


class Interrupted(VarveError):
    """The user asked to stop; what runs was waited for or cancelled, the attempt stays open."""


TOLD = (VarveError, LakeError, LauncherError, TreeError)
"""Roots of all that a user can act on, in every room: shown without a traceback."""
