"""The hospital's files and a pool, once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dataplane.hospital import CODES, LABS, PATIENTS, Hospital
from yunhe.dataplane import Pool, TableBinding, WorkerLimits


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TableBinding]:
    folder = tmp_path_factory.mktemp("hospital")
    made = {}
    for name, query, key in (
        ("patients", PATIENTS, "id"),
        ("labs", LABS, "id"),
        ("codes", CODES, None),
    ):
        file = folder / f"{name}.parquet"
        duckdb.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
        shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        made[name] = TableBinding({row[0]: row[1] for row in shape}, (str(file),), key)
    return made


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    limits = WorkerLimits(memory_mb=512, address_mb=4096, threads=2, cpu_s=20, query_s=20)
    with Pool(3, 1, limits) as pool:
        yield pool


@pytest.fixture
def hospital(tables: dict[str, TableBinding], pool: Pool, tmp_path: Path) -> Hospital:
    return Hospital(tables, pool, tmp_path)
