"""One holder per campaign and lake: by a file lock in a folder, by a lease on an object store."""

import json
import os
import signal
import threading
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from time import sleep

import pytest
from object_store import URI
from obstore.store import from_url

from lake import Journal, Lake, Lease, LeaseError, Stage, StorageError, Writer

QUICK = {"renew_seconds": 0.5, "patience_seconds": 4.0}
PATH = "_locks/demo.json"


def lease(who: str) -> Lease:
    return Lease(URI, "demo", {"who": who}, **QUICK)


def hold(who: str, has_it: Event, done: Event) -> None:
    held = lease(who)
    has_it.set()
    done.wait(60)
    held.release()


def test_the_second_is_refused_and_told_who_holds_it(store):
    with closing_lease(lease("first")) as first:
        sleep(2 * QUICK["patience_seconds"])
        with pytest.raises(LeaseError, match='"who": "first"'):
            lease("second")
        first.check()
    lease("third").release()
    assert not store.list().collect()


def closing_lease(held: Lease):
    held.close = held.release
    return closing(held)


def test_a_dead_holders_lease_is_taken_over_by_one(store):
    context = get_context("spawn")
    has_it, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=("dead", has_it, done))
    holder.start()
    assert has_it.wait(60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    found: list[Lease | LeaseError] = []

    def take(who: str) -> None:
        try:
            found.append(lease(who))
        except LeaseError as error:
            found.append(error)

    takers = [threading.Thread(target=take, args=(str(i),)) for i in range(3)]
    for each in takers:
        each.start()
    for each in takers:
        each.join()
    holders = [each for each in found if isinstance(each, Lease)]
    assert len(holders) == 1
    assert len(found) == 3
    holders[0].check()
    holders[0].release()


@pytest.mark.parametrize("change", ["removed", "taken over", "unreachable"])
def test_a_holder_that_lost_its_lease_commits_nothing_more(store, tmp_path, change):
    held = lease("first")
    journal = Journal.open(tmp_path / "journal.db")
    writer = Writer(Lake.open(tmp_path / "lake"), journal, "demo", check=held.check)
    attempt = writer.begin(0, Stage.EVOLUTION).attempt
    writer.complete(attempt, [])
    if change == "removed":
        store.delete(PATH)
    elif change == "taken over":
        store.put(PATH, json.dumps({"token": "other"}).encode())
    else:
        held._store = from_url("s3://nowhere/lake", client_options={"timeout": "1s"})
    sleep(QUICK["patience_seconds"] + 3 * QUICK["renew_seconds"])
    writer.begin(1, Stage.EVOLUTION)
    with pytest.raises(LeaseError, match="has lost the lease"):
        writer.flush()
    assert journal.pending() == 1
    held.release()
    assert bool(store.list().collect()) == (change != "removed")
    journal.close()


def test_a_store_that_cannot_be_reached_is_told(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_RETRIES", "0")
    with pytest.raises(StorageError, match="conditional puts"):
        Lease(URI, "demo", {}, **QUICK)
