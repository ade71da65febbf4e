"""The vault: what came sealed stays sealed, is read as the contract says, and can be destroyed.

In: a wish for a sealed delivery; reads with a purpose; the contract's end. Out: a push that is
encrypted for a key of this delivery alone; its bytes, once the read is durable; a signed proof
that the key is gone. At the provider: the receivers' signed reports. The key lies in a file of
its own, outside the database and its copies, so that removing it removes the only one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from yunhe.contracts import (
    Contract,
    ContractExpired,
    Contracts,
    ContractTerminated,
    Push,
    PushState,
    Side,
    Transfer,
    Wish,
)
from yunhe.control import check_hours
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.kernel.errors import Invalid, YunheError
from yunhe.kernel.keys import verify_jws_detached
from yunhe.kernel.outbox import Outbox
from yunhe.vault import seal, store
from yunhe.vault.errors import VaultBroken, VaultDestroyed, VaultItemUnknown
from yunhe.vault.notebook import REPORT, Item, Keys, Notebook
from yunhe.vault.provider import Provider
from yunhe.vault.reading import Ask, Figures, Readings
from yunhe.vault.store import DESTROYED, READ, Note


@dataclass(frozen=True)
class Opened:
    """One read that is durable: its id, the delivery's rows, the plain Arrow stream."""

    read_id: str
    rows: int
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Opening:
    """A sealed delivery that can be opened: its plain stream, shard by shard, and its figures."""

    item: Item
    contract: Contract
    figures: Figures
    chunks: Iterator[bytes]


class Vault:
    """The vault of one node; thread-safe."""

    def __init__(
        self,
        db: Database,
        contracts: Contracts,
        keys: Keys,
        notebook: Notebook,
        readings: Readings,
        provider: Provider,
        folder: Path,
    ) -> None:
        """Private keys lie in `folder`, what came in the inbox."""
        self._db, self._contracts, self._keys = db, contracts, keys
        self._notebook, self.readings, self.provider = notebook, readings, provider
        self._folder = folder
        self._file: Callable[[str], Path] = _nowhere
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._examined: dict[str, seal.Manifest] = {}

    def install(self, box: Outbox) -> None:
        """Hear which notes the provider has taken."""
        box.on_delivered(f"tds.{REPORT}", self._notebook.acknowledged)

    def keep_in(self, file: Callable[[str], Path]) -> None:
        """`file(transfer id)`: where the inbox has what came; raises where there is none."""
        self._file = file

    def wish(self, contract_id: str, wish: Wish) -> Wish:
        """`wish` with a fresh key of ours, which is on the disk when this returns.

        Raises why the contract does not bind.
        """
        self._contracts.in_force(contract_id)
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

    # -- reading --------------------------------------------------------------------------------

    def read(self, transfer_id: str, ask: Ask) -> Opened:
        """Open a delivery once more: admitted, counted, evidenced and billed before its first byte.

        Raises VaultItemUnknown, VaultDestroyed, VaultBroken, and what the data door raises: why
        the contract does not bind, or which of its terms refuses the use.
        """
        opening = self.open(transfer_id)
        item, figures = opening.item, opening.figures
        grant = self.readings.admit(item, ask, figures.rows, figures.bytes)
        try:
            first = next(opening.chunks)  # it opens, or nothing is charged
        except BaseException as error:
            self.readings.give_back(grant, error)
            raise
        note = self.readings.spend(grant, item, ask, figures)
        return Opened(note.id, figures.rows, chain([first], opening.chunks))

    def open(self, transfer_id: str) -> Opening:
        """A delivery as it can be opened under a contract that binds; nothing is decrypted yet.

        Whoever takes its chunks first holds a Grant of `readings`. Raises as `read`.
        """
        item = self.item(transfer_id)
        _standing(item)
        contract = self._contracts.in_force(item.transfer.contract_id)
        file = self._file(transfer_id)
        manifest = self._manifest(item, file)
        chunks = seal.unseal(file, manifest, self._private(item))
        figures = Figures(manifest.rows, manifest.plain_bytes, manifest.sha256)
        return Opening(item, contract, figures, self._while_it_binds(item, chunks))

    def watch(self, opening: Opening) -> Callable[[], None]:
        """What raises as soon as data may not flow under the contract of a delivery any more."""

        return functools.partial(self._stands, opening.contract.id)

    def _stands(self, contract_id: str) -> None:
        contract = self._contracts.in_force(contract_id)
        check_hours(contract.terms, self._db.clock.now())

    def _while_it_binds(self, item: Item, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._stands(item.transfer.contract_id)
            yield chunk

    def _manifest(self, item: Item, file: Path) -> seal.Manifest:
        """The manifest of what came, examined once a process; raises VaultBroken."""
        found = self._examined.get(item.transfer.id)
        if found is not None:
            return found

        def verify(provider: str, payload: bytes, jws: str) -> None:
            verify_jws_detached(dict(self._keys.jwk_of(provider, jws)), jws, payload)

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

    # -- the end --------------------------------------------------------------------------------

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
        gone = _gone_id(item.transfer)
        self._db.write(lambda tx: self._notebook.write(tx, gone, DESTROYED, item, said))
        with contextlib.suppress(YunheError):  # it may not have come yet
            self._file(transfer_id).unlink(missing_ok=True)
        return self.item(transfer_id)

    def sweep(self) -> None:
        """Destroy what belongs to contracts that do not bind any more, and look after the proofs
        that are owed to us; for the timer."""
        self.provider.sweep()
        for item in self.items():
            if item.destroyed is not None:
                continue
            try:
                self._contracts.in_force(item.transfer.contract_id)
            except (ContractTerminated, ContractExpired) as ended:  # nothing else says it is over
                self.destroy(item.transfer.id, ended.code)

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

    def notes(self, contract_id: str) -> list[Note]:
        """What was read and destroyed under a contract: our own, or as its receiver reports."""
        return self._db.read(lambda tx: store.of_contract(tx, contract_id))

    def _key(self, public: str) -> Path:
        return self._folder / f"{hashlib.sha256(public.encode()).hexdigest()[:32]}.key"


def _nowhere(_transfer_id: str) -> Path:
    raise VaultItemUnknown


def _standing(item: Item) -> None:
    if item.destroyed is not None:
        said = item.destroyed
        raise VaultDestroyed(at=iso(said.at), why=str(said.body.get("why", "")))
    if item.state != "sealed":
        raise VaultItemUnknown


def _gone_id(t: Transfer) -> str:
    return f"vault-destroyed-{t.id}"[:160]


def _shred(path: Path) -> None:
    """Overwrite, then remove; what is not there is gone already."""
    with contextlib.suppress(FileNotFoundError):
        with path.open("r+b") as file:
            file.write(os.urandom(32))
            settle_file(file)
        path.unlink()
    settle_folder(path.parent)
