"""A full disk, a locked database, on real nodes: a clear error, no half state, then recovery."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from flow.crash_world import CONSUMER, PROVIDER, PURPOSE, SMALL, CrashWorld, crash_world, until
from yunhe.sdk import YunheRefused

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="needs prlimit(2) to fill a running node's disk"
)
FORM = {
    "title_zh": "又一队列",
    "title_en": "Another cohort",
    "description_zh": "合成",
    "description_en": "Synthetic",
    "tables": [{"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"}],
}
BOOKS = {
    "uses": "SELECT use_id, state FROM control_use ORDER BY 1",
    "meters": "SELECT use_id, n FROM exchange_meter ORDER BY 1, 2",
    "receipts": "SELECT use_id FROM exchange_receipt ORDER BY 1",
    "asked": "SELECT use_id FROM exchange_asked ORDER BY 1",
    "statements": "SELECT statement_id, state FROM exchange_statement ORDER BY 1",
    "resources": "SELECT count(*) FROM catalog_entry",
    "entries": "SELECT max(size) FROM evidence_checkpoint",
    "outbox": "SELECT message_id FROM outbox ORDER BY 1",
}


@pytest.fixture(scope="module")
def world() -> Iterator[CrashWorld]:
    with crash_world() as made:
        yield made


@contextmanager
def full_disk(world: CrashWorld, key: str) -> Iterator[None]:
    """No file of the node's process may grow: what a full disk does to database and files alike."""
    pid = world.nodes[key].pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (16, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def locked(world: CrashWorld, key: str) -> Iterator[None]:
    """Another process holds the write lock of the node's database."""
    file = world.nodes[key].home / "var" / "node.db"
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def books(world: CrashWorld, key: str) -> dict[str, Any]:
    return {name: world.rows(key, query) for name, query in BOOKS.items()}


def refused(world: CrashWorld, key: str, code: str, call: Any) -> None:
    """`call(space)` is refused by 503 and the code, in both languages, and stores nothing."""
    before = books(world, key)
    with world.space(key) as space, pytest.raises(YunheRefused) as problem:
        call(space)
    assert (problem.value.status, problem.value.code) == (503, code)
    assert problem.value.sentence("zh")
    assert problem.value.remedy("zh")
    assert books(world, key) == before


def ask(world: CrashWorld, use_id: str) -> Any:
    return lambda space: space.sql(SMALL, world.contract_id, PURPOSE, use_id=use_id)


TROUBLES = [(full_disk, "STORAGE_FULL"), (locked, "DATABASE_BUSY")]


@pytest.mark.parametrize(("trouble", "code"), TROUBLES, ids=["full", "locked"])
def test_the_providers_storage(world: CrashWorld, trouble: Any, code: str) -> None:
    world.query()
    until("quiet", world.idle)
    with trouble(world, PROVIDER):
        refused(world, PROVIDER, code, lambda space: space.add_resource(FORM))
        if trouble is full_disk:  # a lock is waited for: once is enough
            refused(world, PROVIDER, code, lambda space: space.issue_statement(world.contract_id))
        with world.space(PROVIDER) as space:
            assert space.bill(world.contract_id).uses > 0  # what only reads goes on
    with world.space(PROVIDER) as space:
        assert space.add_resource(FORM).id
    world.check()
    assert "Traceback" not in world.nodes[PROVIDER].log.read_text("utf-8", "replace")


@pytest.mark.parametrize(("trouble", "code"), TROUBLES, ids=["full", "locked"])
def test_a_use_while_the_provider_cannot_write(world: CrashWorld, trouble: Any, code: str) -> None:
    with world.space(CONSUMER) as space:
        before = space.bill(world.contract_id).uses
        with trouble(world, PROVIDER), pytest.raises(YunheRefused) as problem:
            ask(world, f"provider-{code}")(space)
        assert (problem.value.status, problem.value.code) == (503, code)
        world.check()
        assert space.bill(world.contract_id).uses == before  # it never was, at either end
        with pytest.raises(YunheRefused, match="USE_ALREADY_SPENT"):
            ask(world, f"provider-{code}")(space)
        assert ask(world, f"provider-after-{code}")(space).num_rows
    world.check()


def test_a_provider_that_is_down_leaves_nothing_in_doubt(world: CrashWorld) -> None:
    world.query()
    world.nodes[PROVIDER].stop()
    with world.space(CONSUMER) as space:
        with pytest.raises(YunheRefused, match="PROVIDER_UNREACHABLE"):
            ask(world, "provider-down")(space)
        assert world.rows(CONSUMER, "SELECT use_id FROM exchange_asked") == []
        world.restart(PROVIDER)
        assert ask(world, "provider-down")(space).num_rows
    world.check()


@pytest.mark.parametrize(("trouble", "code"), TROUBLES, ids=["full", "locked"])
def test_the_consumers_storage(world: CrashWorld, trouble: Any, code: str) -> None:
    until("quiet", world.idle)
    with trouble(world, CONSUMER):
        # Refused before the provider is asked: what we cannot sign for we do not fetch.
        refused(world, CONSUMER, code, ask(world, f"consumer-{code}"))
    with world.space(CONSUMER) as space:
        assert ask(world, f"consumer-{code}")(space).num_rows
    world.check()
