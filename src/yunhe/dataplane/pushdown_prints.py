"""Prints of rows and entities that mean the same wherever they are made: there or here.

In: a governed statement that hashes rows and entities for the overlap audit with our engine's own
hash. Out: the same statement with a row's print as a column that its database makes (`__row`), and
every hash over those, or of an entity, as `yunhe_print`: a keyed MD5, which all engines have. Two
answers about one data set are compared by these, so it must not matter which way each was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import sqlglot
from sqlglot import exp

from yunhe.dataplane.pushdown_words import BASE, Placed
from yunhe.dataplane.views import ROW
from yunhe.sources import PRINT

_PURPOSE: Final = " of prints in databases"
_KEY: Final = f"SHA256(GETVARIABLE('audit_key') || '{_PURPOSE}')"
_DIGITS: Final = 15  # hexadecimal: 60 bits, so that no engine's whole number overflows


def key_of(audit_key: str) -> str:
    """The key that databases are told, 64 hexadecimal digits: the audit key is told to none."""
    return hashlib.sha256(f"{audit_key}{_PURPOSE}".encode()).hexdigest()


def printed(tree: exp.Expr, placed: Mapping[str, Placed]) -> tuple[exp.Expr, Mapping[str, Placed]]:
    """`tree` with its hashes replaced, and the tables with the columns that `__row` is made of."""
    made = dict(placed)
    for alias in list(tree.find_all(exp.Alias)):
        select = alias.parent
        if alias.alias != ROW or not isinstance(select, exp.Select):
            continue
        start = select.args.get("from_")
        table = start.this if start is not None else None
        if not isinstance(table, exp.Table) or table.name not in made:
            continue
        names = tuple(dict.fromkeys(column.name for column in alias.find_all(exp.Column)))
        made[table.name] = replace(made[table.name], printed=names)
        alias.set("this", exp.column(ROW, table=BASE, quoted=True))
    return tree.transform(_hash), made


def _hash(node: exp.Expr) -> exp.Expr:
    """A hash of rows' prints, or the keyed one of an entity."""
    if not isinstance(node, exp.Anonymous) or node.name.upper() != "HASH":
        return node
    parts = node.expressions
    if all(isinstance(part, exp.Column) and part.name == ROW for part in parts):
        return parts[0].copy() if len(parts) == 1 else _print(parts)
    keyed = isinstance(parts[0], exp.Anonymous) and parts[0].name.upper() == "GETVARIABLE"
    if keyed and len(parts) == 2:
        # A number of any width is one text.
        entity = parts[1].this if isinstance(parts[1], exp.Cast) else parts[1]
        if isinstance(entity, exp.Column):
            return _print([entity])
    return node


def _print(parts: list[exp.Expr]) -> exp.Expr:
    return exp.Anonymous(this=PRINT, expressions=[part.copy() for part in parts])


def here(tree: exp.Expr) -> exp.Expr:
    """`tree` with `yunhe_print` in our own engine's words."""

    def said(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Anonymous) or node.name != PRINT:
            return node
        texts = [f"COALESCE(CAST({p.sql('duckdb')} AS VARCHAR), '')" for p in node.expressions]
        joined = " || '|' || ".join([_KEY, *texts])
        made = f"CAST('0x' || LEFT(MD5({joined}), {_DIGITS}) AS BIGINT)"
        return sqlglot.parse_one(made, dialect="duckdb")

    return tree.transform(said)
