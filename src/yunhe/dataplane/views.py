"""What a contract lets one see of each table, as policy subqueries.

In: table bindings and terms. Out: `View` per table: visible columns with the types they have
after masking, and the subquery (row filter and masks inside) that stands in for the table.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from yunhe.contracts import RANKED, Allowed, Mask, Terms
from yunhe.dataplane import slips
from yunhe.dataplane.errors import (
    AggregateNotEnforceable,
    BadLiteral,
    ColumnNotAgreed,
    EntityKeyMissing,
    FilterNotEnforceable,
    MaskNotEnforceable,
)
from yunhe.dataplane.functions import DATE_LITERAL, FILTER_NODES
from yunhe.dataplane.marking import mark_faults, marked
from yunhe.dataplane.model import TableBinding
from yunhe.dataplane.ranks import cell
from yunhe.dataplane.total import check_literals, clash
from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError

ENTITY = "__entity"  # the raw entity key inside a policy subquery; users cannot name it
ROW = "__row"  # beside it: a hash of what the contract shows of the row
BASE = "__base"
_ANY = "NULL"  # the type of a column nothing is known of
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
    entity_shown: bool = False  # as it is
    entity_kind: str = ""  # its type in the table

    def field(self, name: str) -> str:
        """`table.column` as the contract spells it."""
        return f"{self.table}.{self.columns[name]}"

    def is_entity(self, name: str) -> bool:
        """Whether the shown column `name` (lower case) is the entity key."""
        return self.entity_key is not None and name == self.entity_key.lower()

    def select(self) -> str:
        """SQL of the whole table as shown, its columns spelled as in the table."""
        items = (f"{_name(low)} AS {_name(name)}" for low, name in self.columns.items())
        inner = self.subquery("shown", with_entity=False).sql("duckdb", comments=False)
        return f"SELECT {', '.join(items)} FROM {inner}"  # noqa: S608  our own text

    def subquery(self, alias: str, with_entity: bool) -> exp.Expr:
        """`(SELECT shown columns FROM data.table WHERE row filter) AS alias`."""
        items = [f"{self.shown[name]} AS {_name(name)}" for name in self.columns]
        if with_entity and self.entity_key is not None:
            items.append(f"{_column(self.entity_key)} AS {_name(ENTITY)}")
            raw = ", ".join(_column(name) for name in sorted(self.columns.values()))
            items.append(f"HASH(GETVARIABLE('audit_key'), {raw}) AS {_name(ROW)}")
        where = f" WHERE {self.filter_sql}" if self.filter_sql else ""
        text = f"SELECT {', '.join(items)} FROM data.{_name(self.table)} AS {BASE}{where}"  # noqa: S608
        inner = sqlglot.parse_one(text, dialect="duckdb")
        assert isinstance(inner, exp.Select)  # noqa: S101 - our own text
        return inner.subquery(exp.to_identifier(alias, quoted=True), copy=False)


def views(tables: Mapping[str, TableBinding], terms: Terms) -> dict[str, View]:
    """The views of a contract by lower-case table name; tables without a visible column are absent.

    Raises FilterNotEnforceable and MaskNotEnforceable where a term has no meaning for the table.
    """
    built = (_view(name, binding, terms) for name, binding in tables.items())
    return {view.table.lower(): view for view in built if view.columns}


def check_terms(terms: Terms, tables: Mapping[str, TableBinding]) -> None:
    """Refuse terms that these tables cannot honour, before anybody signs them.

    Raises ColumnNotAgreed for a column no table has, FilterNotEnforceable, MaskNotEnforceable,
    EntityKeyMissing.
    """
    for _, why in term_faults(terms, tables):
        raise why


def term_faults(
    terms: Terms, tables: Mapping[str, TableBinding], *, whole: bool = True
) -> list[tuple[str, YunheError]]:
    """What of `terms` these tables cannot honour: the part (a member of Terms) and why.

    Not `whole`: the tables may have more columns than are known here (the node's register sees
    shown ones only), so a mask or filter over an unknown column is no fault.
    """
    have = [f"{name}.{column}" for name, binding in tables.items() for column in binding.columns]
    faults: list[tuple[str, YunheError]] = [
        ("columns", ColumnNotAgreed(column=column, **names(column, have)))
        for column in terms.columns
        if column not in have
    ]
    for mask in terms.masks:
        table, _, column = mask.column.partition(".")
        known = mask.column in have
        if whole and not known:
            faults.append(
                ("masks", ColumnNotAgreed(column=mask.column, **names(mask.column, have)))
            )
            continue
        try:
            # Where the type is not known, only the method is judged: NULL fits every type's mask.
            _shown(column, tables[table].columns[column] if known else _ANY, mask)
        except MaskNotEnforceable as why:
            faults.append(("masks", why))
    for table, text in terms.row_filters:
        try:
            if whole and table not in tables:
                raise FilterNotEnforceable(table=table, why=f"no such table{_near(table, tables)}")
            _filter(table, text, tables.get(table, TableBinding({})), whole=whole)
        except FilterNotEnforceable as why:
            faults.append(("row_filters", why))
    faults += [("aggregates", why) for why in _aggregate_faults(terms, tables, have)]
    faults += [("watermark", why) for why in mark_faults(terms, tables, whole=whole)]
    shown = {column.partition(".")[0] for column in terms.columns} & tables.keys()
    if whole and terms.minimum_group and shown and not any(tables[t].entity_key for t in shown):
        faults.append(("minimum_group", EntityKeyMissing(table=", ".join(sorted(shown)))))
    return faults


def _aggregate_faults(
    terms: Terms, tables: Mapping[str, TableBinding], have: Iterable[str]
) -> Iterator[YunheError]:
    """Aggregates of columns that the terms do not show, or that these types do not have."""
    masks = {mask.column: mask for mask in terms.masks}
    for each in () if terms.aggregates is None else terms.aggregates.columns:
        table, _, column = each.column.partition(".")
        if each.column not in terms.columns:
            yield ColumnNotAgreed(column=each.column, **names(each.column, terms.columns))
        elif each.column in have:
            binding = tables[table]
            with contextlib.suppress(MaskNotEnforceable):  # told as the mask's own fault
                _, kind = _shown(column, binding.columns[column], masks.get(each.column))
                why = _no_figure(each, kind, column == binding.entity_key)
                if why:
                    yield AggregateNotEnforceable(column=each.column, why=why)


def _no_figure(allowed: Allowed, kind: str, entity: bool) -> str:
    """Why the allowed aggregates of a column of this type cannot be had; empty: they can."""
    if entity and set(allowed.names) != {"count"}:
        return "the entity key may only be counted"
    made = built(kind)
    if allowed.step and cell(made, allowed.step) is None:
        return f"{kind} has no order in steps of {allowed.step}"
    wanting = set(allowed.names).difference(RANKED, ["count"])
    if wanting and not made.is_type(*exp.DataType.NUMERIC_TYPES, exp.DType.UNKNOWN):
        return f"{min(wanting)} of {kind}"
    return ""


def names(name: str, have: Iterable[str]) -> dict[str, str]:
    """The facts `near` and `visible` for a refused name: the nearest one, and a bounded list."""
    listed = sorted(have)
    more = len(listed) - limits.SQL_NAMES_TOLD_MAX
    told = ", ".join(listed[: limits.SQL_NAMES_TOLD_MAX]) + (f", … (+{more})" if more > 0 else "")
    near = nearest(name, listed)
    likely = {"near": near} if near else {"near": "none", "near_zh": "无"}
    return {**likely, "visible": told or "-"}


def nearest(name: str, have: Iterable[str]) -> str:
    """The name most like `name`, without regard to case or to the table before the dot; or ''."""
    folded: dict[str, str] = {}
    for each in have:
        folded.setdefault(each.lower(), each)
        if "." not in name:
            folded.setdefault(each.lower().partition(".")[2], each)
    close = difflib.get_close_matches(name.lower(), folded, 1)
    return folded[close[0]] if close else ""


def _near(name: str, have: Iterable[str]) -> str:
    found = nearest(name, have)
    return f" (nearest: {found})" if found else ""


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
        if terms.watermark is not None and terms.watermark.step(field) is not None:
            key = _column(terms.watermark.key.partition(".")[2])
            sql = marked(_column(name), key, field, kind, terms.watermark)
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
        entity_mask is None,
        binding.columns.get(binding.entity_key or "", ""),
    )


def _shown(name: str, kind: str, mask: Mask | None) -> tuple[str, str]:
    raw = _column(name)
    if mask is None:
        return raw, kind
    method, _, size = mask.method.partition(":")
    number = int(size) if size.isascii() and size.isdigit() and len(size) <= 9 else 0
    is_number = kind == _ANY or kind.upper().lstrip("U").startswith(
        (*_NUMBERS, "BIGINT", "SMALLINT", "TINYINT")
    )
    if mask.method == "null":
        return f"CAST(NULL AS {_type(kind)})", kind
    if mask.method == "hash":
        # Keyed, so that nobody can hash a guess; 128 bits, so that it cannot be extended.
        keyed = f"GETVARIABLE('mask_key') || CAST({raw} AS TEXT)"
        return f"LEFT(SHA256({keyed}), 32)", "VARCHAR"
    if mask.method == "year":
        if kind != _ANY and not kind.upper().startswith(("DATE", "TIMESTAMP")):
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


def _filter(table: str, text: str, binding: TableBinding, *, whole: bool = True) -> str:
    """The provider's predicate, checked and regenerated over the base table.

    Comparisons of columns with literals, IN, BETWEEN, IS NULL, AND, OR, NOT: nothing that could
    read another table, raise on a value or end the subquery.
    """
    return _regenerated(table, text, tuple(binding.columns.items()), whole)


@functools.lru_cache(limits.FILTERS_KEPT_MAX)  # of its arguments alone; a refusal is not kept
def _regenerated(table: str, text: str, typed: tuple[tuple[str, str], ...], whole: bool) -> str:
    columns = dict(typed)
    try:
        parsed = sqlglot.parse(f"SELECT 1 WHERE {text}", dialect="duckdb")
    except (SqlglotError, RecursionError) as error:
        if (wide := slips.full_width(text)) is not None:
            mark, plain = wide[0], slips.MARKS[wide[0]]
            en = f"it has the full-width mark {mark} in place of {plain}"
            zh = f"含全角符号 {mark}，应为半角 {plain}"
            raise FilterNotEnforceable(str(error), table=table, why=en, why_zh=zh) from error
        raise FilterNotEnforceable(str(error), table=table, why="not readable") from error
    root = parsed[0] if len(parsed) == 1 else None
    if not isinstance(root, exp.Select) or _set_args(root) != {"expressions", "where"}:
        raise FilterNotEnforceable(table=table, why="not one predicate")
    predicate = root.args["where"].this
    known = {name.lower(): name for name in columns}
    for node in predicate.walk():
        if type(node) in DATE_LITERAL:
            _check_date_literal(table, node)
        elif type(node) not in FILTER_NODES:
            raise FilterNotEnforceable(table=table, why=f"{node.key.upper()} is not allowed")
        elif isinstance(node, exp.Column) and (
            node.table or node.args.get("db") or (whole and node.name.lower() not in known)
        ):
            near = _near(node.name, columns)
            raise FilterNotEnforceable(table=table, why=f"no column {node.sql('duckdb')}{near}")
    _check_values(table, predicate, {name: columns[known[name]] for name in known})
    for column in list(predicate.find_all(exp.Column)):
        column.set("table", exp.to_identifier(BASE))
        column.set(
            "this", exp.to_identifier(known.get(column.name.lower(), column.name), quoted=True)
        )
    return str(predicate.sql(dialect="duckdb", comments=False))


def _check_date_literal(table: str, node: exp.Expr) -> None:
    if isinstance(node, exp.Cast):
        date = node.to.is_type(exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ)
        if not (date and isinstance(node.this, exp.Literal)):
            raise FilterNotEnforceable(table=table, why="CAST is for date literals only")


def _check_values(table: str, predicate: exp.Expr, kinds: Mapping[str, str]) -> None:
    """Each literal must be a value of the column it is compared with: no row can make it raise."""
    for node in predicate.walk():
        if isinstance(node, exp.Column):
            node.type = built(kinds.get(node.name.lower(), "UNKNOWN"))
        elif isinstance(node, exp.Cast):
            node.type = node.to
        elif isinstance(node, exp.Boolean):
            node.type = exp.DType.BOOLEAN.into_expr()
        elif isinstance(node, exp.Neg) or (isinstance(node, exp.Literal) and node.is_number):
            node.type = exp.DType.DOUBLE.into_expr()
    try:
        check_literals(predicate)
    except BadLiteral as error:
        raise FilterNotEnforceable(table=table, why=error.sentence().rstrip(".")) from error
    if (pair := clash(predicate)) is not None:
        raise FilterNotEnforceable(table=table, why=f"{pair} compares values of different kinds")


def built(kind: str) -> exp.DataType:
    """The type of this name; UNKNOWN where it is none."""
    try:
        return exp.DataType.build(kind, dialect="duckdb")
    except (SqlglotError, ValueError):
        return exp.DataType.build("UNKNOWN")


def _set_args(node: exp.Expr) -> set[str]:
    return {key for key, value in node.args.items() if value}


def _column(name: str) -> str:
    return f"{BASE}.{_name(name)}"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _type(kind: str) -> str:
    return str(exp.DataType.build(kind, dialect="duckdb").sql(dialect="duckdb"))
