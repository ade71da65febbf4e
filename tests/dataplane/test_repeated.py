"""The same query again: parsed once in its worker, and the answer is that of the data as it is."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.contracts import Terms
from yunhe.dataplane import (
    Binding,
    GroupTooSmall,
    Job,
    Pool,
    QueryFailed,
    RowsOverLimit,
    TableBinding,
    govern,
)

COLUMNS = {"id": "BIGINT", "ward": "VARCHAR"}
BY_WARD = "SELECT ward, count(*) AS n FROM t GROUP BY ward ORDER BY ward"


def people(path: Path, **wards: int) -> None:
    """So many people in each ward."""
    names = [ward for ward, count in wards.items() for _ in range(count)]
    pq.write_table(pa.table({"id": list(range(len(names))), "ward": names}), path)


def asker(path: Path, pool: Pool, k: int):
    terms = Terms(("p",), ("t.id", "t.ward"), minimum_group=k)
    made = govern(BY_WARD, {"t": TableBinding(COLUMNS, (str(path),), "id")}, terms)
    binding = Binding("c", (("t", (str(path),)),))

    def ask() -> tuple[list[dict[str, object]], bool]:
        running = pool.run(binding, Job(made.sql, made.groups_sql, made.k))
        return pa.ipc.open_stream(b"".join(running)).read_all().to_pylist(), running.groups_withheld

    return ask


@pytest.mark.parametrize("k", [0, 5])
def test_the_answer_follows_the_data(tmp_path: Path, k: int) -> None:
    file = tmp_path / "t.parquet"
    people(file, a=10, b=20)
    with Pool(1, 0) as pool:
        ask = asker(file, pool, k)
        for _ in range(3):
            assert ask() == ([{"ward": "a", "n": 10}, {"ward": "b", "n": 20}], False)
        people(file, a=3, b=21, c=9)
        left = [{"ward": "b", "n": 21}, {"ward": "c", "n": 9}]
        assert ask() == (left if k else [{"ward": "a", "n": 3}, *left], bool(k))
        people(file, a=3)
        if k:
            with pytest.raises(GroupTooSmall):
                ask()
        people(file, a=30)
        assert ask() == ([{"ward": "a", "n": 30}], False)


def test_a_query_that_failed_or_was_cut_can_be_asked_again(hospital) -> None:
    sql = hospital.govern("SELECT id, name FROM patients ORDER BY id").sql
    for _ in range(2):
        with pytest.raises(QueryFailed):
            hospital.run(Job("SELECT 'x'::INT AS a FROM data.patients"))
        with pytest.raises(RowsOverLimit):
            hospital.run(Job(sql, rows_max=10))
        assert hospital.run(Job(sql))[0].num_rows == hospital.run(Job(sql))[0].num_rows > 100


def test_other_terms_are_another_query(hospital) -> None:
    asked = "SELECT sex, count(*) AS n FROM patients GROUP BY sex ORDER BY sex"
    rows, groups = (hospital.ask(asked, terms).to_pylist() for terms in (ROWS, GROUPS))
    again = [hospital.ask(asked, terms).to_pylist() for terms in (ROWS, GROUPS)]
    assert again == [rows, groups]


def test_what_a_worker_keeps_is_bounded(hospital) -> None:
    for _ in range(2):
        for n in range(40):
            assert hospital.ask(f"SELECT id + {n} AS a FROM patients WHERE id = 1").to_pylist() == [
                {"a": 1 + n}
            ]
