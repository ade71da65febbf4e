"""The nouns of applications: a version, where it is deployed, one run; their states.

In: nothing. Out: frozen values. Each node keeps its own side: the author's or the host's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from yunhe.apps.manifest import Manifest


class Side(StrEnum):
    """Whose record this is."""

    AUTHOR = "author"
    HOST = "host"


class AppState(StrEnum):
    """The life of a version at its author: `withdrawn` is deployed nowhere anew."""

    DRAFT = "draft"
    PUBLISHED = "published"
    SUSPENDED = "suspended"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"


class DeploymentState(StrEnum):
    """The life of a version at one host under one contract."""

    ASKED = "asked"
    DEPLOYED = "deployed"
    SUSPENDED = "suspended"
    REFUSED = "refused"
    REVOKED = "revoked"


class ListingState(StrEnum):
    """How a version stands in the catalogue; `delisted` may be submitted again."""

    SUBMITTED = "submitted"
    LISTED = "listed"
    RETURNED = "returned"
    REJECTED = "rejected"
    DELISTED = "delisted"


class JobState(StrEnum):
    """The life of one run; `held` waits for a person of the host."""

    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"
    RELEASED = "released"
    REFUSED = "refused"
    FAILED = "failed"


ENDED: Final = (JobState.RELEASED, JobState.REFUSED, JobState.FAILED)

_A, _D = AppState, DeploymentState
# verb -> (from, to): a missing cell refuses
APP_STEPS: Final = {
    "publish": ((_A.DRAFT,), _A.PUBLISHED),
    "suspend": ((_A.PUBLISHED,), _A.SUSPENDED),
    "resume": ((_A.SUSPENDED,), _A.PUBLISHED),
    "withdraw": ((_A.DRAFT, _A.PUBLISHED, _A.SUSPENDED), _A.WITHDRAWN),
    "revoke": ((_A.PUBLISHED, _A.SUSPENDED, _A.WITHDRAWN), _A.REVOKED),
}
DEPLOYMENT_STEPS: Final = {
    "allow": ((_D.ASKED, _D.REFUSED), _D.DEPLOYED),
    "refuse": ((_D.ASKED,), _D.REFUSED),
    "suspend": ((_D.DEPLOYED,), _D.SUSPENDED),
    "resume": ((_D.SUSPENDED,), _D.DEPLOYED),
    "revoke": ((_D.ASKED, _D.DEPLOYED, _D.SUSPENDED), _D.REVOKED),
}


@dataclass(frozen=True)
class App:
    """One version of an application, as its author signed it. `ours`: published here."""

    digest: str
    ours: bool
    manifest: Manifest
    jws: str
    state: AppState
    why: str
    created_at: datetime
    changed_at: datetime
    entry_id: str


@dataclass(frozen=True)
class Listing:
    """A version of ours in the catalogue. `version`: counts what was sent to the node."""

    digest: str
    version: int
    state: ListingState
    keywords: tuple[str, ...]
    reasons: tuple[dict[str, str], ...]
    changed_at: datetime


@dataclass(frozen=True)
class Holder:
    """A node that took a listed version, to deploy it or to run it; since when."""

    peer_did: str
    at: datetime


@dataclass(frozen=True)
class Deployment:
    """A version at one host under one contract. `by`: who last changed it, and why."""

    id: str
    side: Side
    digest: str
    contract_id: str
    peer_did: str
    state: DeploymentState
    by: str
    why: str
    created_at: datetime
    changed_at: datetime
    entry_id: str


@dataclass(frozen=True)
class Job:
    """One run, which is one use; its id is the use's. `rule`: what the contract says of release.

    `wall_s`: whole seconds, so that a clock tells little; `bits`: the most the output could say.
    """

    id: str
    side: Side
    deployment_id: str
    digest: str
    contract_id: str
    peer_did: str
    purpose: str
    principal: str
    parameters: dict[str, Any]
    rule: str
    state: JobState
    code: str
    why: str
    withheld: bool
    rows: int
    bytes: int
    output_digest: str
    bits: int
    wall_s: int
    cpu_ms: int
    memory_bytes: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    entry_id: str
