"""Nouns of identity: principals, peers, subjects, connectors, applications, credentials.

Values only, no I/O. Subjects are organisations 主体 (N03 table 5), connectors 接入连接器 (N03
table 10); an application is one form with all its versions and decisions (T11 7.2.1a).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

ROLES: Final = ("admin", "reviewer", "provider", "user", "auditor", "operator", "application")

Jwk = dict[str, Any]


@dataclass(frozen=True)
class RetiredKey:
    """A public key of ours that signs no more; others go by it `until`."""

    jwk: Jwk
    until: datetime


class State(StrEnum):
    """One life cycle for every record of identity (N03 7; T11 7.2.1)."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    RETURNED = "returned"
    REJECTED = "rejected"
    VERIFIED = "verified"
    ISSUED = "issued"
    ACTIVE = "active"
    CHANGING = "changing"
    SUSPENDED = "suspended"
    CANCEL_PENDING = "cancel_pending"
    CANCELLED = "cancelled"


class Kind(StrEnum):
    """What an application asks for."""

    SUBJECT = "subject"
    CONNECTOR = "connector"


@dataclass(frozen=True)
class Principal:
    """A person or program behind an API token of this node."""

    id: str
    name: str
    roles: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True)
class ApiToken:
    """What is kept of an API token: never its secret."""

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class Peer:
    """The node behind a request, authenticated. `member`: a trust root vouches for it."""

    did: str
    member: bool
    code: str
    subject_code: str
    name: str
    jwk: Jwk
    root: bool = False
    name_en: str = ""
    address: str = ""


@dataclass(frozen=True)
class SubjectForm:
    """What an organisation says of itself (N03 table 4, 5: name, USCC, address)."""

    subject_code: str
    name: str
    name_en: str = ""
    address: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The form as JSON, as it is stored and compared."""
        return asdict(self)


@dataclass(frozen=True)
class ConnectorForm:
    """What an organisation says of its connector (N03 table 10): name and public base URL."""

    subject_code: str
    name: str
    address: str
    name_en: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The form as JSON, as it is stored and compared."""
        return asdict(self)


@dataclass(frozen=True)
class Version:
    """One submitted form with what was decided on it; none is ever overwritten."""

    number: int
    form: dict[str, Any]
    submitted_at: datetime
    decision: str
    reasons: tuple[str, ...]
    reviewer: str
    decided_at: datetime | None


@dataclass(frozen=True)
class Application:
    """One application with its present form; `code` and `credential` once approved."""

    id: str
    kind: Kind
    applicant_did: str
    applicant_jwk: Jwk
    state: State
    version: int
    form: dict[str, Any]
    reasons: tuple[str, ...]
    code: str
    credential: str
    submitted_at: datetime
    decided_at: datetime | None
    reviewer: str
    versions: tuple[Version, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A registered organisation; `subject_code` is its USCC and its key."""

    subject_code: str
    name: str
    name_en: str
    address: str
    did: str
    state: State
    registered_at: datetime


@dataclass(frozen=True)
class Connector:
    """A registered connector; `code` is its N04 code (type 5) and never changes."""

    code: str
    subject_code: str
    did: str
    jwk: Jwk
    name: str
    name_en: str
    address: str
    state: State
    credential: str
    credential_expires_at: datetime
    registered_at: datetime
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatusEntry:
    """Where the state of a credential stands: bit `index` of the list at `url`."""

    type: str
    purpose: str
    index: int
    url: str


@dataclass(frozen=True)
class Held:
    """A membership credential as it was verified when it came: of this key, for this time."""

    token: str
    begins_at: datetime
    ends_at: datetime
    jwk: Jwk


@dataclass(frozen=True)
class Membership:
    """What a membership credential says, once it is verified."""

    issuer: str
    did: str
    code: str
    subject_code: str
    name: str
    name_en: str
    address: str
    jwk: Jwk
    expires_at: datetime
    id: str
    status: tuple[StatusEntry, ...] = ()
