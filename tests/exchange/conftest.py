"""Two nodes in one process, a hospital that provides and a researcher that uses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from yunhe.contracts import (
    Agreement,
    Contract,
    ContractInForce,
    Price,
    Side,
    Terms,
    policy_from_terms,
)
from yunhe.control import Consumed, Control, Grant, Use
from yunhe.evidence import EvidenceLog
from yunhe.exchange import Exchange
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, create_all, open_database
from yunhe.kernel.keys import KeyStore, jws_kid, own_name
from yunhe.kernel.outbox import Message, Outbox, outbox
from yunhe.ledger import Ledger

PROVIDER, CONSUMER = "did:web:hospital.example", "did:web:research.example"
START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Terms(
    purposes=("research",),
    columns=("lab.value",),
    uses_max=50,
    rows_max=100,
    price=Price(per_use=100, per_row=2),
)


class Node:
    """One node with its log, gate, books and exchange."""

    def __init__(
        self, db: Database, folder: Path, did: str, jwk_of: Callable[[str, str], Any]
    ) -> None:
        self.db, self.did = db, did
        self.keys = KeyStore(folder / "keys")
        self.key = self.keys.key("did")
        self.log = EvidenceLog(db, self.keys.key("log"), did.removeprefix("did:web:") + "/log")
        self.log.install()
        self.log.start()
        self.control = Control(db, self.log)
        self.ledger = Ledger(db)
        self.names: dict[str, str] = {}  # what a peer calls our algorithm
        self.exchange = Exchange(
            db, self.log, self.control, self.ledger, did, self.key, jwk_of,
            lambda peer: self.names.get(peer, own_name(peer)),
        )  # fmt: skip

    def sql(self, text: str, drop: str = "") -> None:
        """A thief with the database file: drops the trigger in the way, then does as it likes."""

        def verb(tx) -> None:
            if drop:
                on = f" ON {drop.rsplit('_no_', 1)[0]}" if tx.dialect == "postgresql" else ""
                tx.connection.execute(sa.text(f"DROP TRIGGER {drop}{on}"))
            tx.connection.exec_driver_sql(text)

        self.db.write(verb)

    def balance(self) -> dict[str, int]:
        return {each.owner: each.posted_fen for each in self.ledger.balances()}


class Pair:
    """Both nodes, one contract, and a post between them that the test empties by hand."""

    def __init__(self, hospital_db: Database, research_db: Database, folder: Path) -> None:
        self.keys: dict[str, Any] = {}
        self.earlier: dict[str, tuple[Any, datetime]] = {}  # by kid, until when it verifies
        self.hospital = Node(hospital_db, folder / "h", PROVIDER, self.signer_of)
        self.research = Node(research_db, folder / "r", CONSUMER, self.signer_of)
        for node in (self.hospital, self.research):
            self.keys[node.did] = node.key.public_jwk()
        self.contract()
        self.count = 0

    def signer_of(self, did: str, jws: str, at: datetime | None = None, /) -> Any:
        """As the documents of the two say it: each key that verifies `at` a time, or now."""
        jwk, until = self.earlier.get(str(jws_kid(jws)), (self.keys[did], None))
        at = at or self.research.db.clock.now()
        return jwk if until is None or at < until else self.keys[did]

    def rotate(self, node: Node) -> None:
        """The node signs with another key from here on; the one before still verifies."""
        before = self.keys[node.did]
        until = node.db.clock.now() + timedelta(days=limits.KEY_OVERLAP_DAYS)
        self.earlier[before["kid"]] = before, until
        node.keys.prepare("did", "Ed25519")
        node.keys.promote("did", "Ed25519")
        self.keys[node.did] = node.key.public_jwk()

    def contract(self, terms: Terms = TERMS, contract_id: str = "c1") -> None:
        policy = policy_from_terms(terms)
        agreement = Agreement(contract_id, b"{}", "P1", PROVIDER, CONSUMER, policy, START)
        ours = Contract(
            contract_id, Side.PROVIDER, CONSUMER, "http://peer", "P1", policy, "in_force", 1,
            agreement, "n1", START,
        )  # fmt: skip
        theirs = replace(ours, role=Side.CONSUMER, peer_did=PROVIDER)
        for node, side in ((self.hospital, ours), (self.research, theirs)):
            node.db.write(lambda tx, side=side: tx.emit(ContractInForce(side, tx.now)))

    def admit(self, contract_id: str = "c1") -> Grant:
        self.count += 1
        fields = frozenset({"lab.value"})
        wish = Use(f"u{self.count}", contract_id, CONSUMER, "alice", "research", fields, 100)
        grant = self.hospital.control.admit(wish)
        self.hospital.control.release(grant)
        return grant

    def use(self, rows: int = 10, deliver: bool = True, contract_id: str = "c1") -> str:
        """One whole use: the provider posts, the consumer signs for the same rows."""
        grant = self.admit(contract_id)
        self.hospital.control.post(grant, rows, rows * 8)
        self.receive(grant.use_id, rows, contract_id)
        if deliver:
            self.deliver()
        return grant.use_id

    def receive(self, use_id: str, rows: int, contract_id: str = "c1") -> None:
        digest = hashlib.sha256(use_id.encode()).hexdigest()
        self.research.db.write(
            lambda tx: self.research.exchange.record_receipt(
                tx, Consumed(use_id, contract_id, "research", rows, rows * 8, digest)
            )
        )

    def waiting(self, node: Node) -> list[Any]:
        query = sa.select(outbox).where(outbox.c.state == "pending").order_by(outbox.c.seq)
        return list(node.db.read(lambda tx: tx.all(query)))

    def deliver(self) -> list[dict[str, Any]]:
        """Carry what waits at both ends, as protocols would; the replies."""
        replies = []
        for sender, taker in ((self.hospital, self.research), (self.research, self.hospital)):
            for row in self.waiting(sender):
                exchange, said = taker.exchange, row.payload
                reply = {
                    "tds.SendReceipt": lambda e=exchange, s=said, d=sender.did: e.receive_receipt(
                        d, s["receipt"], s["jws"]
                    ),
                    "tds.SendStatement": lambda e=exchange, s=said, d=sender.did: (
                        e.receive_statement(d, s["statement"], s["jws"])
                    ),
                    "tds.GetUseOutcome": lambda e=exchange, s=said, d=sender.did: e.use_outcome(
                        d, s
                    ),
                    "tds.AcknowledgeStatement": lambda e=exchange, s=said, d=sender.did: (
                        e.receive_answer(d, s)
                    ),
                }[row.kind]()
                sent = sa.update(outbox).where(outbox.c.message_id == row.message_id)
                sender.db.write(lambda tx, sent=sent: tx.execute(sent.values(state="sent")))
                if row.kind == "tds.GetUseOutcome":
                    self.resolve(row, reply)
                replies.append(reply)
        return replies

    def resolve(self, row: Any, reply: dict[str, Any] | None) -> None:
        """Hand an outcome to its asker, as the outbox does with every reply."""
        box = Outbox(self.research.db)
        self.research.exchange.install(box)
        handler = box._delivered[row.kind]
        said = Message(
            row.message_id, row.kind, row.peer, row.address, row.conversation, row.seq,
            row.payload, row.attempts, row.created_at,
        )  # fmt: skip
        self.research.db.write(lambda tx: handler(tx, said, reply))


@pytest.fixture
def research_db(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'research.db'}", clock)
    create_all(database)
    yield database
    database.close()


@pytest.fixture
def pair(db: Database, research_db: Database, tmp_path: Path) -> Iterator[Pair]:
    yield from _pair(db, research_db, tmp_path)


@pytest.fixture
def any_pair(any_db: Database, research_db: Database, tmp_path: Path) -> Iterator[Pair]:
    yield from _pair(any_db, research_db, tmp_path)


@pytest.fixture
def selling_pair(pg_db: Database, research_db: Database, tmp_path: Path) -> Iterator[Pair]:
    """The provider's books lie on PostgreSQL, where other verbs commit in the middle of one."""
    yield from _pair(pg_db, research_db, tmp_path)


@pytest.fixture(params=["research_db", "pg_db"])
def paying_pair(request: pytest.FixtureRequest, db: Database, tmp_path: Path) -> Iterator[Pair]:
    """The consumer's books lie on either engine."""
    yield from _pair(db, request.getfixturevalue(request.param), tmp_path)


def _pair(hospital_db: Database, research_db: Database, folder: Path) -> Iterator[Pair]:
    made = Pair(hospital_db, research_db, folder)
    yield made
    made.hospital.log.stop()
    made.research.log.stop()
