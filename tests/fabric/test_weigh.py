"""Guesses: seconds and bytes of parts, noise told by strangers, data that is late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from yunhe.fabric import lineage, noise, weigh
from yunhe.fabric.model import Known, Part

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def part(rows: int | None) -> Part:
    return Part("p0", SimpleNamespace(), "SELECT 1", "rows", (), (), rows)  # type: ignore[arg-type]


def done(contract: str, size: int, seconds: float, state: str = "done") -> dict[str, Any]:
    return {"contract_id": contract, "bytes": size, "seconds": seconds, "state": state}


def test_seconds_come_from_earlier_parts_else_from_binding() -> None:
    earlier = [done("a", 700, s) for s in (0.1, 0.2, 0.9)]
    earlier += [done("a", 50 << 20, 5.0), done("b", 700, 9.0, "failed")]
    earlier += [{"contract_id": "c", "bytes": 1, "state": "done"}]  # of before they were measured
    paces = weigh.paces(earlier)
    assert set(paces) == {"a"}
    schema = pa.schema([("x", pa.int64()), ("y", pa.string())])
    known = weigh.weighed(part(1_000_000), schema, 0.01, paces["a"])
    assert known.bytes == 600 + 1_000_000 * (8 + 20)
    assert known.measured
    assert known.seconds == pytest.approx(0.2 + known.bytes / (10 << 20))
    fresh = weigh.weighed(part(None), schema, 0.01, None)
    assert (fresh.bytes, fresh.measured) == (None, False)
    assert fresh.seconds == pytest.approx(0.03)


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"epsilon": "1"}',
        '{"epsilon": "nan", "statistics": []}',
        '{"epsilon": "1", "statistics": [{"of": "x", "scale": "-1", "ci95": "1"}]}',
        '{"epsilon": "1", "statistics": [{"of": "x", "scale": "inf", "ci95": "1"}]}',
        '{"epsilon": "1", "statistics": {"of": 1}}',
        "[" * 9000,
    ],
)
def test_a_strangers_word_of_noise_is_read_or_left(told: str) -> None:
    assert noise.read(told) is None


def test_intervals_add_up_by_their_squares() -> None:
    told = '{"rho": "0.1", "delta": "0", "statistics": [{"of": "n", "scale": "3", "ci95": "5.88"}]}'
    one = noise.read(told)
    assert one is not None
    both = noise.combined({"p0": one, "p1": {**one}}, 3)
    assert both["parts_without"] == 1
    (found,) = both["statistics"]
    assert float(found["ci95"]) == pytest.approx(1.96 * 18**0.5, rel=1e-4)
    assert noise.combined({}, 3) == {}


def test_data_is_late_by_its_own_word_alone() -> None:
    week = timedelta(days=7)
    assert Known({}, NOW - week, "001", "002").late(NOW)
    assert not Known({}, NOW - week, "001", "004").late(NOW)
    assert not Known({}, NOW - week, "001", "008").late(NOW)
    assert not Known().late(NOW)


def test_answers_are_found_by_what_they_stand_on() -> None:
    kept = {"v": [{"product_code": "P", "column": "labs.value"}], "n": [], "x": [{"unknown": "E"}]}
    assert lineage.stands_on(kept, "P", "labs.value")
    assert lineage.stands_on(kept, "", "labs.value")
    assert not lineage.stands_on(kept, "Q", "labs.value")
    assert not lineage.stands_on(kept, "P", "labs.test")
    assert not lineage.stands_on({"n": []}, "", "labs.value")
