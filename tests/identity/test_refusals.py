"""Refusals of strangers are counted, not stored one by one."""

from __future__ import annotations

import pytest

from yunhe.identity import RefusalMeter
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database


def test_a_flood_is_one_row_a_minute(any_db: Database, clock: ManualClock) -> None:
    meter = RefusalMeter(any_db)
    commits = any_db.commits
    for _ in range(500):
        meter.refused("198.51.100.7", "TOKEN_SIGNATURE")
        clock.advance(0.01)  # five seconds in all
    assert any_db.commits - commits <= 7
    clock.advance(60)
    meter.refused("198.51.100.7", "TOKEN_SIGNATURE")
    found = meter.recent()
    assert [(row.source, row.reason, row.count) for row in found] == [
        ("198.51.100.7", "TOKEN_SIGNATURE", 1),
        ("198.51.100.7", "TOKEN_SIGNATURE", 500),
    ]


def test_many_sources_do_not_fill_the_memory(db: Database) -> None:
    meter = RefusalMeter(db)
    meter.refused("first", "X")
    for number in range(limits.REFUSAL_SOURCES_MAX + 50):
        meter.refused(f"s{number}", "X")
    found = {row.source: row.count for row in meter.recent(5000)}
    assert found["other"] == 51
    assert sum(found.values()) == limits.REFUSAL_SOURCES_MAX + 51


def test_flushing_does_not_open_the_door_to_more_rows(db: Database, clock: ManualClock) -> None:
    meter = RefusalMeter(db)
    for number in range(limits.REFUSAL_SOURCES_MAX * 3):
        meter.refused(f"s{number}", "X")
        clock.advance(0.1)  # written many times, all within one minute
    assert len(meter.recent(5000)) == limits.REFUSAL_SOURCES_MAX + 1


def test_what_cannot_be_written_is_kept(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = RefusalMeter(db)

    def fails(_fn: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as patched:
        patched.setattr(db, "write", fails)
        with pytest.raises(OSError, match="disk"):
            meter.refused("a", "X")
    assert meter.recent()[0].count == 1


def test_old_rows_go(db: Database, clock: ManualClock) -> None:
    meter = RefusalMeter(db)
    meter.refused("a", "X")
    clock.advance(181 * 86_400)
    meter.refused("b", "X")
    assert [row.source for row in meter.recent()] == ["b"]
