"""Nouns of the catalogue: resources, products, listings, registrations, hits.

Values only, no I/O. A form is what a provider fills in; a record is what travels to the node
(no file path, no negotiation bound ever stands in one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from yunhe.kernel.errors import YunheError

Json = dict[str, Any]


@dataclass(frozen=True)
class Text:
    """One text in both languages; either may be empty, not both."""

    zh: str = ""
    en: str = ""

    def of(self, lang: str) -> str:
        """The text in `lang`, or in the other language where it is missing."""
        return (self.zh or self.en) if lang == "zh" else (self.en or self.zh)


@dataclass(frozen=True)
class Column:
    """A column and its engine type, as profiled."""

    name: str
    type: str


@dataclass(frozen=True)
class Table:
    """A table of a resource: where it lies stays on this node."""

    name: str
    columns: tuple[Column, ...]
    entity_key: str
    paths: tuple[str, ...] = ()
    rows: int = 0
    bytes: int = 0
    origins: tuple[str, ...] = ()  # locators; empty for what was described before there were any
    resource_id: str = ""


@dataclass(frozen=True)
class TableForm:
    """What the provider says of a table: its name, its files, the column naming its entity."""

    name: str
    paths: tuple[str, ...]
    entity_key: str = ""


@dataclass(frozen=True)
class Metadata:
    """The N06 fields a provider may set (catalogue.md 6.1); codes are checked by rules."""

    contact: str = ""
    source_type: str = "001"
    source_proof: str = ""
    legal_basis: str = ""
    masking_plan: str = ""
    topic_category: str = "A0000"
    scenario_category: str = "S0000"
    industry_category: str = "72"
    data_type: str = "01"
    update_frequency: str = "008"
    quality_level: str = "002"
    security_level: str = "002"
    data_grade: str = "general"
    grade_assessment: str = ""
    personal_info: str = "1"
    product_form: str = "001"
    service_type: str = "004"
    delivery_methods: tuple[str, ...] = ("03",)
    usage_scenario: str = ""


@dataclass(frozen=True)
class ResourceForm:
    """A data resource as its holder describes it."""

    title: Text
    description: Text
    tables: tuple[TableForm, ...]
    keywords: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=Metadata)

    def to_json(self) -> Json:
        """The stored form."""
        plain: Json = _plain(asdict(self))
        return plain

    @classmethod
    def from_json(cls, data: Json) -> ResourceForm:
        """The inverse of `to_json`."""
        return cls(
            Text(**data["title"]),
            Text(**data["description"]),
            tuple(TableForm(t["name"], tuple(t["paths"]), t["entity_key"]) for t in data["tables"]),
            tuple(data["keywords"]),
            _metadata(data["metadata"]),
        )


@dataclass(frozen=True)
class ProductForm:
    """A data product: resources, a policy (opaque here), how far one may negotiate (stays here)."""

    title: Text
    description: Text
    resource_ids: tuple[str, ...]
    policy: Json
    bounds: Json | None = None
    keywords: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=Metadata)

    def to_json(self) -> Json:
        """The stored form."""
        plain: Json = _plain(asdict(self))
        return plain

    @classmethod
    def from_json(cls, data: Json) -> ProductForm:
        """The inverse of `to_json`."""
        return cls(
            Text(**data["title"]),
            Text(**data["description"]),
            tuple(data["resource_ids"]),
            data["policy"],
            data["bounds"],
            tuple(data["keywords"]),
            _metadata(data["metadata"]),
        )


def _metadata(data: Json) -> Metadata:
    return Metadata(**{**data, "delivery_methods": tuple(data["delivery_methods"])})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Fault:
    """Why a record does not pass: the field, the rule (K1..K12), a sentence in each language.

    `weight`: `return` (mend and resubmit), `reject` (never), `reviewer` (a person decides).
    """

    field: str
    rule: str
    en: str
    zh: str
    weight: str = "return"

    def to_json(self) -> dict[str, str]:
        """As stored and sent."""
        return {
            "field": self.field,
            "rule": self.rule,
            "en": self.en,
            "zh": self.zh,
            "weight": self.weight,
        }


Reasons = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Resource:
    """A resource at its holder."""

    id: str
    code: str
    state: str
    version: int
    form: ResourceForm
    tables: tuple[Table, ...]
    reasons: Reasons
    updated_at: datetime


# A listed product stays on offer while a newer version of it is worked on.
ON_OFFER: Final = ("registered", "updating", "reviewing")


@dataclass(frozen=True)
class Product:
    """A product at its holder, with what the data plane needs: typed tables, keys and files.

    `state` is the entry's, `listing_state` the listing's, both as `states` has them; `version` is
    the working version, `registered_version` the one the code stands for (0 before that). The
    texts, policy and tables are of the registered version once there is one.
    """

    id: str
    code: str
    state: str
    version: int
    registered_version: int
    listing_state: str
    form: ProductForm
    tables: tuple[Table, ...]
    reasons: Reasons
    updated_at: datetime

    @property
    def title(self) -> Text:
        """The product's name in both languages."""
        return self.form.title

    @property
    def policy(self) -> Json:
        """The policy in its stored form; contracts gives the typed reading."""
        return self.form.policy

    @property
    def bounds(self) -> Json | None:
        """How far the provider goes by itself; never leaves this node."""
        return self.form.bounds

    @property
    def listed(self) -> bool:
        """True if it is on offer now."""
        return self.listing_state == "listed" and self.state in ON_OFFER

    @property
    def shown_state(self) -> str:
        """One word for people: the listing's state once there is a listing."""
        if self.state == "withdrawn" or self.listing_state == "none":
            return self.state
        return self.listing_state


@dataclass(frozen=True)
class Version:
    """One kept version of an entry."""

    version: int
    form: Json
    at: datetime
    by: str


@dataclass(frozen=True)
class Registration:
    """A submission at the node: `kind` is resource, product, listing, delist or revoke.

    `title`: what it is about, for a reviewer's list; of the last three that of the entry they name.
    """

    id: str
    kind: str
    origin_did: str
    origin_name: str
    local_id: str
    version: int
    state: str
    code: str
    record: Json
    reasons: Reasons
    warnings: Reasons
    received_at: datetime
    reviewer: str
    title: Text


@dataclass(frozen=True)
class Hit:
    """One product found. `score` is 0 for what the index does not have yet."""

    code: str
    title: Text
    description: Text
    keywords: tuple[str, ...]
    provider_did: str
    provider_name: str
    connector_code: str
    address: str
    price: Json
    version: int
    updated_at: datetime
    language: str
    score: float = 0.0


@dataclass(frozen=True)
class Program:
    """A version of an application that was found; its manifest and program are its author's."""

    digest: str
    name: str
    version: str
    kind: str
    title: Text
    keywords: tuple[str, ...]
    author_did: str
    author_name: str
    connector_code: str
    listed_at: datetime


@dataclass(frozen=True)
class Page:
    """A page of hits and how many there are in all."""

    total: int
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Detail:
    """Everything public of one product."""

    hit: Hit
    tables: tuple[Table, ...]
    policy: Json | None
    record: Json


# What reading a stranger's policy can raise: our refusals, and its wrong shapes.
POLICY_UNREADABLE = (YunheError, KeyError, TypeError, ValueError, AttributeError)


class PriceRead(Protocol):
    """The price of a policy, integer fen."""

    @property
    def per_use(self) -> int: ...
    @property
    def per_row(self) -> int: ...


class TermsRead(Protocol):
    """What the catalogue needs of a policy's typed reading; `contracts.Terms` fits."""

    @property
    def purposes(self) -> tuple[str, ...]: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def price(self) -> PriceRead: ...


class ReadTerms(Protocol):
    """Reads a policy; raises YunheError when it is not understood. node.py gives contracts'."""

    def __call__(self, policy: Json, /) -> TermsRead: ...


class CheckTerms(Protocol):
    """What of the terms these tables cannot honour, as (part of the terms, why).

    Not `whole`: the tables may have columns that are not shown, so an unknown name is no fault.
    node.py gives dataplane's.
    """

    def __call__(
        self, terms: Any, tables: Sequence[Table], /, *, whole: bool
    ) -> Sequence[tuple[str, YunheError]]: ...
