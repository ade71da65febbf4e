"""Governed SQL said in a database's own words, or not at all.

In: nodes of a governed query, typed. Out: text for one kind of database that means the same on
every row: what differs between engines (collation, NULL order, integer division, text case) is
either written out or raises NotPushed, and then that part runs in our own engine. Only total
functions are said: no row that the policy hides can make the database raise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from yunhe.dataplane.pushdown_spelling import SPELLINGS
from yunhe.dataplane.views import ROW
from yunhe.sources import PRINT, DatabaseColumn, quoted

BASE: Final = "__base"  # the table itself, inside its policy subquery
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)
_INTS: Final = ("TINYINT", "SMALLINT", "INT", "BIGINT", "INT128")
_ORDERED: Final = (exp.GT, exp.GTE, exp.LT, exp.LTE)
_SIGNS: Final[Mapping[type[exp.Expr], str]] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
}  # fmt: skip
_PARTS: Final[Mapping[type[exp.Expr], str]] = {
    exp.Year: "YEAR", exp.Month: "MONTH", exp.Day: "DAY",
}  # fmt: skip


class NotPushed(Exception):
    """This part stays here; the message says why, for `explain`."""


@dataclass(frozen=True)
class Placed:
    """One table of a product as it lies in a database."""

    source: str  # its locator
    kind: str  # postgresql | sqlite | mysql
    place: str  # tables of one place can be joined there
    relation: tuple[str, ...]
    columns: Mapping[str, DatabaseColumn]
    printed: tuple[str, ...] = ()  # columns that a row's print is made of

    def column(self, name: str) -> DatabaseColumn:
        """By its name in the table; raises NotPushed."""
        if name == ROW:
            return DatabaseColumn(ROW, "BIGINT")
        found = self.columns.get(name)
        if found is None:
            raise NotPushed(f"column {name} is not there")
        return found


class Words:
    """What one engine says; `base` is the table that `__base` stands for, where there is one.

    `mark` stands for the key of prints, which is put in its place when the query is run.
    """

    def __init__(self, kind: str, mark: str, base: Placed | None = None) -> None:
        if kind not in SPELLINGS:
            raise NotPushed(f"{kind} is not asked")
        self.base, self.mark, self.spelling = base, mark, SPELLINGS[kind]

    def say(self, node: exp.Expr) -> str:
        """A value or predicate; raises NotPushed."""
        if isinstance(node, (exp.Paren, exp.Try)):
            return f"({self.say(node.this)})"
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, (exp.Literal, exp.Null, exp.Boolean, exp.Neg)):
            return self._literal(node)
        if isinstance(node, (exp.And, exp.Or)):
            word = "AND" if isinstance(node, exp.And) else "OR"
            return f"({self.say(node.this)} {word} {self.say(node.expression)})"
        if isinstance(node, exp.Not):
            return f"(NOT {self.say(node.this)})"
        if isinstance(node, exp.Is):
            return self._is(node)
        if type(node) in _SIGNS:
            return self._compared(node)
        if isinstance(node, exp.Between):
            low, high = node.args["low"], node.args["high"]
            ends = exp.and_(
                exp.GTE(this=node.this, expression=low), exp.LTE(this=node.this, expression=high)
            )
            return f"({' AND '.join(self._compared(each) for each in ends.flatten())})"
        if isinstance(node, exp.In):
            return self._in(node)
        if isinstance(node, exp.Case):
            return self._case(node)
        if isinstance(node, exp.Coalesce):
            parts = [node.this, *node.expressions]
            self._same(*parts)
            return f"COALESCE({', '.join(map(self.say, parts))})"
        if isinstance(node, (exp.Cast, exp.TryCast)):
            return self._cast(node)
        if type(node) in _PARTS:
            return self._part(node.this, _PARTS[type(node)])
        if isinstance(node, exp.Left):
            return self._left(node)
        if isinstance(node, exp.Anonymous) and node.name == PRINT:
            return self._print(node)
        if isinstance(node, exp.Anonymous) and node.name == "ISFINITE":
            return self.spelling.finite(self.say(node.expressions[0]))
        raise NotPushed(f"{node.key.upper()} stays here")

    def ordered(self, node: exp.Expr) -> str:
        """A value by which is ordered: texts by their bytes, as our own engine does."""
        said = self.say(node)
        return self.spelling.bytewise(said) if family(node) == "text" else said

    def raw(self, name: str) -> str:
        """A column of the base table, its values of the type that was described."""
        assert self.base is not None  # noqa: S101 - asked for base columns only
        if name == ROW:
            return self.spelling.row(self.mark, [self.raw(each) for each in self.base.printed])
        column = self.base.column(name)
        return self.spelling.raw(column, f"{BASE}.{quoted(name)}")

    def key_columns(self, node: exp.Expr) -> None:
        """Raise NotPushed for texts too long to be grouped or ordered by there."""
        for column in node.find_all(exp.Column):
            if self.base is not None and self.base.column(column.name).native in ("long", "bytes"):
                raise NotPushed(f"{column.name} is too long to be grouped by there")

    def _column(self, node: exp.Column) -> str:
        if node.table == BASE:
            return self.raw(node.name)
        if not node.table:
            raise NotPushed(f"{node.name} stays here")
        return f"{quoted(node.table)}.{quoted(node.name)}"

    def _literal(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Neg):
            if not (isinstance(node.this, exp.Literal) and node.this.is_number):
                raise NotPushed("arithmetic stays here")
            return f"(-{self._literal(node.this)})"
        if isinstance(node, exp.Boolean):
            return "TRUE" if node.this else "FALSE"
        if isinstance(node, exp.Null):
            return "NULL"
        if node.args.get("is_string"):
            return self._text(node.name)
        if not re.fullmatch(r"\d{1,18}(\.\d{1,18})?", node.name, re.ASCII):
            raise NotPushed(f"the number {node.name[:40]} stays here")
        return node.name

    def _is(self, node: exp.Is) -> str:
        if not isinstance(node.expression, (exp.Null, exp.Boolean)):
            raise NotPushed("IS stays here")
        return f"({self.say(node.this)} IS {self.say(node.expression)})"

    def _compared(self, node: exp.Expr) -> str:
        left, right = node.this.unnest(), node.expression.unnest()
        kind = self._same(left, right)
        said = [self._as(part, kind) for part in (left, right)]
        both = all(not isinstance(part, exp.Literal) for part in (left, right))
        plain = self.spelling.plain_equality and not both and not isinstance(node, _ORDERED)
        if kind == "text" and not plain:
            said = [self.spelling.bytewise(each) for each in said]
        return f"({said[0]} {_SIGNS[type(node)]} {said[1]})"

    def _in(self, node: exp.In) -> str:
        if node.args.get("query") or not node.expressions:
            raise NotPushed("IN over a query stays here")
        kind = self._same(node.this.unnest(), *(part.unnest() for part in node.expressions))
        said = self._as(node.this.unnest(), kind)
        if kind == "text" and not self.spelling.plain_equality:
            said = self.spelling.bytewise(said)
        return f"({said} IN ({', '.join(self._as(p.unnest(), kind) for p in node.expressions)}))"

    def _case(self, node: exp.Case) -> str:
        if node.this is not None:
            raise NotPushed("CASE over a value stays here")
        results = [branch.args["true"] for branch in node.args["ifs"]]
        default = node.args.get("default")
        self._same(*results, *([default] if default is not None else []))
        said = " ".join(
            f"WHEN {self.say(branch.this)} THEN {self.say(branch.args['true'])}"
            for branch in node.args["ifs"]
        )
        return f"(CASE {said}{f' ELSE {self.say(default)}' if default is not None else ''} END)"

    def _cast(self, node: exp.Cast) -> str:
        inner, kind = node.this.unnest(), family_of(node.to)
        if isinstance(inner, exp.Null):
            return "NULL"
        if isinstance(inner, exp.Literal) and kind in ("date", "timestamp"):
            return self._as(inner, kind)
        if family(inner) == kind == "text":
            return self.say(inner)
        raise NotPushed("CAST stays here")

    def _part(self, node: exp.Expr, part: str) -> str:
        if family(node) not in ("date", "timestamp"):
            raise NotPushed(f"{part} stays here")
        return self.spelling.part(part, self.say(node))

    def _left(self, node: exp.Left) -> str:
        inner, size = node.this.unnest(), node.expression
        value = inner.this if isinstance(inner, (exp.Cast, exp.TryCast)) else inner
        if family(value) != "text" or not (isinstance(size, exp.Literal) and size.is_int):
            raise NotPushed("LEFT stays here")
        return self.spelling.left(self.say(value), int(size.name))

    def _print(self, node: exp.Anonymous) -> str:
        if any(family(part) not in ("int", "text") for part in node.expressions):
            raise NotPushed("prints of such values are made here")
        return self.spelling.print(self.mark, [self.say(part) for part in node.expressions])

    def _text(self, value: str) -> str:
        if "\0" in value:
            raise NotPushed("a NUL stays here")
        return self.spelling.text(value)

    def _as(self, node: exp.Expr, kind: str) -> str:
        """A side of a comparison: text literals become what they are compared with."""
        if not (isinstance(node, exp.Literal) and node.is_string) or kind == "text":
            return self.say(node)
        if kind == "date" and _DATE.fullmatch(node.name):
            return self.spelling.date(node.name)
        if kind == "timestamp":
            full = node.name if _STAMP.fullmatch(node.name) else f"{node.name} 00:00:00"
            if _STAMP.fullmatch(full):
                return self.spelling.stamp(full.replace("T", " "))
        raise NotPushed(f"a text compared with a {kind} stays here")

    def _same(self, *parts: exp.Expr) -> str:
        """The family in which all parts are compared; raises NotPushed."""
        kinds = {
            family(part): part
            for part in parts
            if not isinstance(part, exp.Null)
            and not (isinstance(part, exp.Literal) and part.is_string)
        }
        if not kinds:
            kinds = {"text": parts[0]}
        texts = any(isinstance(part, exp.Literal) and part.is_string for part in parts)
        if len(kinds) == 1:
            (kind,) = kinds
            if kind in ("int", "decimal", "double") and texts:
                raise NotPushed("a text compared with a number stays here")
            if kind in ("text", "date", "timestamp", "int", "decimal", "double", "bool"):
                return kind
            raise NotPushed(f"values of kind {kind} stay here")
        if set(kinds) <= {"int", "decimal", "double"} and not texts and self._numbers(parts):
            return "double"
        raise NotPushed(f"values of kinds {', '.join(sorted(kinds))} stay here")

    def _numbers(self, parts: tuple[exp.Expr, ...]) -> bool:
        """SQLite compares a whole number with a fraction exactly, we as DOUBLE: not alike."""
        if not self.spelling.exact_numbers:
            return True
        values = {family(part) for part in parts if not isinstance(part, (exp.Literal, exp.Neg))}
        return values == {"double"}


def family(node: exp.Expr) -> str:
    """Of what kind a value is; "unknown" where the types do not say."""
    node = node.unnest()
    if isinstance(node, exp.Literal):
        if node.is_string:
            return "text"
        return "int" if node.is_int else "decimal"
    if isinstance(node, exp.Neg):
        return family(node.this)
    if isinstance(node, exp.Anonymous) and node.name == PRINT:
        return "int"
    if isinstance(node, exp.Try):
        return family(node.this)
    return family_of(node.type) if node.type is not None else "unknown"


def family_of(kind: exp.DataType) -> str:
    """Of what kind values of a type are."""
    name = str(kind.this.value)
    if name in _INTS:
        return "int"
    known = {
        "DOUBLE": "double",
        "DECIMAL": "decimal",
        "BOOLEAN": "bool",
        "DATE": "date",
        "TIMESTAMP": "timestamp",
        "TIMESTAMPNTZ": "timestamp",
        "VARCHAR": "text",
        "TEXT": "text",
    }
    return known.get(name, "unknown")
