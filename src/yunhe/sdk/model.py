"""What the API says, as frozen dataclasses; unknown members of an answer are ignored.

In: JSON of `docs/api.md`. Out: records with instants as aware UTC and money in integer fen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from yunhe.kernel.clock import iso, parse_iso

R = TypeVar("R")


def read(record: type[R], data: Mapping[str, Any]) -> R:
    """`data` as a `record`: known members only, lists as tuples, `*_at` as instants, terms typed.

    Raises KeyError for a missing member that has no default, ValueError for a malformed one.
    """
    values: dict[str, Any] = {}
    for spec in fields(record):  # type: ignore[arg-type]
        if spec.name in data:
            values[spec.name] = _member(spec.name, data[spec.name])
    try:
        return record(**values)
    except TypeError as error:
        raise KeyError(str(error)) from error


def _member(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith("_at"):
        return parse_iso(value)
    if name in ("terms", "negotiable"):
        return Terms.from_json(value)
    if name == "offers":
        return tuple(read(Move, move) for move in value)
    if name == "contract":
        return read(Contract, value)
    return tuple(value) if isinstance(value, list) else value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    # A single text would pass as a list of its letters.
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{name} is a list of texts")
    return tuple(value)


@dataclass(frozen=True)
class Terms:
    """What a use may be; columns are "table.column", money is in fen."""

    purposes: tuple[str, ...]
    columns: tuple[str, ...]
    expires_at: datetime | None = None
    uses_max: int | None = None
    rows_max: int | None = None
    row_filters: tuple[tuple[str, str], ...] = ()  # (table, predicate)
    masks: tuple[tuple[str, str], ...] = ()  # (column, method)
    minimum_group: int = 0
    per_use_fen: int = 0
    per_row_fen: int = 0
    frequency: str | None = None  # "10/P1D": uses a window, an ISO 8601 duration
    pause: str | None = None  # "PT1M": the least time between two uses
    inherit: bool = False  # passed on only together with this policy
    privacy: str | None = None  # "epsilon=1;delta=0.000001;query=0.1;groups=1;rows=1;t.c=0..9"
    applications: tuple[str, ...] = ()  # used by these only: "id[@version][#sha256:hex]"
    release: str | None = None  # what leaves them: "aggregate;k=10;rows=100;digits=4;bytes=65536"
    bytes_max: int | None = None  # of one use
    rows_total: int | None = None  # of all uses together
    bytes_total: int | None = None  # of all uses together
    hours: str | None = None  # "Mon-Fri 09:00-18:00 Asia/Shanghai"
    regions: tuple[str, ...] = ()  # GB/T 2260 codes; none: anywhere
    watermark: str | None = None  # "key=patients.id;share=2;patients.weight=0.5"
    keys_to: tuple[str, ...] = ()  # DIDs that may be shown values as keys of a join
    aggregates: str | None = None  # "pay.salary=avg,count,max,median/100;pay.age=count"

    def to_json(self) -> dict[str, Any]:
        """The wire form of `docs/api.md`."""
        return {
            "purposes": list(self.purposes),
            "columns": list(self.columns),
            "expires_at": None if self.expires_at is None else iso(self.expires_at),
            "uses_max": self.uses_max,
            "rows_max": self.rows_max,
            "row_filters": [{"table": t, "predicate": p} for t, p in self.row_filters],
            "masks": [{"column": c, "method": m} for c, m in self.masks],
            "minimum_group": self.minimum_group,
            "price": {"per_use_fen": self.per_use_fen, "per_row_fen": self.per_row_fen},
            "frequency": self.frequency,
            "pause": self.pause,
            "inherit": self.inherit,
            "privacy": self.privacy,
            "applications": list(self.applications),
            "release": self.release,
            "bytes_max": self.bytes_max,
            "rows_total": self.rows_total,
            "bytes_total": self.bytes_total,
            "hours": self.hours,
            "regions": list(self.regions),
            "watermark": self.watermark,
            "aggregates": self.aggregates,
            "keys_to": list(self.keys_to),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Terms:
        """Read the wire form; raises KeyError or ValueError for what is not one."""
        expires = data.get("expires_at")
        price = data.get("price") or {}
        if not isinstance(price, Mapping):
            raise ValueError("price is an object of per_use_fen and per_row_fen")
        return cls(
            purposes=_texts("purposes", data["purposes"]),
            columns=_texts("columns", data["columns"]),
            expires_at=parse_iso(expires) if isinstance(expires, str) else expires,
            uses_max=data.get("uses_max"),
            rows_max=data.get("rows_max"),
            row_filters=tuple((f["table"], f["predicate"]) for f in data.get("row_filters", ())),
            masks=tuple((m["column"], m["method"]) for m in data.get("masks", ())),
            minimum_group=data.get("minimum_group", 0),
            per_use_fen=price.get("per_use_fen", 0),
            per_row_fen=price.get("per_row_fen", 0),
            frequency=data.get("frequency"),
            pause=data.get("pause"),
            inherit=data.get("inherit", False),
            privacy=data.get("privacy"),
            applications=_texts("applications", data.get("applications", ())),
            release=data.get("release"),
            bytes_max=data.get("bytes_max"),
            rows_total=data.get("rows_total"),
            bytes_total=data.get("bytes_total"),
            hours=data.get("hours"),
            regions=_texts("regions", data.get("regions", ())),
            watermark=data.get("watermark"),
            aggregates=data.get("aggregates"),
            keys_to=_texts("keys_to", data.get("keys_to", ())),
        )

    def but(self, changes: Mapping[str, Any] | None) -> Terms:
        """The same terms with some members of the wire form changed; refuses unknown ones."""
        changed = dict(changes or {})
        whole = self.to_json()
        if unknown := sorted(set(changed) - set(whole)):
            raise ValueError(f"no such term: {', '.join(unknown)}; terms are {', '.join(whole)}")
        return Terms.from_json({**whole, **changed})


@dataclass(frozen=True)
class Me:
    """Who the token speaks for."""

    id: str
    name: str
    roles: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Token:
    """An API token just made; `token` is the secret and is shown this once."""

    token_id: str
    token: str
    name: str
    roles: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Registration:
    """How far this node's own registration at its parent is."""

    state: str
    subject_code: str | None = None
    connector_code: str | None = None
    did: str | None = None
    parent_did: str | None = None
    reasons: tuple[Any, ...] = ()
    step: str = ""
    last_contact_at: datetime | None = None
    last_error: str | None = None
    waiting: int = 0


@dataclass(frozen=True)
class Application:
    """A subject, connector, resource, product, listing or program: to be reviewed, or reviewed."""

    id: str
    kind: str
    state: str
    name: str = ""
    title_zh: str = ""
    title_en: str = ""
    subject_code: str | None = None
    did: str | None = None
    provider_did: str | None = None
    provider_name: str = ""
    code: str | None = None
    submitted_at: datetime | None = None
    reasons: tuple[Any, ...] = ()
    warnings: tuple[Any, ...] = ()
    manifest: dict[str, Any] | None = None  # of a program


@dataclass(frozen=True)
class Resource:
    """A data resource of this node: profiled tables with their entity keys."""

    id: str
    state: str
    title_zh: str
    title_en: str
    code: str | None = None
    version: int = 1
    description_zh: str = ""
    description_en: str = ""
    keywords: tuple[str, ...] = ()
    tables: tuple[dict[str, Any], ...] = ()
    drift: dict[str, Any] = field(default_factory=dict)  # table -> how its source differs now
    reasons: tuple[Any, ...] = ()


@dataclass(frozen=True)
class OwnProduct:
    """A data product of this node with its terms; `negotiable` is how far it goes by itself."""

    id: str
    state: str
    title_zh: str
    title_en: str
    code: str | None = None
    version: int = 1
    keywords: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()
    terms: Terms | None = None
    negotiable: Terms | None = None
    reasons: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Hit:
    """A product as the catalogue of all nodes knows it."""

    code: str
    title_zh: str
    title_en: str
    provider_did: str
    provider_name: str = ""
    address: str = ""
    keywords: tuple[str, ...] = ()
    score: float = 0.0
    price: dict[str, Any] | None = None
    language: str = ""
    description_zh: str = ""
    description_en: str = ""
    tables: tuple[dict[str, Any], ...] = ()
    terms: Terms | None = None


@dataclass(frozen=True)
class Offer:
    """What the provider itself states for a product: the start of a negotiation."""

    offer_id: str
    product_code: str
    provider_did: str
    address: str
    terms: Terms


@dataclass(frozen=True)
class Move:
    """One offer of a negotiation, by `provider` or `consumer`."""

    by: str
    terms: Terms
    offer_id: str = ""
    at: str = ""


@dataclass(frozen=True)
class Negotiation:
    """A negotiation at this node; `waiting_for` is `you`, `peer` or empty."""

    id: str
    state: str
    version: int
    role: str = "consumer"
    peer_did: str = ""
    product_code: str = ""
    waiting_for: str = ""
    offers: tuple[Move, ...] = ()
    contract_id: str | None = None
    error: dict[str, Any] | None = None
    stuck_because: str | None = None
    next_retry_at: datetime | None = None
    contract: Contract | None = None  # where it was asked for alone, and has come to one


@dataclass(frozen=True)
class Progress:
    """Told to `on_progress` at each step of a negotiation; `seconds` since it began."""

    negotiation: Negotiation
    seconds: float


@dataclass(frozen=True)
class Contract:
    """A signed contract; `state` is `in_force`, `terminated` or `expired`."""

    id: str
    state: str
    role: str
    peer_did: str
    product_code: str
    terms: Terms
    version: int = 1
    signature_level: str = ""
    uses_left: int | None = None
    privacy_left: dict[str, Any] | None = None  # at the provider, under a privacy budget
    signed_at: datetime | None = None
    ended_reason: str | None = None
    ended_reason_zh: str | None = None
    stuck_because: str | None = None
    next_retry_at: datetime | None = None


@dataclass(frozen=True)
class Left:
    """What is left of a contract, as its provider counts it; None: no such bound.

    `held_*`: of uses under way, whose rest comes back; `next_at`: when a use may next begin;
    `privacy`: the budget's `epsilon`, `epsilon_left`, `answers` and the rest; `bits_left`: what
    all runs of applications may still say together.
    """

    uses_left: int | None = None
    rows_left: int | None = None
    bytes_left: int | None = None
    held_rows: int | None = None
    held_bytes: int | None = None
    next_at: datetime | None = None
    privacy: dict[str, Any] | None = None
    bits_left: int | None = None


@dataclass(frozen=True)
class Governed:
    """What the provider's gate makes of a query; `pushed`: what each database does of it, and how
    many rows it shipped the last time; `bounds`: the terms that say how much, when and from where;
    `left`: what is left of them."""

    contract_id: str
    sql: str
    groups_sql: str | None
    minimum_group: int
    fields: tuple[str, ...]
    names: tuple[str, ...]
    pushed: tuple[str, ...]
    bounds: dict[str, Any] = field(default_factory=dict)
    left: Left | None = None


@dataclass(frozen=True)
class Transfer:
    """A transfer under a contract; `state` is the DSP's, `error` why it was halted or ended.

    `push`: of a push, how far it is (docs/transfers.md)."""

    id: str
    contract_id: str
    role: str
    peer_did: str
    state: str
    format: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    error: dict[str, Any] | None = None
    push: dict[str, Any] | None = None


@dataclass(frozen=True)
class Use:
    """One use under a contract, as metered here."""

    use_id: str
    contract_id: str
    state: str
    purpose: str = ""
    rows: int = 0
    bytes: int = 0
    fee_fen: int = 0
    at: str = ""
    entry_id: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Bill:
    """The running bill of a contract."""

    contract_id: str
    uses: int
    rows: int
    total_fen: int
    unbilled_fen: int = 0
    currency: str = "CNY"


@dataclass(frozen=True)
class Statement:
    """A statement of account; `differences` names the lines a reconciliation disputes."""

    id: str
    contract_id: str
    state: str
    uses: int
    rows: int
    total_fen: int
    currency: str = "CNY"
    issued_at: datetime | None = None
    settled_at: datetime | None = None
    differences: tuple[Any, ...] = ()
