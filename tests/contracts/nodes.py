"""Two nodes in one process that exchange domain messages over a wire we can watch and spoil."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from yunhe.contracts import (
    PULL,
    AgreementUnreadable,
    Contracts,
    Decider,
    Draft,
    Message,
    Negotiation,
    OpenMax,
    Policy,
    Price,
    Terms,
    TransferStart,
    from_payload,
)
from yunhe.contracts.sent import delivered, gave_up
from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.kernel.clock import ManualClock, iso, parse_iso
from yunhe.kernel.db import Database, Tx, create_all, open_database
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import JoseName, KeyStore, own_name
from yunhe.kernel.outbox import Message as Letter
from yunhe.kernel.outbox import outbox

CODE = "691330100MA0000023P330100000ABC0"
LISTED = Terms(
    purposes=("research",),
    columns=("p.age", "p.sex"),
    expires_at=datetime(2126, 1, 1, tzinfo=UTC),
    uses_max=10,
    minimum_group=5,
    price=Price(per_use=100, per_row=2),
)
FURTHEST = replace(LISTED, uses_max=20, price=Price(80, 1))


class JsonForm:
    """An agreement form without ODRL, for tests of the slice alone."""

    def write(self, draft: Draft) -> bytes:
        assert draft.at is not None
        said = {
            "id": draft.id,
            "product": draft.product_code,
            "provider": draft.provider_did,
            "consumer": draft.consumer_did,
            "policy": draft.policy.to_json(),
            "at": iso(draft.at),
        }
        return dumps(said)

    def read(self, document: bytes) -> Draft:
        try:
            said = loads_strict(document)
            return Draft(
                said["id"],
                said["product"],
                said["provider"],
                said["consumer"],
                Policy.from_json(said["policy"]),
                parse_iso(said["at"]),
            )
        except (KeyError, TypeError, YunheError) as error:
            raise AgreementUnreadable(why=str(error)) from error


@dataclass
class Log:
    """An evidence log that remembers."""

    entries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> SimpleNamespace:
        dumps(body)
        tx.after_commit(lambda: self.entries.append((kind, body)))
        return SimpleNamespace(entry_id=tx.new_id())

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.entries]


@dataclass(frozen=True)
class Product:
    code: str = CODE
    terms: Terms = LISTED
    negotiable: Terms | None = FURTHEST


@dataclass(frozen=True)
class Peer:
    did: str
    jwk: dict[str, Any] | None


class Node:
    """One participant: its database, key and Contracts."""

    def __init__(
        self,
        folder: Path,
        name: str,
        clock: ManualClock,
        decider: Decider | None = None,
        form: Any = None,
        db: Database | None = None,
        formats: tuple[str, ...] = (PULL,),
        jose_name: JoseName = own_name,
        signer_of: Callable[[str, str], Any] | None = None,
        open_max: OpenMax | None = None,
    ) -> None:
        self.did = f"did:web:{name}.example"
        self.url = f"https://{name}.example/dsp/2025-1"
        self.db = db or open_database(f"sqlite:///{folder / name}.db", clock)
        if db is None:
            create_all(self.db)
        self.keys = KeyStore(folder / name)
        self.key = self.keys.key("did")
        self.log = Log()
        self.products = {CODE: Product()}
        self.events: list[object] = []
        self.contracts = Contracts(
            db=self.db,
            evidence=self.log,
            key=self.key,
            did=self.did,
            form=form or JsonForm(),
            products=self.products.get,
            callback=self.url,
            data_endpoint=f"https://{name}.example/data/v1/query",
            decider=decider,
            formats=formats,
            jose_name=jose_name,
            signer_of=signer_of,
            open_max=open_max,
        )

    def rotate(self) -> None:
        """Another key signs from here on, tokens and documents."""
        self.keys.prepare("did", "Ed25519")
        self.keys.promote("did", "Ed25519")

    @property
    def peer(self) -> Peer:
        return Peer(self.did, self.key.public_jwk())

    def pending(self) -> list[Letter]:
        query = sa.select(outbox).where(outbox.c.state == "pending").order_by(outbox.c.created_at)
        rows = self.db.read(lambda tx: tx.all(query.order_by(outbox.c.conversation, outbox.c.seq)))
        return [
            Letter(
                r.message_id,
                r.kind,
                r.peer,
                r.address,
                r.conversation,
                r.seq,
                r.payload,
                r.attempts,
                r.created_at,
            )
            for r in rows
        ]

    def close(self) -> None:
        self.db.close()


Spoil = Callable[[Message], Message]


class Pair:
    """A provider and a consumer, and the wire between them."""

    def __init__(self, provider: Node, consumer: Node) -> None:
        self.provider, self.consumer = provider, consumer
        self.sent: list[Message] = []
        self.spoil: Spoil = lambda message: message

    def pump(self, steps: int = 100) -> None:
        """Deliver until nobody has anything to say."""
        for _ in range(steps):
            said = [n for n in (self.consumer, self.provider) if n.pending()]
            if not said:
                return
            self.step(said[0])
        raise AssertionError("they never stop talking")

    def step(self, sender: Node) -> None:
        """Deliver the first message that waits at `sender`."""
        other = self.provider if sender is self.consumer else self.consumer
        letter = sender.pending()[0]
        message = self.spoil(self.addressed(sender, letter))
        self.sent.append(message)
        try:
            told = other.contracts.receive(message, sender.peer)
        except YunheError as error:
            why = f"{error.code}: {error.sentence()}"
            sender.db.write(lambda tx: self._done(tx, letter, "failed"))
            desk = sender.contracts._desk
            sender.db.write(lambda tx: gave_up(desk, tx, letter, why))
            return
        reply = {"peer_pid": told.id}
        sender.db.write(lambda tx: self._done(tx, letter, "sent"))
        sender.db.write(lambda tx: delivered(tx, letter, reply))

    @staticmethod
    def _done(tx: Tx, letter: Letter, state: str) -> None:
        key = outbox.c.message_id == letter.message_id
        tx.execute(sa.update(outbox).where(key).values(state=state))

    @staticmethod
    def addressed(sender: Node, letter: Letter) -> Message:
        message = from_payload(letter.kind, letter.payload, letter.message_id)
        talk: Any
        if letter.kind.startswith("dsp.transfer."):
            talk = sender.contracts.transfer(letter.conversation)
        else:
            talk = sender.contracts.negotiation(letter.conversation)
        message = replace(message, provider_pid=talk.provider_pid, consumer_pid=talk.consumer_pid)
        if isinstance(message, TransferStart):
            address = sender.contracts.addressed(talk.id).data_address
            message = replace(message, data_address=address)
        return message

    def request(self, terms: Terms, strategy: Any = None) -> Negotiation:
        return self.consumer.contracts.request(
            self.provider.did, self.provider.url, CODE, "offer-1", terms, strategy
        )

    def agree(self) -> tuple[Negotiation, str]:
        """A contract in force on both sides, the quick way."""
        n = self.request(LISTED)
        self.pump()
        n = self.consumer.contracts.negotiation(n.id)
        assert n.contract_id, n
        return n, n.contract_id


def days(count: float) -> timedelta:
    return timedelta(days=count)
