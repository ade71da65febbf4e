"""What the fabric plans and tells: members, parts, slots, plans, answers.

In: nothing; these are values. Out: frozen dataclasses and their JSON. A *member* is one contract
of ours; an alias stands for one member, or for several that hold parts of the same tables. A
*part* is one sub-query under one contract; a *slot* is the local table its rows come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from yunhe.contracts import Policy, Terms
from yunhe.kernel.clock import iso

Json = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """One table as a contract shows it; keys of `columns` are lower case."""

    name: str
    columns: Mapping[str, str]  # lower-case name -> engine type as shown
    spelled: Mapping[str, str]  # lower-case name -> name in the table
    rows: int | None = None  # as the catalogue says


@dataclass(frozen=True)
class Member:
    """One contract in force that a query reads under."""

    contract_id: str
    product_code: str
    provider_did: str
    policy: Policy
    terms: Terms
    uses_left: int | None
    tables: Mapping[str, Shape]  # by lower-case name
    fresh: datetime | None = None  # when the catalogue's record of it was last changed

    @property
    def rows_mode(self) -> bool:
        """Whether governed rows may leave; else only aggregates over `minimum_group` entities."""
        return not self.terms.minimum_group


@dataclass(frozen=True)
class Part:
    """One sub-query that one provider answers under one contract: one use."""

    name: str  # p0, p1, ...
    member: Member
    sql: str  # what is sent; the provider's gate governs it before it runs
    kind: str  # "whole" | "partial" | "rows"
    fields: tuple[str, ...]  # "table.column" that it reads
    pushed: tuple[str, ...]  # what is done at the provider
    rows: int | None  # estimated

    @property
    def fen(self) -> int:
        """The estimated price."""
        price = self.member.terms.price
        return price.per_use + price.per_row * (self.rows or 0)

    def to_json(self) -> Json:
        """As `explain` shows it."""
        terms = self.member.terms
        return {
            "name": self.name,
            "contract_id": self.member.contract_id,
            "product_code": self.member.product_code,
            "provider_did": self.member.provider_did,
            "kind": self.kind,
            "sql": self.sql,
            "governed_by": {
                "row_filters": [f"{table}: {text}" for table, text in terms.row_filters],
                "masks": [f"{mask.column}: {mask.method}" for mask in terms.masks],
                "minimum_group": terms.minimum_group or None,
                "hours": None if terms.hours is None else str(terms.hours),
                "regions": list(terms.regions),
                "rows_max": terms.rows_max,
                "bytes_max": terms.bytes_max,
            },
            "reads": list(self.fields),
            "pushed": list(self.pushed),
            "estimated_rows": self.rows,
            "uses": 1,
            "uses_left": self.member.uses_left,
            "estimated_fen": self.fen,
            "fresh": None if self.member.fresh is None else iso(self.member.fresh),
        }


@dataclass(frozen=True)
class Slot:
    """One local table: the rows of its parts, one after the other."""

    name: str  # s0, s1, ...
    parts: tuple[str, ...]
    columns: tuple[str, ...]
    why: str
    why_zh: str

    def to_json(self) -> Json:
        """As `explain` shows it."""
        return {
            "name": self.name,
            "parts": list(self.parts),
            "columns": list(self.columns),
            "why": self.why,
            "why_zh": self.why_zh,
        }


@dataclass(frozen=True)
class Plan:
    """Everything that will happen, before any of it does."""

    sql: str
    parts: tuple[Part, ...]
    slots: tuple[Slot, ...]
    final: str  # over the slots, as the gate wrote it
    columns: tuple[str, ...]
    lineage: Mapping[str, tuple[Json, ...]]  # output column -> where it comes from
    policy: Json  # what the result inherits
    notes: tuple[str, ...] = ()

    @property
    def fen(self) -> int:
        """The estimated price of all parts."""
        return sum(part.fen for part in self.parts)

    def to_json(self, consumer: str) -> Json:
        """The plan as `explain` answers it; `consumer`: who gets the parts and computes the rest.

        `disclosures` says who will see what: each provider the text of its sub-query, and the
        consumer the columns it answers with.
        """
        return {
            "sql": self.sql,
            "parts": [part.to_json() for part in self.parts],
            "slots": [slot.to_json() for slot in self.slots],
            "final": {"at": consumer, "sql": self.final, "columns": list(self.columns)},
            "disclosures": [
                {"from": part.member.provider_did, "to": consumer, "columns": list(part.fields)}
                for part in self.parts
            ],
            "lineage": {name: list(found) for name, found in self.lineage.items()},
            "policy": self.policy,
            "notes": list(self.notes),
            "uses": len(self.parts),
            "estimated_fen": self.fen,
        }


@dataclass
class Progress:
    """How far one part is; read by others while it runs."""

    contract_id: str
    use_id: str
    state: str = "waiting"  # "waiting" | "open" | "done" | "withheld" | "failed"
    rows: int = 0
    bytes: int = 0
    fen: int = 0
    code: str = ""
    charged: bool = False  # the provider has released: whatever comes, this is billed

    def to_json(self) -> Json:
        """As answers and progress show it."""
        return {
            "contract_id": self.contract_id,
            "use_id": self.use_id,
            "state": self.state,
            "rows": self.rows,
            "bytes": self.bytes,
            "fee_fen": self.fen if self.charged else 0,
            "code": self.code or None,
        }


@dataclass(frozen=True)
class Answer:
    """The record of one query over the fabric; its result is not kept."""

    id: str
    sql: str
    purpose: str
    principal: str
    state: str  # "running" | "done" | "failed"
    at: datetime
    parts: tuple[Json, ...] = ()
    policy: Json = field(default_factory=dict)
    lineage: Json = field(default_factory=dict)
    code: str = ""

    def to_json(self) -> Json:
        """As the API shows it."""
        return {
            "id": self.id,
            "sql": self.sql,
            "purpose": self.purpose,
            "principal": self.principal,
            "state": self.state,
            "at": iso(self.at),
            "parts": list(self.parts),
            "policy": self.policy,
            "lineage": self.lineage,
            "code": self.code or None,
        }
