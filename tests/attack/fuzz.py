"""Queries made from a grammar, with hostile pieces among them, held against an oracle.

In: a seed. Out: queries. A governed result must equal the same query over tables to which the
policy was applied by hand, in a DuckDB of our own; what runs may hold no canary; and every group
that leaves an aggregate-only contract must have its k entities in the oracle.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb

from attack import canaries
from attack.faces import RUNS, Face
from attack.world import Target

NUMBERS: Final = ("id", "age", "weight", "birth", "value", "code")
TEXTS: Final = ("name", "sex", "phone")
TABLES: Final = {
    "patients": ("id", "age", "name", "birth", "sex", "phone", "weight"),
    "labs": ("id", "value", "code", "day", "rare"),
    "codes": ("code", "label"),
}
# Each is refused, or shows nothing: in place of a column, of a table, of a predicate.
HOSTILE_COLUMNS: Final = (
    "diag", "salary", "region", "note", "rowid", "__entity", "getvariable('mask_key')",
    "(SELECT max(salary) FROM data.patients)", "error(name)", "row(diag)", "patients.diag",
)  # fmt: skip
HOSTILE_TABLES: Final = (
    "data.patients", "roster", "read_text('/etc/passwd')", "query('SELECT 1')", "duckdb_views()",
    "(SELECT * FROM data.roster)", "(VALUES (1))", "information_schema.tables", "'labs.parquet'",
)  # fmt: skip


class Grammar:
    """Writes queries; `hostile` is the share of those with a piece that is not agreed."""

    def __init__(self, seed: int, hostile: float = 0.15) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._hostile = hostile

    def rows(self) -> str:
        """A query for a contract that shows rows."""
        if self._chance(0.1):
            return self._union()
        if self._chance(0.15):
            inner = self._select(("patients",), aggregated=False, star=True)
            return f"WITH x AS ({inner}) SELECT count(*) AS n, min(age) AS a FROM x"
        if self._chance(0.15):
            where = self._where("patients")
            return f"SELECT p.id, p.age FROM (SELECT * FROM patients{where}) AS p"
        tables = self._dice.choice((("patients",), ("labs",), ("patients", "labs")))
        return self._select(tables, aggregated=self._chance(0.4))

    def groups(self) -> tuple[str, str]:
        """A query for a contract of groups, and the question how many entities each has."""
        joined = self._chance(0.3)
        source = "patients JOIN labs USING (id)" if joined else "patients"
        keys = self._dice.sample(["sex", "age", "birth", "weight"], self._dice.randint(1, 2))
        where = f" WHERE {self._predicate('patients', keyless=True)}" if self._chance(0.5) else ""
        listed, last = ", ".join(keys), f"{source}{where} GROUP BY {', '.join(keys)}"
        figure = self._dice.choice(("count(*)", "sum(age)", "avg(weight)", "count(age)"))
        probe = self._dice.choice(
            ("", f" HAVING {figure} > 3", " ORDER BY 1", " ORDER BY 2 LIMIT 3")
        )
        asked = f"SELECT {listed}, {figure} AS f FROM {last}{probe}"
        return asked, f"SELECT {listed}, count(DISTINCT id) FROM {last}"

    def _chance(self, share: float) -> bool:
        return self._dice.random() < share

    def _select(self, tables: tuple[str, ...], *, aggregated: bool, star: bool = False) -> str:
        source = " JOIN labs USING (id)" if len(tables) > 1 else ""
        first = tables[0]
        table = self._dice.choice(HOSTILE_TABLES) if self._chance(self._hostile / 3) else first
        where = self._where(first)
        if star:
            return f"SELECT * FROM {table}{source}{where}"
        if aggregated:
            key = self._column(first)
            figures = self._dice.sample(
                ["count(*) AS n", "min(id) AS lo", "max(id) AS hi", "count(DISTINCT id) AS d"], 2
            )
            having = " HAVING count(*) > 1" if self._chance(0.3) else ""
            listed = ", ".join([f"{key} AS k", *figures])
            return f"SELECT {listed} FROM {table}{source}{where} GROUP BY 1{having}"
        items = [f"{self._value(first)} AS c{at}" for at in range(self._dice.randint(1, 4))]
        if self._chance(0.1):
            items.append("row_number() OVER (ORDER BY id) AS r" if not source else "1 AS r")
        distinct = "DISTINCT " if self._chance(0.1) else ""
        return f"SELECT {distinct}{', '.join(items)} FROM {table}{source}{where}"

    def _union(self) -> str:
        kind = self._dice.choice(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))
        parts = [f"SELECT id FROM {t}{self._where(t)}" for t in ("patients", "labs")]
        self._dice.shuffle(parts)
        return f" {kind} ".join(parts)

    def _column(self, table: str) -> str:
        if self._chance(self._hostile / 2):
            return self._dice.choice(HOSTILE_COLUMNS)
        return self._dice.choice([name for name in TABLES[table] if name != "id"])

    def _value(self, table: str) -> str:
        column = self._column(table)
        if column in NUMBERS and self._chance(0.4):
            return self._dice.choice(
                (f"{column} + 1", f"-{column}", f"abs({column} - 40)", f"round({column} / 7, 2)",
                 f"CASE WHEN {column} > 40 THEN {column} ELSE 0 END", f"coalesce({column}, 0)")
            )  # fmt: skip
        if column in TEXTS and self._chance(0.4):
            return self._dice.choice(
                (f"upper({column})", f"length({column})", f"{column} || 'x'", f"left({column}, 3)")
            )
        return column

    def _where(self, table: str) -> str:
        return f" WHERE {self._predicate(table)}" if self._chance(0.6) else ""

    def _predicate(self, table: str, depth: int = 0, *, keyless: bool = False) -> str:
        if depth < 2 and self._chance(0.4):
            word = self._dice.choice((" AND ", " OR "))
            parts = [self._predicate(table, depth + 1, keyless=keyless) for _ in range(2)]
            return f"({word.join(parts)})"
        if self._chance(self._hostile / 2):
            return f"{self._dice.choice(HOSTILE_COLUMNS)} IS NOT NULL"
        if not keyless and self._chance(0.15):
            word = self._dice.choice(("IN", "NOT IN"))
            other = "labs" if table == "patients" else "patients"
            return f"id {word} (SELECT id FROM {other} WHERE id > {self._dice.randint(0, 300)})"
        column = self._dice.choice([name for name in TABLES[table] if name in NUMBERS])
        column = "age" if keyless and column == "id" else column
        limit = self._dice.randint(0, 90)
        return self._dice.choice(
            (f"{column} > {limit}", f"{column} <= {limit}", f"NOT {column} = {limit}",
             f"{column} BETWEEN {limit} AND {limit + 30}", f"{column} IS NOT NULL",
             f"{column} % 3 = 1", f"{column} IN ({limit}, {limit + 1}, {limit + 2})")
        )  # fmt: skip


class Oracle:
    """The tables with the policy applied by hand; only the pseudonyms are taken as shown."""

    def __init__(self, folder: Path, face: Face, target: Target) -> None:
        shown = face.ask(target.contracts["rows"], "SELECT id, name FROM patients").rows
        self._con = duckdb.connect()
        self._con.execute("CREATE TABLE pseudonym (id BIGINT, name TEXT)")
        self._con.executemany(
            "INSERT INTO pseudonym VALUES (?, ?)", [(row["id"], row["name"]) for row in shown]
        )
        self._con.execute(f"""
            CREATE TABLE patients AS SELECT p.id, p."Age", s.name, year(p.birth) AS birth, p.sex,
                left(p.phone, 2) AS phone, round(p.weight / 10) * 10 AS weight
            FROM '{folder}/patients.parquet' p JOIN pseudonym s ON s.id = p.id
            WHERE p.region = 'east' AND p.salary < 77000000""")
        self._con.execute(
            f"CREATE TABLE labs AS SELECT id, value, code, day, rare FROM '{folder}/labs.parquet'"
        )
        self._con.execute(f"CREATE TABLE codes AS FROM '{folder}/codes.parquet'")
        self._con.execute("SET enable_external_access = false")

    def ask(self, sql: str) -> list[tuple[Any, ...]] | None:
        """The rows; None where the engine refuses."""
        try:
            return self._con.execute(sql).fetchall()
        except duckdb.Error:
            return None

    def close(self) -> None:
        """Close the engine."""
        self._con.close()


@dataclass
class Fuzzed:
    """What a run found: `wrong` names each query that broke a property."""

    ran: int = 0
    refused: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)


def fuzz(aim: Target, face: Face, seed: int, queries: int) -> Fuzzed:
    """Hold `queries` of each kind against the oracle."""
    grammar, found = Grammar(seed), Fuzzed()
    oracle = Oracle(aim.world["a"].config.data_roots[0], face, aim)
    try:
        for _ in range(queries):
            _row_query(aim, face, oracle, grammar.rows(), found)
            _group_query(aim, face, oracle, *grammar.groups(), found)
    finally:
        oracle.close()
    return found


def _asked(
    aim: Target, face: Face, mode: str, sql: str, found: Fuzzed
) -> list[dict[str, Any]] | None:
    got = face.ask(aim.contracts[mode], sql)
    found.ran += 1
    if marks := canaries.leaks(got.shown) or canaries.large_numbers(got.rows):
        found.wrong.append(f"LEAK of {marks}: {sql}")
    if got.code == RUNS:
        return got.rows
    found.refused += 1
    return None


def _row_query(aim: Target, face: Face, oracle: Oracle, sql: str, found: Fuzzed) -> None:
    rows = _asked(aim, face, "rows", sql, found)
    if rows is None:
        return
    due = oracle.ask(sql)
    if due is None:
        found.wrong.append(f"ran, and there is no such answer: {sql}")
        return
    found.compared += 1
    if _bag(tuple(row.values()) for row in rows) != _bag(due):
        found.wrong.append(f"differs from the policy applied by hand: {sql}")


def _group_query(
    aim: Target, face: Face, oracle: Oracle, sql: str, sizes: str, found: Fuzzed
) -> None:
    rows = _asked(aim, face, "groups", sql, found)
    if rows is None:
        return
    counted = {_cells(row[:-1]): row[-1] for row in oracle.ask(sizes) or ()}
    found.compared += 1
    for row in rows:
        key = _cells(tuple(row.values())[:-1])
        if counted.get(key, 0) < canaries.MINIMUM_GROUP:
            found.wrong.append(f"a group of {counted.get(key)}: {sql}")


def _bag(rows: Any) -> Counter[tuple[str, ...]]:
    return Counter(_cells(row) for row in rows)


def _cells(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(f"{float(c):.9g}" if _is_number(c) else str(c) for c in row)


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float | Decimal) and not isinstance(cell, bool)
