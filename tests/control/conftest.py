"""A provider's node: a database with its log, and a contract that both sides signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from yunhe.contracts import (
    Agreement,
    Contract,
    ContractEnded,
    ContractInForce,
    Price,
    Side,
    Terms,
    policy_from_terms,
)
from yunhe.contracts.model import Why
from yunhe.control import Control, Use
from yunhe.evidence import EvidenceLog
from yunhe.kernel.db import Database
from yunhe.kernel.keys import KeyStore

PEER, US = "did:web:research.example", "did:web:hospital.example"
START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Terms(
    purposes=("research", "teaching"),
    columns=("lab.value", "lab.day", "patient.id"),
    expires_at=datetime(2026, 2, 1, tzinfo=UTC),
    uses_max=5,
    rows_max=100,
    minimum_group=3,
    row_filters=(("lab", "value > 0"),),
    price=Price(per_use=100, per_row=2),
)


def contract(terms: Terms = TERMS, contract_id: str = "c1", role: Side = Side.PROVIDER) -> Contract:
    """A contract in force as the contracts slice would emit it."""
    policy = policy_from_terms(terms)
    provider, consumer = (US, PEER) if role is Side.PROVIDER else (PEER, US)
    agreement = Agreement(contract_id, b"{}", "P1", provider, consumer, policy, START)
    return Contract(
        contract_id, role, PEER, "http://peer", "P1", policy, "in_force", 1, agreement, "n1", START,
        terms.expires_at,
    )  # fmt: skip


class World:
    """One node; verbs of its contracts are events, as in the house."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.log = EvidenceLog(db, KeyStore(folder / "keys").key("log"), "hospital.example/log")
        self.log.install()
        self.control = Control(db, self.log)
        self.seen: list[object] = []

    def open(self, terms: Terms = TERMS, contract_id: str = "c1") -> Contract:
        made = contract(terms, contract_id)
        self.db.write(lambda tx: tx.emit(ContractInForce(made, tx.now)))
        return made

    def end(self, made: Contract, state: str = "terminated") -> None:
        def verb(tx) -> None:
            ended = replace(
                made, state=state, version=made.version + 1, ended_at=tx.now,
                end=Why("PROVIDER_CHOICE", ("the study is over",)),
            )  # fmt: skip
            tx.emit(ContractEnded(ended, US, tx.now))

        self.db.write(verb)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in reversed(self.log.find(limit=1000))]


UseMaker = Callable[..., Use]


@pytest.fixture
def use() -> UseMaker:
    """A use that the contract allows, with whatever the test changes."""
    count = iter(range(1, 10_000))

    def make(**change: object) -> Use:
        values: dict[str, object] = {
            "use_id": f"u{next(count)}",
            "contract_id": "c1",
            "peer_did": PEER,
            "principal": "alice",
            "purpose": "research",
            "fields": frozenset({"lab.value"}),
            "rows_max": 100,
        }
        return Use(**(values | change))  # type: ignore[arg-type]

    return make


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return World(db, tmp_path)


@pytest.fixture
def any_world(any_db: Database, tmp_path: Path) -> World:
    return World(any_db, tmp_path)
