"""The provider's side: seals what is pushed, books what is read, and asks for the proofs.

In: pushes for a receiver's key; the receivers' signed notes; a contract's end. Out: sealed
streams; the use behind each read, metered and charged; for every sealed delivery of a contract
that ended a proof that its key is gone, verified as it comes, or evidence that it is overdue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from yunhe.contracts import Contract, ContractEnded, Contracts, Push, Side
from yunhe.control import Control, Made, book
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Invalid
from yunhe.kernel.keys import verify_jws_detached
from yunhe.kernel.outbox import enqueue
from yunhe.vault import seal, store
from yunhe.vault.notebook import Keys, Recorder, made
from yunhe.vault.store import AWAITED, DESTROYED, READ, Due, Note

log = logging.getLogger(__name__)

END = "EndVault"
_KINDS: Final = (READ, DESTROYED)
_TEXTS: Final = ("id", "kind", "contract_id", "use_id", "receiver", "provider", "at")
_COUNT_MAX: Final = 1 << 53


class Provider:
    """The sealed deliveries of one node as their provider; thread-safe."""

    def __init__(
        self,
        db: Database,
        evidence: Recorder,
        contracts: Contracts,
        control: Control,
        keys: Keys,
    ) -> None:
        self._db, self._evidence = db, evidence
        self._contracts, self._control, self._keys = contracts, control, keys
        db.events.on(ContractEnded, self._ended)

    def sealing(
        self, contract: Contract, push: Push, counted: seal.Counted
    ) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
        """How the result of a push is sealed for its receiver; raises SealKeyInvalid."""
        seal.check_key(push.seal)
        facts = seal.Facts(contract.id, push.use, self._keys.did, contract.peer_did, push.seal)
        sign = self._keys.sign
        return lambda chunks: seal.seal(
            chunks, facts, counted, lambda text: sign(text, contract.peer_did)
        )

    # -- proofs ---------------------------------------------------------------------------------

    def _ended(self, tx: Tx, event: ContractEnded) -> None:
        """Tell the receiver, and write down what it owes: one proof a sealed delivery."""
        contract = event.contract
        if contract.role is not Side.PROVIDER:
            return
        pushes = self._contracts.pushes.sealed_under(tx, contract.id)
        for push in pushes:
            until = tx.now + timedelta(seconds=limits.VAULT_PROOF_S)
            store.add_due(
                tx, Due(push.use, contract.id, contract.peer_did, push.seal, AWAITED, until)
            )
        if not pushes:
            return
        for note in store.of_contract(tx, contract.id):
            if note.kind == DESTROYED and note.role == "provider":
                store.prove(tx, contract.id, str(note.body.get("key")), note.id)
        # A contract's end travels with its open transfers, and a delivery that came has none.
        said = {"contract_id": contract.id, "code": contract.end.code if contract.end else ""}
        enqueue(tx, f"tds.{END}", contract.peer_did, f"vault:{contract.id}", said)

    def sweep(self) -> int:
        """Evidence for every proof that is overdue; how many. For the timer."""

        def verb(tx: Tx) -> int:
            late = store.overdue(tx)
            for each in late:
                store.is_overdue(tx, each.use_id)
                said = {"contract_id": each.contract_id, "use_id": each.use_id, "key": each.key}
                body = {**said, "receiver": each.receiver, "due_at": iso(each.due_at)}
                self._evidence.record(tx, "vault.proof_overdue", body)
                log.warning("no proof that the key of %s was destroyed", each.use_id)
            return len(late)

        return self._db.write(verb) if self._db.read(store.overdue) else 0

    def proofs(self, contract_id: str) -> list[tuple[Due, Note | None, bool]]:
        """What is owed under an ended contract, the proof of each, and whether it verifies now."""

        def read(tx: Tx) -> list[tuple[Due, Note | None]]:
            owed = store.dues(tx, contract_id)
            return [(each, store.find(tx, each.note_id, "provider")) for each in owed]

        found = self._db.read(read)
        return [(each, note, note is not None and self._verified(note)) for each, note in found]

    def _verified(self, note: Note) -> bool:
        jwk = dict(self._keys.jwk_of(str(note.body["receiver"]), note.jws))
        verify_jws_detached(jwk, note.jws, dumps(note.body))
        return True

    # -- notes ----------------------------------------------------------------------------------

    def reported(self, peer_did: str, body: dict[str, Any]) -> dict[str, Any]:
        """A receiver's signed note: kept, evidenced, a read booked; the same again: no effect.

        Raises Invalid, BadSignature, and ContractUnknown for a contract that is not that peer's.
        """
        note, jws = body.get("note"), body.get("jws")
        if not isinstance(note, dict) or not isinstance(jws, str) or not _sound(note):
            raise Invalid(why="the vault's note is malformed")
        if (note["receiver"], note["provider"]) != (peer_did, self._keys.did):
            raise Invalid(why="the vault's note is not between us")
        contract = self._contracts.contract(note["contract_id"])
        if contract.peer_did != peer_did or contract.role is not Side.PROVIDER:
            raise Invalid(why="the vault's note is of another contract")
        sealed = self._db.read(lambda tx: self._contracts.pushes.sealed_under(tx, contract.id))
        if note["kind"] == DESTROYED and note.get("key") not in {push.seal for push in sealed}:
            raise Invalid(why="the vault's note proves nothing of a key we sealed for")
        verify_jws_detached(dict(self._keys.jwk_of(peer_did, jws)), jws, dumps(note))

        def verb(tx: Tx) -> None:
            if store.find(tx, note["id"], "provider") is not None:
                return
            kind = f"vault.{note['kind']}_reported"
            entry = self._evidence.record(tx, kind, {"note": note, "jws": jws})
            store.add(tx, made(note, "provider", jws, entry.entry_id, tx.now))
            if note["kind"] == DESTROYED:
                store.prove(tx, contract.id, str(note["key"]), note["id"])
            elif "read_id" in note:
                self._book(tx, contract, note, entry.entry_id)

        self._db.write(verb)
        return {"id": note["id"], "received": True}

    def _book(self, tx: Tx, contract: Contract, note: dict[str, Any], entry_id: str) -> None:
        told = (note["principal"], note["purpose"], note["rows"], note["bytes"])
        book(
            self._control,
            tx,
            Made(note["read_id"], contract.id, contract.peer_did, *told, entry_id, tx.now),
        )


def _sound(note: dict[str, Any]) -> bool:
    """Whether a note has what every note has, and what its kind needs."""
    if not all(isinstance(note.get(name), str) for name in _TEXTS):
        return False
    if len(note["id"]) > 160 or len(note["use_id"]) > 128 or note["kind"] not in _KINDS:
        return False
    if note["kind"] != READ or "read_id" not in note:  # of a node before reads were billed
        return True
    counts = all(type(note.get(n)) is int and 0 <= note[n] < _COUNT_MAX for n in ("rows", "bytes"))
    texts = all(isinstance(note.get(n), str) for n in ("read_id", "principal", "purpose"))
    if not (counts and texts) or note["rows"] > limits.RESULT_ROWS_MAX:
        return False
    if not note["read_id"].startswith("vault-") or note["read_id"] != note["id"]:
        return False
    sizes = ((note["read_id"], 128), (note["principal"], 255), (note["purpose"], 1024))
    return all(len(text) <= most for text, most in sizes)
