"""The receiver's signed word: what was read, what was destroyed. Evidenced, sent, acknowledged.

In: facts of a read or a destruction, inside its verb. Out: a `Note` under a detached JWS in the
log and in the outbox, all in that verb's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from yunhe.contracts import Push, Transfer
from yunhe.kernel.canonical import dumps
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.outbox import Message, enqueue
from yunhe.vault import store
from yunhe.vault.store import READ, Note

REPORT = "ReportVault"


class Recorder(Protocol):
    """The part of the evidence log asked here."""

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Keys:
    """How this node signs and whom it believes: `sign(payload, for whom)`,
    `jwk_of(did, jws)`: the key by which it signed."""

    did: str
    sign: Callable[[bytes, str], str]
    jwk_of: Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Item:
    """A sealed delivery as this node holds it. `state`: awaited, sealed, destroyed."""

    transfer: Transfer
    push: Push
    state: str
    reads: int
    destroyed: Note | None


def made(body: dict[str, Any], role: str, jws: str, entry_id: str, at: datetime) -> Note:
    """A note as it is kept."""
    known = (body["id"], role, body["kind"], body["contract_id"], body["use_id"])
    return Note(*known, body, jws, entry_id, at)


class Notebook:
    """Writes this node's notes as a receiver."""

    def __init__(self, evidence: Recorder, keys: Keys) -> None:
        self._evidence, self._keys = evidence, keys

    def write(self, tx: Tx, note_id: str, kind: str, item: Item, said: dict[str, Any]) -> Note:
        """Sign, keep, evidence and send one note."""
        provider, contract_id = item.transfer.peer_did, item.transfer.contract_id
        body = {
            "id": note_id,
            "kind": kind,
            "contract_id": contract_id,
            "use_id": item.push.use,
            "receiver": self._keys.did,
            "provider": provider,
            "at": iso(tx.now),
            **said,
        }
        jws = self._keys.sign(dumps(body), provider)
        entry = self._evidence.record(tx, f"vault.{kind}", {"note": body, "jws": jws})
        note = made(body, "receiver", jws, entry.entry_id, tx.now)
        if store.add(tx, note):
            # A read goes before its receipt, in one conversation: the provider books it first.
            talk = "bill" if kind == READ else "vault"
            payload = {"note": body, "jws": jws}
            enqueue(tx, f"tds.{REPORT}", provider, f"{talk}:{contract_id}", payload)
        return note

    @staticmethod
    def acknowledged(tx: Tx, message: Message, reply: dict[str, Any] | None) -> None:
        """The provider has taken a note, and verified it before it said so."""
        note = message.payload.get("note")
        if reply and reply.get("received") is True and isinstance(note, dict):
            store.acknowledge(tx, str(note["id"]))
