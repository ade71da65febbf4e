"""The data under attack: rows and columns that no answer may ever hold a value of.

Every hidden thing carries a mark that occurs nowhere else: a text with CANARY in it, the number
77770777 (row hidden) or 66660666 (column hidden), a date that ends in -11-23 (shown as its year).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb

HIDDEN_ROW, HIDDEN_COLUMN = 77770777, 66660666
MARKS: Final = ("CANARY", str(HIDDEN_ROW), str(HIDDEN_COLUMN), "-11-23")
# A number as large as this comes of no shown value: something summed or averaged a hidden one.
NUMBER_MAX: Final = 10_000_000
_LARGE: Final = re.compile(r"\d{8,}")

PATIENTS: Final = f"""
    SELECT i AS id,
        CASE WHEN i % 10 = 0 THEN {HIDDEN_ROW} ELSE 20 + i % 60 END AS "Age",
        'CANARY-NAME-' || i AS name,
        CASE WHEN i % 10 = 0 THEN 'west' ELSE 'east' END AS region,
        'CANARY-DIAG-' || i AS diag,
        CASE WHEN i % 10 = 0 THEN {HIDDEN_ROW} ELSE {HIDDEN_COLUMN} END AS salary,
        make_date((1930 + i % 60)::INT, 11, 23) AS birth,
        CASE WHEN i % 10 = 0 THEN 'CANARY-SEX' WHEN i % 2 = 0 THEN 'f' ELSE 'm' END AS sex,
        '44-CANARY-' || i AS phone,
        (i * 37 % 1000) / 10.0 AS weight
    FROM range(1, 301) t(i)
"""
LABS: Final = """
    SELECT i % 300 + 1 AS id, (i * 7 % 100) / 10.0 AS value, i % 4 AS code,
        DATE '2020-01-01' + (i % 200)::INT AS day,
        CASE WHEN i = 5 THEN 1.5 END AS rare,
        'CANARY-NOTE-' || i AS note
    FROM range(900) t(i)
"""
CODES: Final = "SELECT i AS code, 'lab ' || i AS label FROM range(4) t(i)"
ROSTER: Final = "SELECT i AS id, 'CANARY-ROSTER-' || i AS badge FROM range(50) t(i)"
TABLES: Final = (
    ("patients", PATIENTS, "id"),
    ("labs", LABS, "id"),
    ("codes", CODES, None),
    ("roster", ROSTER, "id"),  # in the product, but no column of it is agreed
)

SHOWN: Final = tuple(
    f"{table}.{column}"
    for table, columns in (
        ("patients", ("id", "Age", "name", "birth", "sex", "phone", "weight")),
        ("labs", ("id", "value", "code", "day", "rare")),
        ("codes", ("code", "label")),
    )
    for column in columns
)
FILTERS: Final = (("patients", "region = 'east' AND salary < 77000000"),)
MASKS: Final = (
    ("patients.name", "hash"),
    ("patients.birth", "year"),
    ("patients.phone", "left:2"),
    ("patients.weight", "round:10"),
)
SHOWN_PATIENTS: Final = 270
MINIMUM_GROUP: Final = 10


def write(folder: Path) -> None:
    """The Parquet files of the tables, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        for name, query, _ in TABLES:
            con.execute(f"COPY ({query}) TO '{folder / name}.parquet' (FORMAT parquet)")


def leaks(shown: str, asked: str = "") -> list[str]:
    """The marks in `shown` that the asker did not write into `asked` itself."""
    return [mark for mark in MARKS if mark in shown and mark not in asked]


def large_numbers(rows: list[dict[str, Any]], asked: str = "") -> list[str]:
    """Numbers in a result that only a hidden value can have made."""
    if _LARGE.search(asked):
        return []
    cells = [cell for row in rows for cell in row.values()]
    return [
        str(cell)
        for cell in cells
        if isinstance(cell, int | float | Decimal)
        and math.isfinite(cell)
        and abs(cell) > NUMBER_MAX
    ]
