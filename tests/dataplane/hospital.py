"""A small hospital: rows the contract shows, rows and columns it hides, canaries in the latter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from yunhe.contracts import Mask, Terms
from yunhe.dataplane import Binding, Governed, Job, Pool, TableBinding, govern

CANARIES = ("CANARY", "77777", "66666")
PATIENTS = """
    SELECT i AS id, 20 + i % 60 AS "Age",
        CASE WHEN i % 10 = 0 THEN 'CANARY-' || i ELSE 'name ' || i END AS name,
        CASE WHEN i % 10 = 0 THEN 'west' ELSE 'east' END AS region,
        'CANARY-DIAG' AS diag, CASE WHEN i % 10 = 0 THEN 77777 ELSE 66666 END AS salary,
        DATE '1950-01-01' + (i * 37 % 20000)::INT AS birth,
        CASE WHEN i % 2 = 0 THEN 'f' ELSE 'm' END AS sex, '44-' || i AS phone
    FROM range(1, 301) t(i)
"""
LABS = """
    SELECT i % 300 + 1 AS id, (i * 7 % 100) / 10.0 AS value, i % 4 AS code,
        DATE '2020-01-01' + (i % 400)::INT AS day,
        CASE WHEN i = 5 THEN 1.5 END AS rare
    FROM range(900) t(i)
"""
CODES = "SELECT i AS code, 'lab ' || i AS label FROM range(4) t(i)"
SHOWN = tuple(
    f"{table}.{column}"
    for table, columns in (
        ("patients", ("id", "Age", "name", "birth", "sex", "phone")),
        ("labs", ("id", "value", "code", "day", "rare")),
        ("codes", ("code", "label")),
    )
    for column in columns
)
ROWS = Terms(
    purposes=("research",),
    columns=SHOWN,
    row_filters=(("patients", "region = 'east' AND salary < 77000"),),
    masks=(
        Mask("patients.name", "hash"),
        Mask("patients.birth", "year"),
        Mask("patients.phone", "left:2"),
    ),
)
GROUPS = replace(ROWS, minimum_group=10)


class Hospital:
    """Governs and runs SQL as the plane does, without contracts and control around it."""

    def __init__(self, tables: dict[str, TableBinding], pool: Pool, folder: Path) -> None:
        self.tables, self.pool, self.folder = tables, pool, folder

    def binding(self, tables: dict[str, TableBinding] | None = None, name: str = "c1") -> Binding:
        bound = tables or self.tables
        return Binding(name, tuple((key, table.source) for key, table in bound.items()), "pepper")

    def govern(self, sql: str, terms: Terms = ROWS) -> Governed:
        return govern(sql, self.tables, terms)

    def ask(self, sql: str, terms: Terms = ROWS, rows_max: int | None = None) -> pa.Table:
        return self.ask_flagged(sql, terms, rows_max)[0]

    def ask_flagged(
        self, sql: str, terms: Terms = ROWS, rows_max: int | None = None
    ) -> tuple[pa.Table, bool]:
        governed = self.govern(sql, terms)
        job = Job(governed.sql, governed.groups_sql, governed.k, rows_max)
        return self.run(job)

    def run(self, job: Job, binding: Binding | None = None) -> tuple[pa.Table, bool]:
        running = self.pool.run(binding or self.binding(), job)
        table = pa.ipc.open_stream(b"".join(running)).read_all()
        assert running.rows == table.num_rows
        return table, running.groups_withheld
