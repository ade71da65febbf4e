"""What a contract lets one see of each table, as policy subqueries.

In: table bindings and terms. Out: `View` per table: visible columns with the types they have
after masking, and the subquery (row filter and masks inside) that stands in for the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from yunhe.contracts import Mask, Terms
from yunhe.dataplane.errors import ColumnNotAgreed, FilterNotEnforceable, MaskNotEnforceable
from yunhe.dataplane.functions import DATE_LITERAL, FILTER_NODES
from yunhe.dataplane.model import TableBinding

ENTITY = "__entity"  # the raw entity key inside a policy subquery; users cannot name it
BASE = "__base"
_NUMBERS = ("INT", "HUGE", "FLOAT", "DOUBLE", "DECIMAL", "REAL")


@dataclass(frozen=True)
class View:
    """One table as the contract shows it; keys of `columns` are lower case (SQL's own view)."""

    table: str
    columns: Mapping[str, str]  # lower-case name -> name in the table
    types: Mapping[str, str]  # lower-case name -> DuckDB type as shown
    shown: Mapping[str, str]  # lower-case name -> SQL text of the shown value
    entity_key: str | None  # as in the table
    entity_joinable: bool  # the shown key still tells entities apart
    filter_sql: str | None

    def field(self, name: str) -> str:
        """`table.column` as the contract spells it."""
        return f"{self.table}.{self.columns[name]}"

    def is_entity(self, name: str) -> bool:
        """Whether the shown column `name` (lower case) is the entity key."""
        return self.entity_key is not None and name == self.entity_key.lower()

    def subquery(self, alias: str, with_entity: bool) -> exp.Expr:
        """`(SELECT shown columns FROM data.table WHERE row filter) AS alias`."""
        items = [f"{self.shown[name]} AS {_name(name)}" for name in self.columns]
        if with_entity and self.entity_key is not None:
            items.append(f"{_column(self.entity_key)} AS {_name(ENTITY)}")
        where = f" WHERE {self.filter_sql}" if self.filter_sql else ""
        text = f"SELECT {', '.join(items)} FROM data.{_name(self.table)} AS {BASE}{where}"  # noqa: S608
        inner = sqlglot.parse_one(text, dialect="duckdb")
        assert isinstance(inner, exp.Select)  # noqa: S101 - our own text
        return inner.subquery(exp.to_identifier(alias, quoted=True))


def views(tables: Mapping[str, TableBinding], terms: Terms) -> dict[str, View]:
    """The views of a contract by lower-case table name; tables without a visible column are absent.

    Raises FilterNotEnforceable and MaskNotEnforceable where a term has no meaning for the table.
    """
    built = (_view(name, binding, terms) for name, binding in tables.items())
    return {view.table.lower(): view for view in built if view.columns}


def check_terms(terms: Terms, tables: Mapping[str, TableBinding]) -> None:
    """Refuse terms that these tables cannot honour, before anybody signs them.

    Raises ColumnNotAgreed for a column no table has, FilterNotEnforceable, MaskNotEnforceable.
    """
    known = {f"{name}.{column}" for name, binding in tables.items() for column in binding.columns}
    for column in (*terms.columns, *(mask.column for mask in terms.masks)):
        if column not in known:
            raise ColumnNotAgreed(column=column)
    for table, _ in terms.row_filters:
        if table not in tables:
            raise FilterNotEnforceable(table=table, why="no such table")
    views(tables, terms)


def _view(table: str, binding: TableBinding, terms: Terms) -> View:
    masks = {mask.column: mask for mask in terms.masks}
    visible = set(terms.columns)
    columns, types, shown = {}, {}, {}
    for name, kind in binding.columns.items():
        field = f"{table}.{name}"
        if field not in visible:
            continue
        columns[name.lower()] = name
        sql, shown_type = _shown(name, kind, masks.get(field))
        shown[name.lower()], types[name.lower()] = sql, shown_type
    entity_mask = masks.get(f"{table}.{binding.entity_key}")
    filters = [_filter(table, text, binding) for name, text in terms.row_filters if name == table]
    return View(
        table,
        columns,
        types,
        shown,
        binding.entity_key,
        entity_mask is None or entity_mask.method == "hash",
        " AND ".join(f"({text})" for text in filters) or None,
    )


def _shown(name: str, kind: str, mask: Mask | None) -> tuple[str, str]:
    raw = _column(name)
    if mask is None:
        return raw, kind
    method, _, size = mask.method.partition(":")
    number = int(size) if size.isascii() and size.isdigit() and len(size) <= 9 else 0
    is_number = kind.upper().lstrip("U").startswith((*_NUMBERS, "BIGINT", "SMALLINT", "TINYINT"))
    if mask.method == "null":
        return f"CAST(NULL AS {_type(kind)})", kind
    if mask.method == "hash":
        # Keyed, so that nobody can hash a guess; 128 bits, so that it cannot be extended.
        keyed = f"GETVARIABLE('mask_key') || CAST({raw} AS TEXT)"
        return f"LEFT(SHA256({keyed}), 32)", "VARCHAR"
    if mask.method == "year":
        if not kind.upper().startswith(("DATE", "TIMESTAMP")):
            raise _no_mask(mask, f"the column is {kind}")
        return f"YEAR({raw})", "BIGINT"
    if method == "left" and number > 0:
        return f"LEFT(CAST({raw} AS TEXT), {number})", "VARCHAR"
    if method == "round" and number > 0:
        if not is_number:
            raise _no_mask(mask, f"the column is {kind}")
        whole = "INT" in kind.upper()
        rounded = f"ROUND({raw} / {number}) * {number}"
        return (f"TRY_CAST({rounded} AS BIGINT)", "BIGINT") if whole else (rounded, "DOUBLE")
    raise _no_mask(mask, "unknown method")


def _no_mask(mask: Mask, why: str) -> MaskNotEnforceable:
    return MaskNotEnforceable(column=mask.column, method=mask.method, why=why)


def _filter(table: str, text: str, binding: TableBinding) -> str:
    """The provider's predicate, checked and regenerated over the base table.

    Comparisons of columns with literals, IN, BETWEEN, IS NULL, AND, OR, NOT: nothing that could
    read another table, raise on a value or end the subquery.
    """
    try:
        parsed = sqlglot.parse(f"SELECT 1 WHERE {text}", dialect="duckdb")
    except (SqlglotError, RecursionError) as error:
        raise FilterNotEnforceable(str(error), table=table, why="not readable") from error
    root = parsed[0] if len(parsed) == 1 else None
    if not isinstance(root, exp.Select) or _set_args(root) != {"expressions", "where"}:
        raise FilterNotEnforceable(table=table, why="not one predicate")
    predicate = root.args["where"].this
    known = {name.lower(): name for name in binding.columns}
    for node in predicate.walk():
        if type(node) in DATE_LITERAL:
            _check_date_literal(table, node)
        elif type(node) not in FILTER_NODES:
            raise FilterNotEnforceable(table=table, why=f"{node.key.upper()} is not allowed")
        elif isinstance(node, exp.Column) and (
            node.table or node.args.get("db") or node.name.lower() not in known
        ):
            raise FilterNotEnforceable(table=table, why=f"no column {node.sql('duckdb')}")
    for column in list(predicate.find_all(exp.Column)):
        column.set("table", exp.to_identifier(BASE))
        column.set("this", exp.to_identifier(known[column.name.lower()], quoted=True))
    return str(predicate.sql(dialect="duckdb", comments=False))


def _check_date_literal(table: str, node: exp.Expr) -> None:
    if isinstance(node, exp.Cast):
        date = node.to.this in (exp.DType.DATE, exp.DType.TIMESTAMP)
        if not (date and isinstance(node.this, exp.Literal)):
            raise FilterNotEnforceable(table=table, why="CAST is for date literals only")


def _set_args(node: exp.Expr) -> set[str]:
    return {key for key, value in node.args.items() if value}


def _column(name: str) -> str:
    return f"{BASE}.{_name(name)}"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _type(kind: str) -> str:
    return str(exp.DataType.build(kind, dialect="duckdb").sql(dialect="duckdb"))
