"""A second opinion on the governed text: what the engine's own parser reads in it.

In: what the gate made. Out: nothing, or a refusal. The gate reads SQL with sqlglot and writes it
anew; the engine reads that text with a parser of its own. Where the two see different tables or
calls, one of them is wrong, and nothing runs. The text is parsed only: no table is looked at.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import duckdb
from sqlglot import TokenType
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from yunhe.dataplane.errors import ParsersDisagree
from yunhe.dataplane.model import Governed
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex

# What the language has (functions.py), by the engine's names, and what the gate itself writes.
_ASKED: Final = """
abs avg concat contains count count_star date_diff date_part date_trunc day dense_rank floor ceil
greatest lag lead least left length lower max median min month nullif quarter rank right round
row_number starts_with stddev stddev_pop stddev_samp substring sum trim upper var_samp variance year
"""
_WRITTEN: Final = """
bit_or bit_xor ceiling getvariable hash isfinite isnan list list_value ltrim md5 rtrim sha256
sin sqrt struct_pack to_days to_hours to_microseconds to_milliseconds to_minutes to_months
to_seconds to_weeks to_years trunc
"""
_OPERATORS: Final = frozenset(["+", "-", "*", "/", "//", "%", "&", "|", "<<", ">>", "||"]) | {
    "~~", "!~~", "~~*", "!~~*",
}  # fmt: skip
_FUNCTIONS: Final = frozenset(_ASKED.split()) | frozenset(_WRITTEN.split()) | _OPERATORS
# What the engine calls otherwise than it is written, and what it makes of literals.
_SPELLED: Final = {
    "count_star": "count", "date_part": "extract", "ceil": "ceiling", "ltrim": "trim",
    "rtrim": "trim",
}  # fmt: skip
_OF_LITERALS: Final = _OPERATORS | {"list_value", "struct_pack", "trunc"} | {
    name for name in _WRITTEN.split() if name.startswith("to_")
}  # fmt: skip

_NODES: Final = """
SELECT_NODE SET_OPERATION_NODE CTE_NODE BASE_TABLE SUBQUERY JOIN EMPTY
DISTINCT_MODIFIER LIMIT_MODIFIER ORDER_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING
BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION OPERATOR STAR TYPE WINDOW
CASE_EXPR OPERATOR_CAST OPERATOR_TRY OPERATOR_NOT OPERATOR_COALESCE OPERATOR_IS_NULL
OPERATOR_IS_NOT_NULL OPERATOR_NULLIF COMPARE_IN COMPARE_NOT_IN VALUE_CONSTANT
COMPARE_EQUAL COMPARE_NOTEQUAL COMPARE_LESSTHAN COMPARE_GREATERTHAN COMPARE_BETWEEN
COMPARE_LESSTHANOREQUALTO COMPARE_GREATERTHANOREQUALTO COMPARE_DISTINCT_FROM
COMPARE_NOT_DISTINCT_FROM CONJUNCTION_AND CONJUNCTION_OR STRUCT_EXTRACT ARRAY_EXTRACT
WINDOW_AGGREGATE WINDOW_ROW_NUMBER WINDOW_RANK WINDOW_RANK_DENSE WINDOW_LAG WINDOW_LEAD
"""
_KINDS: Final = frozenset(_NODES.split())
# Members that stand in every tree and are empty in ours: samples, other times, COLUMNS.
_FILLED: Final = re.compile(
    r'"(?:sample|at_clause)":\{|"columns":true,"expr":\{|"(?:replace|rename)_list":\[[^\]]'
)
_DATA: Final = "data"  # the schema of the contract's tables
_GROUPS: Final = "groups"  # the one temporary table that the last step reads

# Of the engine's JSON only the members that say what is used; in a text every quote is escaped, so
# that no constant of a query is taken for a member.
_TEXT: Final = r'"((?:[^"\\]|\\.)*)"'
_MEMBER: Final = re.compile(
    rf'"(class|type|function_name|schema|catalog|catalog_name|key)":{_TEXT}'
)
_TABLE: Final = re.compile(rf'"schema_name":{_TEXT},"table_name":{_TEXT}')
_DUCKDB: Final = Dialect.get_or_raise("duckdb")


class SecondOpinion:
    """The engine's parser, in a connection that can do nothing else. Thread-safe.

    Texts that held are known by their digest: contracts of one policy give one text.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._con: duckdb.DuckDBPyConnection | None = None
        self._held: OrderedDict[str, None] = OrderedDict()

    def ready(self) -> None:
        """Have the parser ready; the first question does it otherwise."""
        with self._lock:
            if self._con is None:
                self._con = _parser()

    def check(self, governed: Governed) -> None:
        """Raise ParsersDisagree where the engine reads anything else than the gate wrote."""
        key = sha256_hex([governed.sql, governed.groups_sql, sorted(governed.tables)])
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return
        self._check(governed)
        with self._lock:
            self._held[key] = None
            while len(self._held) > limits.GOVERNED_KEPT_MAX:
                self._held.popitem(last=False)

    def _check(self, governed: Governed) -> None:
        texts = [governed.sql, *([governed.groups_sql] if governed.groups_sql else [])]
        read = [self._read(text) for text in texts]
        for text, found in zip(texts, read, strict=True):
            _compare(text, found, last=governed.groups_sql is not None and text is governed.sql)
        tables = {name for found in read for schema, name in found.tables if schema == _DATA}
        if tables != set(governed.tables):
            raise ParsersDisagree(f"tables {sorted(tables)}, not {sorted(governed.tables)}")

    def _read(self, text: str) -> _Read:
        self.ready()
        with self._lock:
            assert self._con is not None  # noqa: S101 - made ready
            said = self._con.execute(
                "SELECT j, json_array_length(j, '$.statements') FROM "
                "(SELECT CAST(json_serialize_sql(?) AS VARCHAR) AS j)",
                [text],
            ).fetchall()[0]
        tree, statements = str(said[0]), said[1]
        if not tree.startswith('{"error":false,') or statements != 1:
            raise ParsersDisagree(f"not one query: {tree[:200]}")
        return _Read(tree)


class _Read:
    """What the engine's tree holds: kinds of nodes, calls, tables, names of common tables."""

    def __init__(self, tree: str) -> None:
        members: dict[str, Counter[str]] = {}
        for name, value in _MEMBER.findall(tree):
            members.setdefault(name, Counter())[_plain(value)] += 1
        self.kinds = members.get("class", Counter()) | members.get("type", Counter())
        self.calls = members.get("function_name", Counter())
        self.elsewhere = {*members.get("schema", ()), *members.get("catalog", ())}
        self.elsewhere |= {*members.get("catalog_name", ())}
        self.common = {name.lower() for name in members.get("key", ())}
        self.filled = _FILLED.findall(tree)
        self.tables = [(_plain(schema), _plain(name)) for schema, name in _TABLE.findall(tree)]


def _compare(text: str, found: _Read, *, last: bool) -> None:
    strange: list[str] = [*(set(found.kinds) - _KINDS), *(set(found.calls) - _FUNCTIONS)]
    strange += [*filter(None, found.elsewhere), *found.filled]
    for schema, name in found.tables:
        known = schema == _DATA and not last
        known |= not schema and (name.lower() in found.common or (last and name == _GROUPS))
        if not known:
            strange.append(f"{schema}.{name}")
    if len(found.tables) != found.kinds["BASE_TABLE"]:
        strange.append("a table without a name")
    believed = Counter(_called(text))
    for name, times in found.calls.items():
        if name not in _OF_LITERALS and times > believed[_SPELLED.get(name, name)]:
            strange.append(f"{name}()")
    if strange:
        raise ParsersDisagree(", ".join(sorted(strange))[:500])


def _called(text: str) -> Iterator[str]:
    """The calls that the gate's reading of the text has: a word before an opening bracket."""
    try:
        tokens: list[Any] = _DUCKDB.tokenize(text)
    except SqlglotError as error:
        raise ParsersDisagree(f"the text is not read again: {error}") from error
    for word, bracket in pairwise(tokens):
        if bracket.token_type == TokenType.L_PAREN:
            name = word.text.lower()
            yield _SPELLED.get(name, name)


def _plain(text: str) -> str:
    return str(json.loads(f'"{text}"')) if "\\" in text else text


def _parser() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"threads": 1})
    for setting in (
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
        "temp_directory = ''",
        "memory_limit = '256MB'",
        "enable_external_access = false",
    ):
        con.execute(f"SET {setting}")
    with contextlib.suppress(duckdb.CatalogException):  # 1.5 has none
        con.execute("SET async_threads = 0")
    con.execute("SET lock_configuration = true")
    return con
