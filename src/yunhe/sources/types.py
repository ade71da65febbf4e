"""Which type a column has, decided once over all its values, and whether it still fits later.

In: Parquet parts, texts or typed. Out: DuckDB types, and SQL that casts without a silent loss:
a text becomes a number or a date only where every value of the column is written as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import duckdb

from yunhe.sources.look import Fault, literal, quoted
from yunhe.sources.read_text import Part

# A type and the condition under which a text `v` is of it. A leading zero is a name, not a number
# (007); beyond 17 digits a DOUBLE would lose some.
_DIGITS: Final = (
    r"length(regexp_replace(regexp_replace(v, '[eE].*$', ''), '^[+-]?0*\.?0*|\.', '', 'g'))"
)
_NUMBER: Final = (
    r"regexp_full_match(v, '[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?') "
    f"AND {_DIGITS} <= 17 AND isfinite(TRY_CAST(v AS DOUBLE))"
)
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK: Final = _DAY + r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"


def _written(pattern: str, kind: str) -> str:
    return f"regexp_full_match(v, '{pattern}') AND TRY_CAST(v AS {kind}) IS NOT NULL"


WRITTEN: Final = {
    "BOOLEAN": "lower(v) IN ('true', 'false')",
    "BIGINT": _written("-?(0|[1-9][0-9]{0,18})", "BIGINT"),
    "DOUBLE": _NUMBER,
    "DATE": _written(_DAY, "DATE"),
    "TIMESTAMP": _written(_CLOCK, "TIMESTAMP"),
    "TIMESTAMP WITH TIME ZONE": _written(_CLOCK + "(Z|[+-][0-9]{2}:?[0-9]{2})", "TIMESTAMPTZ"),
    "VARCHAR": "true",
}
# A JSON value says what it is: only its texts may be dates.
_KINDS: Final = {
    frozenset({"bool"}): ("BOOLEAN",),
    frozenset({"int"}): ("BIGINT",),
    frozenset({"float"}): ("DOUBLE",),
    frozenset({"int", "float"}): ("DOUBLE",),
    frozenset({"nested"}): ("VARCHAR",),
    frozenset({"str"}): ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "VARCHAR"),
    frozenset(): tuple(WRITTEN),
}
_WHOLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_UNSIGNED: Final = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_LADDERS: Final = (_WHOLE, _UNSIGNED, ("FLOAT", "DOUBLE"))


def wider(one: str, other: str) -> str | None:
    """The type that holds both without a loss; None if there is none. NULL columns fit any."""
    if one == other or other == '"NULL"':
        return one
    if one == '"NULL"':
        return other
    for ladder in _LADDERS:
        if one in ladder and other in ladder:
            return max(one, other, key=ladder.index)
    return None


def cast(name: str, kind: str) -> str:
    """A text column as `kind`; an empty text is NULL except where texts are meant."""
    if kind == "VARCHAR":
        return quoted(name)
    return f"CAST(nullif({quoted(name)}, '') AS {kind})"


def _values(part: Part, name: str) -> str:
    source = f"read_parquet({literal(str(part.file))}, file_row_number = true)"
    value = f"SELECT {quoted(name)} AS v, file_row_number AS r FROM {source}"  # noqa: S608
    return f"({value} WHERE {quoted(name)} IS NOT NULL)"


def detect(con: duckdb.DuckDBPyConnection, name: str, parts: Sequence[Part], forced: bool) -> str:
    """The narrowest type that every value of a text column is written in; raises Fault."""
    kinds: frozenset[str] = frozenset().union(
        *(part.kinds.get(name, frozenset()) for part in parts)
    )
    if forced:
        return "VARCHAR"
    candidates = list(_KINDS.get(kinds, ()))
    if not candidates:
        told = ", ".join(sorted(kinds))
        raise Fault(
            f"column {name!r} mixes {told}; declare it with the option text={name}",
            f"列 {name!r} 混有 {told}；请用选项 text={name} 声明为文本",
        )
    if kinds and kinds != {"str"}:
        return candidates[0]
    filled = 0
    for part in parts:
        tests = ", ".join(f"bool_and(({WRITTEN[kind]}) OR v = '')" for kind in candidates)
        full = "count(*) FILTER (WHERE v <> '')"
        got = con.execute(f"SELECT {full}, {tests} FROM {_values(part, name)}").fetchall()[0]  # noqa: S608
        filled += got[0]
        if got[1] is not None:
            candidates = [k for k, fits in zip(candidates, got[1:], strict=True) if fits]
    return candidates[0] if filled and candidates else "VARCHAR"


def misfit(con: duckdb.DuckDBPyConnection, name: str, kind: str, part: Part) -> int | None:
    """The first row (from 1) of a text column that is not written as its pinned `kind`."""
    kinds = part.kinds.get(name, frozenset())
    if kinds and kinds != {"str"}:
        fits = kinds <= {"int", "float"} if kind == "DOUBLE" else kind in _KINDS.get(kinds, ())
        return None if fits else 1
    if kinds and kind not in _KINDS[kinds]:
        return 1
    test = WRITTEN.get(kind, "false")
    where = f"NOT (v = '' OR ({test}))" if kind != "VARCHAR" else "false"
    got = con.execute(f"SELECT min(r) FROM {_values(part, name)} WHERE {where}").fetchall()[0][0]  # noqa: S608
    return None if got is None else int(got) + 1
