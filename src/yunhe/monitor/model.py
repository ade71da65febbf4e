"""The values of the slice: what is watched, what is wrong, what a check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import httpx

from yunhe.dataplane import Pool
from yunhe.evidence import EvidenceLog
from yunhe.exchange import Exchange
from yunhe.federation import Federation
from yunhe.identity import Identity
from yunhe.kernel.db import Database
from yunhe.kernel.outbox import Outbox
from yunhe.kernel.settings import NodeConfig

OK: Final = "ok"
WARN: Final = "warn"  # it will fail unless somebody acts
FAIL: Final = "fail"


@dataclass(frozen=True)
class Watched:
    """The parts of one node that are asked."""

    config: NodeConfig
    db: Database
    outbox: Outbox
    evidence: EvidenceLog
    pool: Pool
    exchange: Exchange
    identity: Identity
    federation: Federation
    # the schema's version as the database has it, and the newest that the program knows
    schema: Callable[[], tuple[str, str]]
    http: httpx.Client  # guarded: the parent's clock is asked with it

    @property
    def provides(self) -> bool:
        """Whether it has workers at all."""
        return "connector" in self.config.roles


@dataclass(frozen=True)
class Fault:
    """Why the node is not ready: `part` for programs, a sentence's part for people."""

    part: str
    en: str
    zh: str


@dataclass(frozen=True)
class Check:
    """One look ahead; `en` and `zh` say what was found, the remedy what to do (empty: nothing)."""

    name: str
    state: str  # OK | WARN | FAIL
    en: str
    zh: str
    mend_en: str = ""
    mend_zh: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the API gives it."""
        return asdict(self)
