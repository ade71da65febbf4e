"""More callers than connections: they wait, and hear at once of the one that comes free."""

from __future__ import annotations

import threading

import pytest

from yunhe.kernel import limits
from yunhe.kernel.db import Database, DatabaseBusy, Tx
from yunhe.kernel.db.base import Places


def test_who_waits_for_a_connection_has_the_next_that_comes_free(any_db: Database) -> None:
    inside, go, came = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def hold(_tx: Tx) -> None:
        inside.release()
        go.acquire()

    holders = [
        threading.Thread(target=lambda: any_db.read(hold)) for _ in range(limits.SQLITE_READERS_MAX)
    ]
    for each in holders:
        each.start()
    for _ in holders:
        assert inside.acquire(timeout=10)
    last = threading.Thread(target=lambda: any_db.read(lambda _tx: came.set()))
    last.start()
    assert not came.wait(0.2)
    go.release()
    assert came.wait(2)
    go.release(len(holders))
    for each in (*holders, last):
        each.join(10)


def test_nobody_waits_for_a_place_without_end() -> None:
    places = Places(1, 0.05)
    places.take()
    with pytest.raises(DatabaseBusy):
        places.take()
    places.leave()
    places.take()
