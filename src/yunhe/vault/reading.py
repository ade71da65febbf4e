"""A read of a sealed delivery is a use: judged, counted, evidenced, metered and billed as any.

In: what a user or an application of the receiver asks. Out: a Grant of this node's own control,
then in one transaction the released and posted use, the signed note for the provider and the
receipt; only after that may the first byte leave. The provider books the use by the note.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from yunhe.contracts import Contract, Contracts, Term
from yunhe.control import Consumed, Control, Given, Grant, Made, Use, hold, known, learn
from yunhe.kernel.clock import parse_iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Internal, Unavailable, YunheError
from yunhe.vault.notebook import Item, Keys, Notebook
from yunhe.vault.store import READ, Note


class Receipt(Protocol):
    """What this node has signed for."""

    @property
    def use_id(self) -> str: ...
    @property
    def body(self) -> dict[str, Any]: ...
    @property
    def entry_id(self) -> str: ...


class Books(Protocol):
    """The part of the exchange asked here."""

    def receipts(self, contract_id: str) -> Sequence[Receipt]:
        """What this node has signed for under a contract."""
        ...

    def receipts_count(self, contract_id: str) -> int:
        """How many these are."""
        ...

    def record_receipt(self, tx: Tx, consumed: Consumed, watermark: str = "") -> Any:
        """Sign for what one use delivered, and send it to the provider."""
        ...


@dataclass(frozen=True)
class Ask:
    """Who reads, and for what. `application`: proven by a token of this node; "": none."""

    purpose: str
    principal: str
    application: str = ""


@dataclass(frozen=True)
class Figures:
    """What a read gives: rows, bytes and SHA-256 (hex) of its Arrow stream."""

    rows: int
    bytes: int
    digest: str


class Readings:
    """The receiver's door; thread-safe."""

    def __init__(
        self,
        db: Database,
        contracts: Contracts,
        control: Control,
        books: Books,
        notebook: Notebook,
        keys: Keys,
        region: Callable[[], str],
    ) -> None:
        """`region()`: where this node is registered, as its membership credential says."""
        self._db, self._contracts, self._control = db, contracts, control
        self._books, self._notebook, self._keys = books, notebook, keys
        self._region = region

    def admit(
        self, item: Item, ask: Ask, rows_max: int, bytes_max: int, cut: bool = False
    ) -> Grant:
        """Reserve one use; `cut`: whoever runs it stops at the Grant's bounds.

        Raises what the data door would raise.
        """
        contract = self._contracts.in_force(item.transfer.contract_id)
        terms = contract.terms
        self._open(contract)
        only = terms.purposes[0] if len(terms.purposes) == 1 else ""
        environment: dict[str, Given] = {}
        if ask.application:
            environment[Term.APPLICATION] = frozenset({ask.application})
        if terms.regions and (region := self._region()):
            environment[Term.REGION] = region
        use = Use(
            use_id=f"vault-{uuid.uuid4()}",
            contract_id=contract.id,
            peer_did=self._keys.did,
            principal=ask.principal[:128],
            purpose=ask.purpose or only,
            # What was delivered is within these; a query names columns of the delivery.
            fields=frozenset(terms.columns),
            rows_max=rows_max,
            bytes_max=bytes_max,
            cut=cut,
            environment=environment,
        )
        return self._control.admit(use)

    def _open(self, contract: Contract) -> None:
        """The quota stands, and knows every use that the provider's door has given us."""

        def verb(tx: Tx) -> None:
            self._contracts.in_force(contract.id)  # again, inside: an end comes before or after
            hold(tx, contract, self._keys.did)
            if self._books.receipts_count(contract.id) <= known(tx, contract.id):
                return
            found = self._books.receipts(contract.id)
            learn(tx, (self._made(each, contract.id) for each in found))

        self._db.write(verb)

    def _made(self, receipt: Receipt, contract_id: str) -> Made:
        body = receipt.body
        return Made(
            receipt.use_id,
            contract_id,
            self._keys.did,
            "",
            body["purpose"],
            body["rows"],
            body["bytes"],
            receipt.entry_id,
            parse_iso(body["at"]),
        )

    def spend(self, grant: Grant, item: Item, ask: Ask, figures: Figures, sql: str = "") -> Note:
        """The use is made: released, posted, noted and signed for, or nothing of it.

        Raises why the contract does not bind any more.
        """
        said = {
            "read_id": grant.use_id,
            "purpose": grant.purpose,
            "principal": ask.principal[:128],
            "application": ask.application[:256],
            "sql": bool(sql),
            "rows": figures.rows,
            "bytes": figures.bytes,
        }

        def verb(tx: Tx) -> Note:
            self._control.release(grant)
            self._control.post(grant, figures.rows, figures.bytes)
            note = self._notebook.write(tx, grant.use_id, READ, item, said)
            told = (grant.use_id, grant.contract_id, grant.purpose)
            consumed = Consumed(*told, figures.rows, figures.bytes, figures.digest)
            self._books.record_receipt(tx, consumed, str(grant.terms.watermark or ""))
            return note

        try:
            return self._db.write(verb)
        except BaseException as error:
            self.give_back(grant, error)
            raise

    def give_back(self, grant: Grant, error: BaseException) -> None:
        """Nothing was given: the use is void."""
        why = error.code if isinstance(error, YunheError) else "FAULT"
        with contextlib.suppress(Unavailable, Internal):  # the first error is the one to tell
            self._control.void(grant, why)
