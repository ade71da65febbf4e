"""The face of metering and settlement: one service a node, both roles.

In: ContractInForce, UsePosted, UseCorrected inside their verbs; the relay's counts; messages of
the other party. Out: meters, receipts, statements, ledger transfers, running bills.
The life of a fen: `_meter` -> `record_receipt` -> `issue_statement` -> `reconcile` ->
`receive_answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from yunhe.contracts import ContractInForce, TermNotUnderstood
from yunhe.control import Consumed, Control, UseCorrected, UsePosted
from yunhe.evidence import EvidenceLog
from yunhe.exchange import doubts, issue, parts, receipts, reconcile, store
from yunhe.exchange.errors import BillUnknown, StatementUnknown
from yunhe.exchange.model import (
    SETTLED,
    Bill,
    Desk,
    Difference,
    JwkOf,
    Meter,
    RunningBill,
    SignedReceipt,
    Statement,
)
from yunhe.kernel import limits
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.keys import JoseName, SigningKey, own_name
from yunhe.kernel.money import charge
from yunhe.kernel.outbox import Outbox
from yunhe.ledger import Ledger


class Exchange:
    """Meters at the provider, receipts at the consumer, statements at both."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        control: Control,
        ledger: Ledger,
        own_did: str,
        key: SigningKey,
        jwk_of: JwkOf,
        jose_name: JoseName = own_name,
    ) -> None:
        self._desk = Desk(db, evidence, control, ledger, own_did, key, jwk_of, jose_name)
        db.events.on(ContractInForce, self._open)
        db.events.on(UsePosted, self._meter)
        db.events.on(UseCorrected, self._meter_again)

    # -- inside other slices' verbs ---------------------------------------------------------

    def _open(self, tx: Tx, event: ContractInForce) -> None:
        contract = event.contract
        try:
            price = contract.terms.price
        except TermNotUnderstood:
            return  # no use of it is ever admitted, so there is nothing to settle
        own, peer = self._desk.own_did, contract.peer_did
        provides = contract.role == "provider"
        store.add_bill(
            tx,
            {
                "contract_id": contract.id,
                "role": str(contract.role),
                "provider_did": own if provides else peer,
                "consumer_did": peer if provides else own,
                "product_code": contract.product_code,
                "per_use_fen": price.per_use,
                "per_row_fen": price.per_row,
                "rows_max": contract.terms.rows_max,
                "opened_at": event.at,
            },
        )

    def _meter(self, tx: Tx, event: UsePosted) -> None:
        self._add_meter(tx, event, 0)

    def _meter_again(self, tx: Tx, event: UseCorrected) -> None:
        before = store.find_meter(tx, event.use_id)
        self._add_meter(tx, event, 1 if before is None else before.n + 1)

    def _add_meter(self, tx: Tx, event: UsePosted | UseCorrected, n: int) -> None:
        store.add_meter(
            tx,
            {
                "use_id": event.use_id,
                "n": n,
                "contract_id": event.contract_id,
                "peer_did": event.peer_did,
                "purpose": event.purpose,
                "rows": event.rows,
                "bytes": event.bytes,
                "fee_fen": event.fee_fen,
                "entry_id": event.entry_id,
                "leaf": event.leaf,
                "at": event.at,
            },
        )

    # -- receipts ---------------------------------------------------------------------------

    def record_receipt(self, tx: Tx, consumed: Consumed, watermark: str = "") -> SignedReceipt:
        """The consumer's connector signs what one use delivered, and sends it to the provider.

        `watermark`: the term by which what came is marked for us, so that the receipt says so.
        Idempotent; another content for the same use raises ReceiptDiffers. Raises BillUnknown for
        a contract we do not consume.
        """
        extra = {"watermark": watermark} if watermark else None
        return receipts.record(self._desk, tx, consumed, extra)

    def receive_receipt(self, peer_did: str, body: Any, jws: Any) -> dict[str, Any]:
        """`SendReceipt` at the provider; raises DocumentInvalid, NotAParty, BadSignature."""
        return receipts.receive(self._desk, peer_did, body, jws)

    def receipt(self, use_id: str) -> SignedReceipt | None:
        """The receipt of one use, or None."""
        return self._desk.db.read(lambda tx: store.find_receipt(tx, use_id))

    # -- uses whose outcome is open ---------------------------------------------------------

    def install(self, box: Outbox) -> None:
        """Listen to what the provider says of uses in doubt."""
        box.on_delivered(
            doubts.KIND, lambda tx, said, reply: doubts.resolved(self._desk, tx, said, reply)
        )

    def begin_use(self, use_id: str, contract_id: str, purpose: str) -> None:
        """The consumer will ask for this use: durable before it does; see `doubts.begin`."""
        self._desk.db.write(lambda tx: doubts.begin(tx, use_id, contract_id, purpose))

    def forget_use(self, use_id: str) -> None:
        """The provider refused the use, or was never asked: there is nothing to sign."""
        self._desk.db.write(lambda tx: store.forget_asked(tx, use_id))

    def cut_use(self, use_id: str, rows: int, byte_count: int, digest: str) -> None:
        """The use ended without its end mark; the provider is asked what it was."""
        self._desk.db.write(lambda tx: doubts.cut(tx, use_id, rows, byte_count, digest))

    def sweep_uses(self, live: Callable[[], Collection[str]]) -> int:
        """Take up the uses a crash or a failed write left open; `live` are not touched."""
        return doubts.sweep(self._desk, live)

    def open_uses(self) -> list[str]:
        """The uses under way or in doubt at this node as their consumer."""
        return [row.use_id for row in self._desk.db.read(store.asked_open)]

    def use_outcome(self, peer_did: str, body: dict[str, Any]) -> dict[str, Any]:
        """`GetUseOutcome` at the provider; raises DocumentInvalid, NotAParty, UseUnderWay."""
        return doubts.outcome(self._desk, peer_did, body)

    # -- statements -------------------------------------------------------------------------

    def issue_statement(self, contract_id: str) -> Statement:
        """The provider draws up, signs and sends what is not billed yet; see `issue.issue`."""
        return issue.issue(self._desk, contract_id)

    def receive_statement(self, peer_did: str, statement: Any, jws: Any) -> dict[str, Any]:
        """`SendStatement` at the consumer: reconcile, and answer through the outbox."""
        found = self.reconcile(peer_did, statement, jws)
        return {"statement_id": found.statement_id, "outcome": found.state}

    def reconcile(self, peer_did: str, statement: Any, jws: Any) -> Statement:
        """Hold a statement against our own receipts; settled or disputed, with its differences."""
        return reconcile.reconcile(self._desk, peer_did, statement, jws)

    def recompute(self, statement_id: str) -> tuple[Difference, ...]:
        """Recompute a received statement now, from our own books; changes nothing."""
        return reconcile.recompute(self._desk, self.statement(statement_id).body)

    def receive_answer(self, peer_did: str, answer: Any) -> dict[str, Any]:
        """`AcknowledgeStatement` at the provider: post or void the pending transfer."""
        return issue.acknowledged(self._desk, peer_did, answer)

    def statement(self, statement_id: str) -> Statement:
        """One statement; raises StatementUnknown."""
        found = self._desk.db.read(lambda tx: store.find_statement(tx, statement_id))
        if found is None:
            raise StatementUnknown
        return found

    def statements(self, contract_id: str | None = None) -> list[Statement]:
        """The latest statements, newest first; of one contract or of all."""
        return self._desk.db.read(
            lambda tx: store.statements_of(tx, contract_id, limits.STATEMENTS_LISTED_MAX)
        )

    def count_open(self) -> dict[tuple[str, str], int]:
        """How many statements are issued or disputed, by our role and the state."""
        return self._desk.db.read(store.count_open)

    # -- looking ----------------------------------------------------------------------------

    def meters(self, contract_id: str) -> list[Meter]:
        """What each use measured, as last corrected; the provider's node."""
        return self._desk.db.read(lambda tx: store.meters_of(tx, contract_id))

    def receipts(self, contract_id: str) -> list[SignedReceipt]:
        """Own receipts at the consumer, received ones at the provider; oldest first."""
        return self._desk.db.read(lambda tx: store.receipts_of(tx, contract_id))

    def receipts_count(self, contract_id: str) -> int:
        """How many receipts of a contract there are."""
        return self._desk.db.read(lambda tx: store.receipts_count(tx, contract_id))

    def running_bill(self, contract_id: str) -> RunningBill:
        """Where the contract stands at this node; raises BillUnknown."""

        def read(tx: Tx) -> RunningBill:
            bill = store.find_bill(tx, contract_id)
            if bill is None:
                raise BillUnknown
            figures = _figures(tx, bill)
            listed = store.statements_of(tx, contract_id, limits.STATEMENTS_LISTED_MAX)
            settled = sum(each.total_fen for each in listed if each.state == SETTLED)
            rows, fees = sum(r for r, _ in figures), sum(fee for _, fee in figures)
            return RunningBill(contract_id, bill.role, len(figures), rows, fees, settled)

        return self._desk.db.read(read)

    def bundle_parts(
        self, contract_id: str, statement_id: str = ""
    ) -> dict[str, list[dict[str, Any]]]:
        """`uses` and `settlements` of the evidence bundle: see `parts`.

        Raises StatementUnknown, BundleTooLong.
        """
        return self._desk.db.read(lambda tx: parts.bundle_parts(tx, contract_id, statement_id))


def _figures(tx: Tx, bill: Bill) -> list[tuple[int, int]]:
    """(rows, fen) of each use: from meters at the provider, from receipts at the consumer."""
    if bill.role == "provider":
        return [(meter.rows, meter.fee_fen) for meter in store.meters_of(tx, bill.contract_id)]
    return [
        (
            receipt.body["rows"],
            charge(bill.per_use_fen, bill.per_row_fen, receipt.body["rows"]),
        )
        for receipt in store.receipts_of(tx, bill.contract_id)
    ]
