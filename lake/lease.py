"""One holder of a name in a lake on an object store, by conditional puts.

A lease is an object beside the tables, `_locks/<name>.json`. It is made only if there is none, and
the holder renews it every RENEW_SECONDS, each time only over the state that it wrote itself.
Whoever finds it watches it by a clock of its own, so that clocks of machines are never compared: a
lease that is renewed meanwhile is held; one that stays the same for PATIENCE_SECONDS is of a dead
holder and is taken over, by one of those who watch. A holder that cannot renew for that long, or
finds somebody else's lease, has lost it, and `check` says so before anything more is written.

The store needs conditional puts (S3, GCS, Azure, R2, MinIO have them); it is configured as
deltalake's is, by AWS_* and the like. A lake in a folder has a file lock instead.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from lake.errors import LeaseError, StorageError

if TYPE_CHECKING:
    from obstore import GetResult, UpdateVersion

RENEW_SECONDS = 10.0
PATIENCE_SECONDS = 45.0
FOLDER = "_locks"


class Lease:
    """A held name; `release` it."""

    def __init__(
        self,
        uri: str,
        name: str,
        said: Mapping[str, str],
        *,
        renew_seconds: float = RENEW_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Takes the lease, after watching a found one for as long as `patience_seconds`.

        Args:
            uri: Of the lake.
            name: What is held, for example a campaign.
            said: What others are told about the holder.
            renew_seconds: Between two renewals.
            patience_seconds: After which a lease that is not renewed is nobody's.

        Raises:
            LeaseError: Somebody holds it.
            StorageError: The store cannot be reached, or has no conditional puts.
        """
        from obstore.store import from_url

        self._where, self._path = f"{uri}/{FOLDER}/{name}.json", f"{FOLDER}/{name}.json"
        self._said, self._token = dict(said), uuid.uuid4().hex
        self._renew, self._patience = renew_seconds, patience_seconds
        self._writes = 0
        self._lost: str | None = None
        with _reached(self._where):
            self._store = from_url(uri)
            self._state = self._take()
        self._renewed = _now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Does nothing while the lease is held.

        Raises:
            LeaseError: It was lost.
        """
        if self._lost is None and _now() - self._renewed > self._patience:
            self._lost = f"not renewed for {self._patience:g} s"
        if self._lost is not None:
            raise LeaseError(
                where=self._where,
                found=f"this process has lost the lease: {self._lost}",
                expected="to be the only one who writes",
                todo="Run the same command again; what was recorded is kept",
            )

    def release(self) -> None:
        """Gives the name back; a lease that was lost is left to its holder."""
        from obstore.exceptions import BaseError

        self._ended.set()
        self._thread.join()
        try:
            if self._lost is None and _token(self._get()) == self._token:
                self._store.delete(self._path)
        except (BaseError, OSError):
            return  # nobody renews it: whoever comes next takes it over

    def _take(self) -> "UpdateVersion":
        from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

        while True:
            try:
                return self._put("create")
            except AlreadyExistsError:
                pass
            try:
                found = self._get()
                if _token(found) == self._token:  # made by a put whose answer was lost
                    return _version(found)
                self._watch(found)
                return self._put(_version(found))
            except (NotFoundError, PreconditionError):
                continue  # released, or taken over by another who watched

    def _watch(self, found: "GetResult") -> None:
        """Returns once a lease has stayed as it was found for long enough."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            time.sleep(self._renew / 2)
            newer = self._get()
            if _version(newer) != _version(found):
                said = bytes(newer.bytes()).decode(errors="replace")
                raise LeaseError(
                    where=self._where,
                    found=f"it is held by {said}",
                    expected="to be alone",
                    todo="Wait until it ends, or stop it with Ctrl-C there",
                )

    def _keep(self) -> None:
        from obstore.exceptions import BaseError

        while not self._ended.wait(self._renew):
            began = _now()
            try:
                if not self._renew_once():
                    return
            except (BaseError, OSError):
                continue  # `check` counts the time
            self._renewed = began

    def _renew_once(self) -> bool:
        """Whether the lease is still held after one more write."""
        from obstore.exceptions import NotFoundError, PreconditionError

        try:
            self._state = self._put(self._state)
        except (PreconditionError, NotFoundError):
            return self._is_mine()
        return True

    def _is_mine(self) -> bool:
        """Whether the lease, found in another state, is of this holder: an answer was lost."""
        from obstore.exceptions import NotFoundError

        try:
            found = self._get()
        except NotFoundError:
            found = None
        if found is None or _token(found) != self._token:
            self._lost = "somebody else wrote or removed it"
            return False
        self._state = _version(found)
        return True

    def _put(self, mode: "Literal['create'] | UpdateVersion") -> "UpdateVersion":
        """Writes the lease under a condition, and gives its state for the next one."""
        self._writes += 1
        body = {**self._said, "token": self._token, "writes": self._writes}
        result = self._store.put(self._path, json.dumps(body).encode(), mode=mode)
        return _present(result)

    def _get(self) -> "GetResult":
        return self._store.get(self._path)


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps, where it has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _version(found: "GetResult") -> "UpdateVersion":
    return _present(found.meta)


def _present(meta: Mapping[str, Any]) -> "UpdateVersion":
    """The entity tag and the version of an object, as a condition takes them."""
    found = {key: meta[key] for key in ("e_tag", "version") if meta.get(key) is not None}
    return cast("UpdateVersion", found)


def _token(found: "GetResult") -> str | None:
    try:
        return str(json.loads(bytes(found.bytes()))["token"])
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def _reached(where: str) -> Iterator[None]:
    """Turns errors of the store into StorageError."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        raise StorageError(
            where=f"lease {where}",
            found=f"{type(error).__name__}: {error}",
            expected="an object store that can be reached and has conditional puts",
            todo="Check the URI, the credentials and the network",
        ) from error
