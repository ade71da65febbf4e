"""K10: a product's policy is understood, can be enforced on its tables, and is not yet over.

In: a product's record and what is asked of its policy (`Asked`). Out: faults, each naming the
part of the policy. Whether a term can be enforced only the data plane knows: its check is given.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yunhe.catalog.codetables import has_code
from yunhe.catalog.model import (
    POLICY_UNREADABLE,
    CheckTerms,
    Column,
    Fault,
    Json,
    ReadTerms,
    Table,
    TermsRead,
)
from yunhe.kernel.errors import YunheError


@dataclass(frozen=True)
class Asked:
    """How a policy is read and judged: its reader, the data plane's check, the present moment.

    `tables`: the whole tables where the holder asks; None at the node, which knows only the
    columns of the record and passes over what it cannot see.
    """

    read_terms: ReadTerms
    check_terms: CheckTerms | None = None
    now: datetime | None = None
    tables: Sequence[Table] | None = None


def check(record: Json, asked: Asked) -> list[Fault]:
    """The faults of a product's policy and price."""
    try:
        terms = asked.read_terms(record.get("policy") or {})
    except POLICY_UNREADABLE as error:
        why = error.sentence("en") if isinstance(error, YunheError) else "not a policy"
        zh = error.sentence("zh") if isinstance(error, YunheError) else "不是策略"
        return [_fault("policy", f"is not understood: {why}", f"无法理解：{zh}")]
    faults = []
    if not terms.purposes:
        faults.append(_fault("policy.purposes", "names no purpose", "未列任何用途"))
    if asked.now is not None and terms.expires_at is not None and terms.expires_at <= asked.now:
        faults.append(_fault("policy.expires_at", "is in the past", "已过期"))
    return faults + _enforceable(record, terms, asked) + _price(record, terms)


def _enforceable(record: Json, terms: TermsRead, asked: Asked) -> list[Fault]:
    tables = asked.tables if asked.tables is not None else tables_of(record)
    absent = _absent(terms.columns, tables)
    if asked.check_terms is not None:
        found = asked.check_terms(terms, tables, whole=asked.tables is not None)
        lacking = {fault.field for fault in absent}
        return absent + [
            _fault(f"policy.{part}", why.sentence("en"), why.sentence("zh"), ": ", "：")
            for part, why in found
            if f"policy.{part}" not in lacking  # that one is said better already
        ]
    return absent


def _absent(columns: Iterable[str], tables: Iterable[Table]) -> list[Fault]:
    """The columns of a policy that no table has, each with the one that was perhaps meant."""
    have = [f"{table.name}.{column.name}" for table in tables for column in table.columns]
    faults = []
    for column in columns:
        if column not in have:
            near = difflib.get_close_matches(column, have, 1)
            en, zh = (f"; meant {near[0]!r}?", f"，是否指 {near[0]!r}？") if near else ("", "")
            faults.append(
                _fault("policy.columns", f"no column {column!r}{en}", f"没有列 {column!r}{zh}")
            )
    return faults


def tables_of(record: Json) -> tuple[Table, ...]:
    """The tables of a record, as far as it shows them."""
    return tuple(
        Table(
            table["name"],
            tuple(Column(c["name"], c["type"]) for c in table["columns"]),
            table["entity_key"],
            rows=table.get("rows", 0),
        )
        for table in record.get("tables") or ()
    )


def _price(record: Json, terms: TermsRead) -> list[Fault]:
    stated: dict[str, Any] = record.get("price") or {}
    real = {"per_use_fen": terms.price.per_use, "per_row_fen": terms.price.per_row}
    same = {key: stated.get(key) for key in real} == real
    if same and has_code("price", str(stated.get("mode"))):
        return []
    return [Fault("price", "K10", "price is not the policy's price", "price 与策略中的价格不一致")]


def _fault(field: str, en: str, zh: str, joint_en: str = " ", joint_zh: str = " ") -> Fault:
    return Fault(field, "K10", f"{field}{joint_en}{en}", f"{field}{joint_zh}{zh}")
