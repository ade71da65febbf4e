"""What the fabric plans and tells: members, parts, slots, plans, answers.

In: nothing; these are values. Out: frozen dataclasses and their JSON. A *member* is one contract
of ours; an alias stands for one member, or for several that hold parts of the same tables. A
*part* is one sub-query under one contract; a *slot* is the local table its rows come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from yunhe.contracts import Policy, Terms
from yunhe.kernel import limits
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
class Known:
    """What the catalogue says of a product; nothing where it is away."""

    rows: Mapping[str, int] = field(default_factory=dict)  # by table, to two digits
    fresh: datetime | None = None  # when its record was last changed
    quality: str = ""  # N06 table 5: 001 (complete, accurate) to 004
    frequency: str = ""  # N06 table 4: how often it is said to be updated

    def late(self, now: datetime) -> bool:
        """Whether it was to be updated since, by its own word."""
        days = _DAYS.get(self.frequency)
        return bool(days and self.fresh and now - self.fresh > timedelta(days=days))


_DAYS: Final = {"002": 1, "003": 7, "004": 31, "005": 92, "006": 184, "007": 366}


@dataclass(frozen=True)
class Keys:
    """Values of one slot's column by which a part is filtered, so that fewer rows travel.

    The provider of the part sees them; `givers` are the providers they come from.
    """

    slot: str
    column: str  # of the slot
    fields: tuple[str, ...]  # "table.column" at the givers
    givers: tuple[str, ...]  # DIDs
    into: str  # the column in the part's own SQL
    text: bool  # else whole numbers
    share: float = 1.0  # of all keys, as is thought

    def to_json(self) -> Json:
        """As `explain` shows it."""
        return {
            "from": list(self.givers),
            "columns": list(self.fields),
            "filters": self.into,
            "at_most": limits.FABRIC_KEYS_MAX,
        }


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
    known: Known = field(default_factory=Known)

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
    keys: Keys | None = None  # filtered by these too, once they are known
    bytes: int | None = None  # estimated
    seconds: float | None = None  # estimated, from asking to the last byte
    measured: bool = False  # the seconds are of earlier parts of this contract, else of binding

    @property
    def fen(self) -> int:
        """The estimated price."""
        price = self.member.terms.price
        return price.per_use + price.per_row * (self.rows or 0)

    def to_json(self) -> Json:
        """As `explain` shows it."""
        terms, known = self.member.terms, self.member.known
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
                "privacy": None if terms.privacy is None else str(terms.privacy),
                "hours": None if terms.hours is None else str(terms.hours),
                "regions": list(terms.regions),
                "rows_max": terms.rows_max,
                "bytes_max": terms.bytes_max,
            },
            "reads": list(self.fields),
            "pushed": list(self.pushed),
            "keys": None if self.keys is None else self.keys.to_json(),
            **self.estimates(),
            "measured": self.measured,
            "uses": 1,
            "uses_left": self.member.uses_left,
            "fresh": None if known.fresh is None else iso(known.fresh),
            "quality": known.quality or None,
            "update_frequency": known.frequency or None,
        }

    def estimates(self) -> Json:
        """What it is thought to bring and to cost; stands beside the truth afterwards."""
        return {
            "estimated_rows": self.rows,
            "estimated_bytes": self.bytes,
            "estimated_s": None if self.seconds is None else round(self.seconds, 3),
            "estimated_fen": self.fen,
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
    notes: tuple[tuple[str, str], ...] = ()  # en, zh

    @property
    def fen(self) -> int:
        """The estimated price of all parts."""
        return sum(part.fen for part in self.parts)

    def _disclosures(self, consumer: str) -> list[Json]:
        """Who gets values of which columns, and why."""
        found: list[Json] = [
            {
                "from": part.member.provider_did,
                "to": consumer,
                "columns": list(part.fields),
                "as": part.kind,
            }
            for part in self.parts
        ]
        for part in self.parts:
            if part.keys is not None:
                seer, columns = part.member.provider_did, list(part.keys.fields)
                found += [
                    {"from": giver, "to": seer, "columns": columns, "as": "keys"}
                    for giver in part.keys.givers
                    if giver != seer
                ]
        return found

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
            "disclosures": self._disclosures(consumer),
            "lineage": {name: list(found) for name, found in self.lineage.items()},
            "policy": self.policy,
            "notes": [en for en, _ in self.notes],
            "notes_zh": [zh for _, zh in self.notes],
            "uses": len(self.parts),
            "estimated_rows": sum(part.rows or 0 for part in self.parts),
            "estimated_bytes": sum(part.bytes or 0 for part in self.parts),
            # They run side by side, but for those that wait for another's keys.
            "estimated_s": round(sum(self._slowest(keyed=keyed) for keyed in (False, True)), 3),
            "estimated_fen": self.fen,
        }

    def _slowest(self, *, keyed: bool) -> float:
        waits = [part.seconds or 0.0 for part in self.parts if (part.keys is not None) is keyed]
        return max(waits, default=0.0)


@dataclass
class Progress:
    """How far one part is; read by others while it runs."""

    contract_id: str
    use_id: str
    # "waiting" | "open" | "done" | "withheld" | "spared" (no key to ask for) | "failed"
    state: str = "waiting"
    rows: int = 0
    bytes: int = 0
    fen: int = 0
    code: str = ""
    charged: bool = False  # the provider has released: whatever comes, this is billed
    seconds: float = 0.0  # from asking to the last byte
    keys: int | None = None  # that its provider was shown
    noise: Json | None = None  # as its provider told it, for an answer under a privacy budget

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
            "seconds": round(self.seconds, 3),
            "keys": self.keys,
            "noise": self.noise,
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
