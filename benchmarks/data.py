"""Synthetic tables from a seed, as Parquet; nobody's data, and always said so."""

from __future__ import annotations

from pathlib import Path

import duckdb

ROWS_AGGREGATE = 10_000_000
ROWS_SMALL = 10_000
ROWS_STREAM = 20_000_000


def _write(path: Path, select: str) -> Path:
    # A hash of the row number instead of random(): the same rows every time.
    with duckdb.connect() as con:
        con.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 122880)")
    return path


def _rows(count: int) -> str:
    return f"SELECT i, hash(i, 20261121) AS h FROM range({count}) AS t(i)"


def visits(path: Path, rows: int) -> Path:
    """Visits of patients: one in ten rows a patient, five wards, a value, a year."""
    people = max(100, rows // 10)
    return _write(
        path,
        f"SELECT (h % {people})::INTEGER AS patient, ((h >> 20) % 5)::INTEGER AS ward,"
        " (((h >> 8) % 100000) / 100.0)::DOUBLE AS value, (2015 + (h >> 32) % 10)::INTEGER AS year"
        f" FROM ({_rows(rows)})",
    )


def readings(path: Path, rows: int = ROWS_STREAM) -> Path:
    """Readings of sensors: about 51 bytes a row in Arrow, an eighth of it text."""
    return _write(
        path,
        "SELECT i AS id, (h % 1000)::INTEGER AS sensor, (h >> 40)::DOUBLE / 7 AS a,"
        " ((h >> 20) & 1048575)::DOUBLE / 3 AS b, (h >> 16)::BIGINT AS c,"
        " 's' || (h % 97)::VARCHAR AS label, (h & 65535)::INTEGER AS d"
        f" FROM ({_rows(rows)})",
    )
