"""The vault: what came sealed stays sealed, is read as the contract says, and can be destroyed.

In: a wish for a sealed delivery; reads with a purpose; the contract's end. Out: a push that is
encrypted for a key of this delivery alone; its bytes, once the read is durable; a signed proof
that the key is gone. At the provider: the receivers' signed reports. The key lies in a file of
its own, outside the database and its copies, so that removing it removes the only one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from yunhe.contracts import (
    Contract,
    ContractEnded,
    Contracts,
    Push,
    PushState,
    Side,
    Terms,
    Transfer,
    Wish,
)
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.kernel.errors import Invalid, YunheError
from yunhe.kernel.keys import verify_jws_detached
from yunhe.kernel.outbox import enqueue
from yunhe.vault import seal, store
from yunhe.vault.errors import (
    VaultBroken,
    VaultDestroyed,
    VaultItemUnknown,
    VaultPurposeRefused,
    VaultTermUnknown,
    VaultUsesExhausted,
)
from yunhe.vault.store import DESTROYED, READ, Note

REPORT = "ReportVault"
END = "EndVault"


class Recorder(Protocol):
    """The part of the evidence log asked here."""

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Keys:
    """How this node signs and whom it believes: `sign(payload, for whom)`, `jwk_of(did)`."""

    did: str
    sign: Callable[[bytes, str], str]
    jwk_of: Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True)
class Item:
    """A sealed delivery as this node holds it. `state`: awaited, sealed, destroyed."""

    transfer: Transfer
    push: Push
    state: str
    reads: int
    destroyed: Note | None


@dataclass(frozen=True)
class Opened:
    """One read that is durable: its id, the delivery's rows, the plain Arrow stream."""

    read_id: str
    rows: int
    chunks: Iterator[bytes]


class Vault:
    """The vault of one node; thread-safe."""

    def __init__(
        self,
        db: Database,
        evidence: Recorder,
        contracts: Contracts,
        keys: Keys,
        used: Callable[[str], int],
        folder: Path,
    ) -> None:
        """`used(contract id)`: the uses of a contract that this node has signed for; private keys
        lie in `folder`, what came in the inbox."""
        self._db, self._evidence, self._contracts = db, evidence, contracts
        self._keys, self._used = keys, used
        self._folder = folder
        self._file: Callable[[str], Path] = _nowhere
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._examined: dict[str, seal.Manifest] = {}
        db.events.on(ContractEnded, self._tell_end)
        self._turn = threading.Lock()  # a count and the read it allows are one step

    # -- the receiver ---------------------------------------------------------------------------

    def wish(self, contract_id: str, wish: Wish) -> Wish:
        """`wish` with a fresh key of ours, which is on the disk when this returns.

        Raises why the contract does not bind, and VaultTermUnknown: fail closed.
        """
        _check_terms(self._contracts.in_force(contract_id).terms)
        private, public = seal.new_key()
        path = self._key(public)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(private)
            settle_file(file)
        settle_folder(self._folder)
        return replace(wish, seal=public)

    def forget(self, wish: Wish) -> None:
        """It was not asked for after all: nothing will ever be sealed for its key."""
        _shred(self._key(wish.seal))

    def items(self) -> list[Item]:
        """The sealed deliveries of this node as receiver, the latest first."""
        return [self._item(t, push) for t, push in self._contracts.pushes.sealed()]

    def item(self, transfer_id: str) -> Item:
        """One of them; raises VaultItemUnknown."""
        push = self._contracts.pushes.find(transfer_id)
        if push is None or push.role is not Side.CONSUMER or not push.seal:
            raise VaultItemUnknown
        return self._item(self._contracts.transfer(transfer_id), push)

    def _item(self, t: Transfer, push: Push) -> Item:
        def read(tx: Tx) -> tuple[Note | None, int]:
            gone = store.find(tx, _gone_id(t), "receiver")
            mine = [n for n in store.of_contract(tx, t.contract_id) if n.use_id == push.use]
            return gone, sum(n.kind == READ and n.role == "receiver" for n in mine)

        gone, count = self._db.read(read)
        state = "sealed" if push.state is PushState.DONE else "awaited"
        return Item(t, push, "destroyed" if gone else state, count, gone)

    def read(self, transfer_id: str, purpose: str, who: str, application: str) -> Opened:
        """Open a delivery once more: counted, evidenced and reported before the first byte.

        Raises VaultItemUnknown, VaultDestroyed, VaultBroken, VaultPurposeRefused,
        VaultUsesExhausted, and why the contract does not bind.
        """
        item = self.item(transfer_id)
        _standing(item)
        contract = self._contracts.in_force(item.transfer.contract_id)
        terms = contract.terms
        _check_terms(terms)
        purpose = purpose or (terms.purposes[0] if len(terms.purposes) == 1 else "")
        if purpose not in terms.purposes:
            raise VaultPurposeRefused(purpose=purpose or "–", purposes=", ".join(terms.purposes))
        file = self._file(transfer_id)
        manifest = self._manifest(item, file)
        chunks = seal.unseal(file, manifest, self._private(item))
        with self._turn:
            spent = self._used(contract.id)
            note = self._db.write(
                lambda tx: self._count(tx, item, contract, spent, purpose, who, application)
            )
        return Opened(note.id, manifest.rows, self._while_it_binds(item, chunks))

    def _count(
        self,
        tx: Tx,
        item: Item,
        contract: Contract,
        spent: int,
        purpose: str,
        who: str,
        application: str,
    ) -> Note:
        most = contract.terms.uses_max
        if most is not None and spent + store.reads(tx, contract.id) >= most:
            raise VaultUsesExhausted(uses_max=most)
        said = {"purpose": purpose, "principal": who[:128], "application": application[:128]}
        return self._note(tx, f"vault-read-{tx.new_id()}", READ, item, said)

    def _while_it_binds(self, item: Item, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._contracts.in_force(item.transfer.contract_id)
            yield chunk

    def _manifest(self, item: Item, file: Path) -> seal.Manifest:
        """The manifest of what came, examined once a process; raises VaultBroken."""
        found = self._examined.get(item.transfer.id)
        if found is not None:
            return found

        def verify(provider: str, payload: bytes, jws: str) -> None:
            verify_jws_detached(dict(self._keys.jwk_of(provider)), jws, payload)

        made = seal.examine(file, verify)
        told = (made.facts.contract_id, made.facts.use_id, made.facts.receiver, made.facts.key)
        ours = (item.transfer.contract_id, item.push.use, self._keys.did, item.push.seal)
        if told != ours or made.facts.provider != item.transfer.peer_did:
            raise VaultBroken(why="it is for another use", why_zh="属于另一次使用")
        self._examined[item.transfer.id] = made
        return made

    def _private(self, item: Item) -> bytes:
        try:
            return self._key(item.push.seal).read_bytes()
        except OSError as error:
            raise VaultItemUnknown(str(error)) from error

    def destroy(self, transfer_id: str, why: str) -> Item:
        """Destroy the key, prove that it is gone, remove the file; again: no effect.

        The proof is evidence here, and goes to the provider. Raises VaultItemUnknown.
        """
        item = self.item(transfer_id)
        if item.destroyed is not None:
            return item
        path = self._key(item.push.seal)
        _shred(path)
        if path.exists():
            raise OSError("the key is still there")
        self._examined.pop(transfer_id, None)
        said = {"why": why[: limits.REASON_CHARS_MAX], "key": item.push.seal}
        self._db.write(lambda tx: self._note(tx, _gone_id(item.transfer), DESTROYED, item, said))
        with contextlib.suppress(YunheError):  # it may not have come yet
            self._file(transfer_id).unlink(missing_ok=True)
        return self.item(transfer_id)

    def keep_in(self, file: Callable[[str], Path]) -> None:
        """`file(transfer id)`: where the inbox has what came; raises where there is none."""
        self._file = file

    def sweep(self) -> None:
        """Destroy what belongs to contracts that do not bind any more; for the timer."""
        for item in self.items():
            if item.destroyed is not None:
                continue
            try:
                self._contracts.in_force(item.transfer.contract_id)
            except YunheError as ended:
                self.destroy(item.transfer.id, ended.code)

    def _note(self, tx: Tx, note_id: str, kind: str, item: Item, said: dict[str, Any]) -> Note:
        provider = item.transfer.peer_did
        body = {
            "id": note_id,
            "kind": kind,
            "contract_id": item.transfer.contract_id,
            "use_id": item.push.use,
            "receiver": self._keys.did,
            "provider": provider,
            "at": iso(tx.now),
            **said,
        }
        jws = self._keys.sign(dumps(body), provider)
        entry = self._evidence.record(tx, f"vault.{kind}", {"note": body, "jws": jws})
        made = _made(body, "receiver", jws, entry.entry_id, tx.now)
        if store.add(tx, made):
            payload = {"note": body, "jws": jws}
            enqueue(tx, f"tds.{REPORT}", provider, f"vault:{made.contract_id}", payload)
        return made

    def _key(self, public: str) -> Path:
        return self._folder / f"{hashlib.sha256(public.encode()).hexdigest()[:32]}.key"

    # -- the provider ---------------------------------------------------------------------------

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

    def _tell_end(self, tx: Tx, event: ContractEnded) -> None:
        # A contract's end travels with its open transfers, and a delivery that came has none.
        contract = event.contract
        if contract.role is Side.PROVIDER and self._contracts.pushes.seals(tx, contract.id):
            said = {"contract_id": contract.id, "code": contract.end.code if contract.end else ""}
            enqueue(tx, f"tds.{END}", contract.peer_did, f"vault:{contract.id}", said)

    def told_ended(self, peer_did: str, body: dict[str, Any]) -> dict[str, Any]:
        """The receiver's side: the provider ended a contract, so its keys are destroyed.

        Raises Invalid for a contract that is not with that provider.
        """
        contract_id, code = body.get("contract_id"), body.get("code")
        if not isinstance(contract_id, str) or not isinstance(code, str):
            raise Invalid(why="the vault's message is malformed")
        contract = self._contracts.contract(contract_id)
        if contract.peer_did != peer_did or contract.role is not Side.CONSUMER:
            raise Invalid(why="the vault's message is of another contract")
        mine = [each for each in self.items() if each.transfer.contract_id == contract_id]
        for each in mine:
            self.destroy(each.transfer.id, code or "CONTRACT_TERMINATED")
        return {"contract_id": contract_id, "destroyed": len(mine)}

    def reported(self, peer_did: str, body: dict[str, Any]) -> dict[str, Any]:
        """A receiver's signed note: kept and evidenced; the same one again: no effect.

        Raises Invalid, BadSignature, and ContractUnknown for a contract that is not that peer's.
        """
        note, jws = body.get("note"), body.get("jws")
        texts = ("id", "kind", "contract_id", "use_id", "receiver", "provider", "at")
        if not isinstance(note, dict) or not isinstance(jws, str):
            raise Invalid(why="the vault's note is malformed")
        if not all(isinstance(note.get(name), str) for name in texts):
            raise Invalid(why="the vault's note is malformed")
        if len(note["id"]) > 160 or len(note["use_id"]) > 128 or note["kind"] not in _KINDS:
            raise Invalid(why="the vault's note is malformed")
        if (note["receiver"], note["provider"]) != (peer_did, self._keys.did):
            raise Invalid(why="the vault's note is not between us")
        contract = self._contracts.contract(note["contract_id"])
        if contract.peer_did != peer_did or contract.role is not Side.PROVIDER:
            raise Invalid(why="the vault's note is of another contract")
        verify_jws_detached(dict(self._keys.jwk_of(peer_did)), jws, dumps(note))

        def verb(tx: Tx) -> None:
            if store.find(tx, note["id"], "provider") is None:
                kind = f"vault.{note['kind']}_reported"
                entry = self._evidence.record(tx, kind, {"note": note, "jws": jws})
                store.add(tx, _made(note, "provider", jws, entry.entry_id, tx.now))

        self._db.write(verb)
        return {"id": note["id"], "received": True}

    def notes(self, contract_id: str) -> list[Note]:
        """What was read and destroyed under a contract: our own, or as its receiver reports."""
        return self._db.read(lambda tx: store.of_contract(tx, contract_id))


_KINDS = (READ, DESTROYED)


def _nowhere(_transfer_id: str) -> Path:
    raise VaultItemUnknown


def _check_terms(terms: Terms) -> None:
    for name in ("frequency", "pause"):
        if getattr(terms, name) is not None:
            raise VaultTermUnknown(term=name)


def _standing(item: Item) -> None:
    if item.destroyed is not None:
        said = item.destroyed
        raise VaultDestroyed(at=iso(said.at), why=str(said.body.get("why", "")))
    if item.state != "sealed":
        raise VaultItemUnknown


def _gone_id(t: Transfer) -> str:
    return f"vault-destroyed-{t.id}"[:160]


def _made(body: dict[str, Any], role: str, jws: str, entry_id: str, at: datetime) -> Note:
    known = (body["id"], role, body["kind"], body["contract_id"], body["use_id"])
    return Note(*known, body, jws, entry_id, at)


def _shred(path: Path) -> None:
    """Overwrite, then remove; what is not there is gone already."""
    with contextlib.suppress(FileNotFoundError):
        with path.open("r+b") as file:
            file.write(os.urandom(32))
            settle_file(file)
        path.unlink()
    settle_folder(path.parent)
