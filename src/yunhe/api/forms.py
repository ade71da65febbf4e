"""Request bodies of the management API, and Terms to and from their JSON form.

pydantic at the edge: unknown members are refused and named; sizes are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import httpx
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from yunhe import contracts
from yunhe.api.errors import FormFault
from yunhe.kernel.clock import iso

# The first five parts, in this order; a clamp a column may follow (contracts.Privacy.parse).
PRIVACY = r"^(epsilon|rho)=[0-9.]+;delta=[0-9.]+;query=[0-9.]+;groups=[0-9]+;rows=[0-9]+(;[^;]+)*$"
PRIVACY_LIKE = "epsilon=1;delta=0.000001;query=0.1;groups=1;rows=1"

_RULES = "aggregate|model-metrics|predictions-to-host|review"
RELEASE = rf"^({_RULES})(;(k|rows|digits|bytes|bits)=[0-9]+)+$"
WATERMARK_LIKE = "key=patients.id;share=2;patients.weight=0.5"
WATERMARK = r"^key=[^;=]+;share=[1-9][0-9]{0,3}(;[^;=]+=[0-9.]+)+$"
AGGREGATES = r"^[^;=/]+=[a-z,]+(/[0-9.]+)?(;[^;=/]+=[a-z,]+(/[0-9.]+)?)*$"
AGGREGATES_LIKE = "pay.salary=avg,count,max,median/100;pay.age=count"
RELEASE_LIKE = "aggregate;k=10;rows=100;digits=4;bytes=65536"

HOURS = r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Daily)(-[A-Z][a-z]{2})? [0-9]{2}:[0-9]{2}-[^\n]*$"
HOURS_LIKE = "Mon-Fri 09:00-12:00 13:30-18:00, Sat 09:00-12:00 Asia/Shanghai"
REGION = r"^([0-9]{2}){1,3}$"
# A letter of any script begins a table's name. A column is called as its file calls it: 费用（元）.
TABLE = r"^[^\W\d]\w{0,62}$"
_COLUMN = r"[^\x00-\x1f\x7f.;=\"'`\\]{1,255}"
ENTITY = rf"^{_COLUMN}$"
COLUMN = rf"^[^\W\d]\w{{0,62}}\.{_COLUMN}$"
METHOD = r"^(null|hash|year|round:\d{1,9}|left:\d{1,4})$"
FREQUENCY = r"^[0-9]{1,15}/P[0-9WDTHMS]{1,40}$"
PAUSE = r"^P[0-9WDTHMS]{1,40}$"
MANY = Field(max_length=100)

Text = Annotated[str, Field(max_length=2000)]
PROGRAM = r"^[^@#\s]{1,256}(@[^@#\s]{1,64})?(#(sm3|sha256):[0-9a-f]{64})?$"
Program = Annotated[str, Field(pattern=PROGRAM)]
# Whoever writes one of these otherwise is shown how it is written, not the pattern.
SPELLED: Final[Mapping[str, str]] = MappingProxyType(
    {
        PRIVACY: PRIVACY_LIKE,
        RELEASE: RELEASE_LIKE,
        WATERMARK: WATERMARK_LIKE,
        AGGREGATES: AGGREGATES_LIKE,
        HOURS: HOURS_LIKE,
        REGION: "3301",
        PROGRAM: "risk@1.2",
        COLUMN: "patients.age",
        TABLE: "patients",
        ENTITY: "patient_id",
        METHOD: "null, hash, year, round:10, left:2",
        FREQUENCY: "10/P1D",
        PAUSE: "P7D",
    }
)
Name = Annotated[str, Field(min_length=1, max_length=128)]
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=20)]
Fen = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Count = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Purposes = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=50)
]
Columns = Annotated[
    list[Annotated[str, Field(pattern=COLUMN)]],
    Field(min_length=1, max_length=500),
]


def _is_text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("an instant is a text, as 2026-11-21T09:00:00Z")
    return value


def _is_in_range(moment: datetime) -> datetime:
    # Beyond, the change of zone leaves the calendar.
    if not 1970 <= moment.year < 9999:
        raise ValueError("the year is not in 1970 to 9998")
    return moment


Instant = Annotated[AwareDatetime, BeforeValidator(_is_text), AfterValidator(_is_in_range)]


def _is_address(text: str) -> str:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError("it is no address") from error
    if url.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", url.host):
        raise ValueError("it is no http address")
    if url.userinfo or url.query or url.fragment or re.search(r"[\s\\]", text):
        raise ValueError("it is more than an address")
    return text


# Where a peer's connector answers. Whether we may go there, the guarded client decides.
PeerAddress = Annotated[str, Field(max_length=1024), AfterValidator(_is_address)]


def _no(en: str, zh: str, like: str) -> FormFault:
    return FormFault(f"no {en}; written as in {like}", f"不是有效的{zh}；写法如 {like}")


class Form(BaseModel):
    """A strict request body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceForm(Form):
    """So much a use, so much a row, in fen."""

    per_use_fen: Fen = 0
    per_row_fen: Fen = 0


class MaskForm(Form):
    """How a column is shown."""

    column: Annotated[str, Field(pattern=COLUMN)]
    method: Annotated[str, Field(pattern=METHOD)]


class FilterForm(Form):
    """Which rows of a table: a predicate of literals."""

    table: Annotated[str, Field(pattern=TABLE)]
    predicate: Annotated[str, Field(min_length=1, max_length=2000)]


class TermsForm(Form):
    """The typed terms of docs/api.md."""

    purposes: Purposes
    columns: Columns
    expires_at: Instant | None = None
    uses_max: Count | None = None
    rows_max: Count | None = None
    row_filters: Annotated[list[FilterForm], Field(max_length=100)] = []
    masks: Annotated[list[MaskForm], Field(max_length=500)] = []
    minimum_group: Annotated[int, Field(ge=0, le=10**6, strict=True)] = 0
    price: PriceForm = PriceForm()
    frequency: Annotated[str, Field(pattern=FREQUENCY)] | None = None
    pause: Annotated[str, Field(pattern=PAUSE)] | None = None
    inherit: Annotated[bool, Field(strict=True)] = False
    privacy: Annotated[str, Field(pattern=PRIVACY, max_length=100_000)] | None = None
    applications: Annotated[list[Program], Field(max_length=50)] = []
    release: Annotated[str, Field(pattern=RELEASE, max_length=100)] | None = None
    bytes_max: Count | None = None
    rows_total: Count | None = None
    bytes_total: Count | None = None
    hours: Annotated[str, Field(pattern=HOURS, max_length=500)] | None = None
    regions: Annotated[list[Annotated[str, Field(pattern=REGION)]], MANY] = []
    watermark: Annotated[str, Field(pattern=WATERMARK, max_length=10_000)] | None = None
    aggregates: Annotated[str, Field(pattern=AGGREGATES, max_length=100_000)] | None = None
    keys_to: Annotated[list[Annotated[str, Field(pattern=f"^{contracts.DID}$")]], MANY] = []

    @field_validator("privacy")
    @classmethod
    def _private(cls, text: str | None) -> str | None:
        try:
            return None if text is None else str(contracts.Privacy.parse(text))
        except ValueError:
            raise _no("privacy budget", "隐私预算", PRIVACY_LIKE) from None

    @field_validator("hours")
    @classmethod
    def _hourly(cls, text: str | None) -> str | None:
        try:
            return None if text is None else str(contracts.Hours(text))
        except ValueError:
            raise _no("hours of use", "使用时段", HOURS_LIKE) from None

    @field_validator("release")
    @classmethod
    def _released(cls, text: str | None) -> str | None:
        try:
            return None if text is None else str(contracts.Release.parse(text))
        except ValueError:
            raise _no("release rule", "放行规则", RELEASE_LIKE) from None

    @field_validator("watermark")
    @classmethod
    def _marked(cls, text: str | None) -> str | None:
        try:
            return None if text is None else str(contracts.Watermark.parse(text))
        except ValueError:
            raise _no("watermark", "水印", WATERMARK_LIKE) from None

    @field_validator("aggregates")
    @classmethod
    def _listed(cls, text: str | None) -> str | None:
        try:
            return None if text is None else str(contracts.Aggregates.parse(text))
        except contracts.NoAggregates as error:
            raise FormFault(error.why, error.why_zh) from None

    @field_validator("frequency")
    @classmethod
    def _often(cls, text: str | None) -> str | None:
        if text is not None:
            contracts.Frequency.parse(text)
        return text

    @field_validator("pause")
    @classmethod
    def _paused(cls, text: str | None) -> str | None:
        if text is not None and contracts.duration_s(text) == 0:
            raise ValueError("a pause of no time")
        return text

    def terms(self) -> contracts.Terms:
        """The domain value."""
        return contracts.Terms(
            purposes=tuple(self.purposes),
            columns=tuple(self.columns),
            expires_at=self.expires_at,
            uses_max=self.uses_max,
            rows_max=self.rows_max,
            row_filters=tuple((f.table, f.predicate) for f in self.row_filters),
            masks=tuple(contracts.Mask(m.column, m.method) for m in self.masks),
            minimum_group=self.minimum_group,
            price=contracts.Price(self.price.per_use_fen, self.price.per_row_fen),
            frequency=contracts.Frequency.parse(self.frequency) if self.frequency else None,
            pause=self.pause,
            inherit=self.inherit,
            privacy=contracts.Privacy.parse(self.privacy) if self.privacy else None,
            applications=tuple(self.applications),
            release=contracts.Release.parse(self.release) if self.release else None,
            bytes_max=self.bytes_max,
            rows_total=self.rows_total,
            bytes_total=self.bytes_total,
            hours=contracts.Hours(self.hours) if self.hours else None,
            regions=tuple(self.regions),
            watermark=contracts.Watermark.parse(self.watermark) if self.watermark else None,
            aggregates=contracts.Aggregates.parse(self.aggregates) if self.aggregates else None,
            keys_to=tuple(self.keys_to),
        )


def terms_json(terms: contracts.Terms) -> dict[str, Any]:
    """The API form of Terms; the inverse of `TermsForm.terms`."""
    return {
        "purposes": list(terms.purposes),
        "columns": list(terms.columns),
        "expires_at": when(terms.expires_at),
        "uses_max": terms.uses_max,
        "rows_max": terms.rows_max,
        "row_filters": [{"table": t, "predicate": p} for t, p in terms.row_filters],
        "masks": [{"column": m.column, "method": m.method} for m in terms.masks],
        "minimum_group": terms.minimum_group,
        "price": {"per_use_fen": terms.price.per_use, "per_row_fen": terms.price.per_row},
        "frequency": None if terms.frequency is None else str(terms.frequency),
        "pause": terms.pause,
        "inherit": terms.inherit,
        "privacy": None if terms.privacy is None else str(terms.privacy),
        "applications": list(terms.applications),
        "release": None if terms.release is None else str(terms.release),
        "bytes_max": terms.bytes_max,
        "rows_total": terms.rows_total,
        "bytes_total": terms.bytes_total,
        "hours": None if terms.hours is None else str(terms.hours),
        "regions": list(terms.regions),
        "watermark": None if terms.watermark is None else str(terms.watermark),
        "aggregates": None if terms.aggregates is None else str(terms.aggregates),
        "keys_to": list(terms.keys_to),
    }


_BOUNDS = (
    "expires_at",
    "uses_max",
    "rows_max",
    "bytes_max",
    "rows_total",
    "bytes_total",
    "hours",
    "regions",
    "frequency",
    "pause",
)


def bounds_json(terms: contracts.Terms) -> dict[str, Any]:
    """The terms that say how much, when and from where; those that are set."""
    said = terms_json(terms)
    return {name: said[name] for name in _BOUNDS if said[name] not in (None, [])}


def when(moment: datetime | None) -> str | None:
    """An instant as text, or null."""
    return None if moment is None else iso(moment)


class Empty(Form):
    """A body without members."""


class TokenForm(Form):
    """A new API token."""

    name: Name
    roles: Annotated[
        list[
            Literal["admin", "reviewer", "provider", "user", "auditor", "operator", "application"]
        ],
        Field(min_length=1, max_length=6),
    ]
    ttl_s: Annotated[int, Field(ge=1, le=10 * 366 * 86400, strict=True)] | None = None


class ReviewForm(Form):
    """A reviewer's word."""

    decision: Literal["approve", "return", "reject"]
    reasons: Annotated[list[Text], Field(max_length=20)] = []


class RotationForm(Form):
    """Which key of this node is to be replaced."""

    purpose: Literal["did", "dcp"]


class StandingForm(Form):
    """What becomes of a connector, and why."""

    step: Literal["suspend", "resume", "revoke"]
    reasons: Annotated[list[Text], Field(min_length=1, max_length=20)]


class TableForm(Form):
    """One table of a resource: where its files lie and whose rows they are."""

    name: Annotated[str, Field(pattern=TABLE)]
    paths: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    entity_key: Annotated[str, Field(pattern=ENTITY)] | None = None


class ResourceForm(Form):
    """A data resource."""

    title_zh: Name
    title_en: Name
    description_zh: Text
    description_en: Text
    keywords: Words = []
    tables: Annotated[list[TableForm], Field(min_length=1, max_length=50)]
    metadata: dict[str, Any] = {}


class ProductForm(Form):
    """A data product over registered resources."""

    title_zh: Name
    title_en: Name
    description_zh: Text
    description_en: Text
    keywords: Words = []
    resource_ids: Annotated[list[Name], Field(min_length=1, max_length=50)]
    terms: TermsForm
    negotiable: TermsForm | None = None
    metadata: dict[str, Any] = {}


class ResourcePatch(Form):
    """Changes to a draft or returned resource; members left out stay."""

    title_zh: Name | None = None
    title_en: Name | None = None
    description_zh: Text | None = None
    description_en: Text | None = None
    keywords: Words | None = None
    tables: Annotated[list[TableForm], Field(min_length=1, max_length=50)] | None = None
    metadata: dict[str, Any] | None = None


class ProductPatch(Form):
    """Changes to a draft or returned product; members left out stay."""

    title_zh: Name | None = None
    title_en: Name | None = None
    description_zh: Text | None = None
    description_en: Text | None = None
    keywords: Words | None = None
    resource_ids: Annotated[list[Name], Field(min_length=1, max_length=50)] | None = None
    terms: TermsForm | None = None
    negotiable: TermsForm | None = None
    metadata: dict[str, Any] | None = None


class NegotiationForm(Form):
    """Ask a provider for a product."""

    provider_did: Name
    address: PeerAddress
    product_code: Annotated[str, Field(min_length=1, max_length=65)]
    offer_id: Annotated[str, Field(min_length=1, max_length=255)]
    terms: TermsForm
    accept: TermsForm | None = None


class CounterForm(Form):
    """A counter-offer."""

    terms: TermsForm


class ReasonForm(Form):
    """Why something is ended."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class SqlForm(Form):
    """One use: a query under a contract, for a purpose."""

    contract_id: Annotated[str, Field(min_length=1, max_length=255)]
    sql: Annotated[str, Field(min_length=1, max_length=100_000)]
    purpose: Annotated[str, Field(min_length=1, max_length=64)]
    use_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{8,80}$")] | None = None


def why_json(why: contracts.Why) -> dict[str, Any]:
    """A reason that one party gave, in both languages."""
    return {
        "code": why.code,
        "detail": why.text("en"),
        "zh": {"detail": why.text("zh")},
        "reasons": list(why.reasons),
    }
