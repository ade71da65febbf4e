"""How each database spells what all of them can do: texts by their bytes, dates, parts of dates.

In: SQL text of values, described columns. Out: text that means there what it means in our own
engine. Everything here is total: no row can make it raise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

from yunhe.sources import PRINT, DatabaseColumn

_WORD: Final = (1 << 60) - 1
_ARGUMENTS: Final = 90  # a function of SQLite takes a hundred
_JOINED: Final = " || '|' || "


class Spelling(ABC):
    """The words of one kind of database; holds no state."""

    plain_equality = False  # equality with a text literal is by bytes without more words
    exact_numbers = False  # a whole number and a fraction are compared exactly, not as DOUBLE
    small_sums = False  # a sum of whole numbers beyond 64 bits raises

    @abstractmethod
    def text(self, value: str) -> str:
        """A text literal without NUL."""

    def date(self, value: str) -> str:
        """A date literal, `YYYY-MM-DD`."""
        return f"DATE '{value}'"

    def stamp(self, value: str) -> str:
        """A timestamp literal, `YYYY-MM-DD HH:MM:SS`."""
        return f"TIMESTAMP '{value}'"

    @abstractmethod
    def bytewise(self, said: str) -> str:
        """A text that compares and orders by its bytes."""

    @abstractmethod
    def raw(self, column: DatabaseColumn, said: str) -> str:
        """A column with its values of the type that was described."""

    @abstractmethod
    def part(self, part: str, said: str) -> str:
        """YEAR, MONTH or DAY of a date or timestamp, a whole number."""

    @abstractmethod
    def left(self, said: str, size: int) -> str:
        """The first characters of a text."""

    @abstractmethod
    def double(self, said: str) -> str:
        """A number as DOUBLE."""

    def finite(self, said: str) -> str:
        """Whether a DOUBLE is neither infinite nor no number: there is none such, or it is NULL."""
        return f"({said} IS NOT NULL)"

    @abstractmethod
    def row(self, key: str, said: Sequence[str]) -> str:
        """A keyed hash of a row's values, a whole number below 2^60; by any fast means."""

    @abstractmethod
    def print(self, key: str, said: Sequence[str]) -> str:
        """The first 60 bits of the MD5 of key, values: as `pushdown_prints.here` makes it."""

    def order(self, said: str, way: str, nulls: str) -> str:
        """An item of ORDER BY; `way` ASC or DESC, `nulls` FIRST or LAST."""
        return f"{said} {way} NULLS {nulls}"


class _Postgres(Spelling):
    plain_equality = True

    def text(self, value: str) -> str:
        return _doubled(value)

    def bytewise(self, said: str) -> str:
        return f'({said} COLLATE "C")'

    def raw(self, column: DatabaseColumn, said: str) -> str:
        if column.native == "text":  # a domain keeps its own collation through the cast
            return self.bytewise(f"CAST({said} AS TEXT)")
        if column.native == "double":  # beyond a DOUBLE, or too near to nothing: no row may raise
            near = f"CASE WHEN ABS({said}) > 1e-323 THEN {said} ELSE 0 END"
            return f"CASE WHEN ABS({said}) < 1e308 THEN CAST({near} AS DOUBLE PRECISION) END"
        return self.bytewise(said) if column.native == "binary" else said

    def part(self, part: str, said: str) -> str:
        # An infinite date has no year, and would raise. Before year 1 comes -1 there, 0 here.
        before = f" + CASE WHEN {said} < DATE '0001-01-01' THEN 1 ELSE 0 END"
        number = f"CAST(EXTRACT({part} FROM {said}) AS BIGINT)"
        number += before if part == "YEAR" else ""
        return f"(CASE WHEN isfinite({said}) THEN {number} END)"

    def left(self, said: str, size: int) -> str:
        return f"LEFT({said}, {size})"

    def double(self, said: str) -> str:
        return f"CAST({said} AS DOUBLE PRECISION)"

    def row(self, key: str, said: Sequence[str]) -> str:
        record, seed = f"ROW({', '.join(said)})", _bits(f"'{key}'")
        return f"(hash_record_extended({record}, {seed}) & {_WORD})"

    def print(self, key: str, said: Sequence[str]) -> str:
        parts = [f"COALESCE(CAST({each} AS TEXT), '')" for each in said]
        joined = _JOINED.join([_doubled(key), *parts])
        return _bits(f"MD5({joined})")


class _Sqlite(Spelling):
    exact_numbers = small_sums = True

    def text(self, value: str) -> str:
        return _doubled(value)

    def date(self, value: str) -> str:
        return _doubled(value)

    def stamp(self, value: str) -> str:
        return _doubled(value)

    def bytewise(self, said: str) -> str:
        return f"({said} COLLATE BINARY)"

    def raw(self, column: DatabaseColumn, said: str) -> str:
        return f"CAST({said} AS TEXT)" if column.native == "text" else said

    def part(self, part: str, said: str) -> str:
        sign = {"YEAR": "%Y", "MONTH": "%m", "DAY": "%d"}[part]
        return f"CAST(strftime('{sign}', {said}) AS INTEGER)"

    def left(self, said: str, size: int) -> str:
        return f"SUBSTR({said}, 1, {size})"

    def double(self, said: str) -> str:
        return f"CAST({said} AS REAL)"

    def finite(self, said: str) -> str:
        return f"(ABS({said}) < 9e999)"

    def row(self, key: str, said: Sequence[str]) -> str:
        made = self.print(key, ())
        for at in range(0, len(said), _ARGUMENTS):
            quoted = [f"quote({each})" for each in said[at : at + _ARGUMENTS]]
            made = f"{PRINT}({', '.join([_doubled(key), made, *quoted])})"
        return made

    def print(self, key: str, said: Sequence[str]) -> str:
        return f"{PRINT}({', '.join([_doubled(key), *said])})"


class _Mysql(Spelling):
    """Every text is a binary string: no collation calls `a`, `A` and `a ` equal."""

    plain_equality = True

    def text(self, value: str) -> str:
        return f"X'{value.encode().hex()}'"

    def bytewise(self, said: str) -> str:
        return said

    def raw(self, column: DatabaseColumn, said: str) -> str:
        if column.native in ("text", "long"):
            return f"CAST(CONVERT({said} USING utf8mb4) AS BINARY)"
        if column.native == "bytes":
            return f"CAST(HEX({said}) AS BINARY)"
        if column.native == "truth":
            return f"({said} <> 0)"
        return f"CAST({said} AS DOUBLE)" if column.native == "double" else said

    def part(self, part: str, said: str) -> str:
        return f"CAST({part}({said}) AS SIGNED)"

    def left(self, said: str, size: int) -> str:
        return f"CAST(LEFT(CONVERT({said} USING utf8mb4), {size}) AS BINARY)"

    def double(self, said: str) -> str:
        return f"CAST({said} AS DOUBLE)"

    def row(self, key: str, said: Sequence[str]) -> str:
        # Quoted, so that two rows are never one text; as bytes, whatever their encodings.
        return self.print(key, [f"QUOTE({each})" for each in said])

    def print(self, key: str, said: Sequence[str]) -> str:
        parts = [f"COALESCE(CAST({each} AS BINARY), '')" for each in said]
        joined = ", '|', ".join([_doubled(key), *parts])
        return f"CAST(CONV(LEFT(MD5(CONCAT({joined})), 15), 16, 10) AS SIGNED)"

    def order(self, said: str, way: str, nulls: str) -> str:
        return f"({said} IS NULL) {'DESC' if nulls == 'FIRST' else 'ASC'}, {said} {way}"


def _bits(hexadecimal: str) -> str:
    """The first 60 bits, as a whole number of PostgreSQL."""
    return f"CAST(CAST('x' || LEFT({hexadecimal}, 15) AS BIT(60)) AS BIGINT)"


def _doubled(value: str) -> str:
    """No backslash means anything in these sessions."""
    return "'" + value.replace("'", "''") + "'"


SPELLINGS: Final[Mapping[str, Spelling]] = {
    "postgresql": _Postgres(),
    "sqlite": _Sqlite(),
    "mysql": _Mysql(),
}
