"""The verbs of the ledger: accounts, direct transfers, pending -> post | void, balances.

In: a verb's `Tx` and amounts in fen. Out: immutable rows. Every call is idempotent by its id:
the same content again is answered with the first row, another content is refused.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from yunhe.kernel import limits
from yunhe.kernel.db import Database, Tx
from yunhe.ledger import store
from yunhe.ledger.errors import (
    AccountUnknown,
    PendingResolved,
    TransferDiffers,
    TransferInvalid,
    TransferUnknown,
)
from yunhe.ledger.model import Account, Balance, Step, Transfer


class Ledger:
    """The books of one node."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def account(self, tx: Tx, owner: str, kind: str) -> Account:
        """The account of `owner` for `kind`, opened on first use."""
        account_id = f"{owner}#{kind}"
        if store.find_account(tx, account_id) is None:
            values = {"account_id": account_id, "owner": owner, "kind": kind, "opened_at": tx.now}
            store.add_account(tx, values)
        return Account(account_id, owner, kind)

    def transfer(
        self, tx: Tx, transfer_id: str, debit: str, credit: str, amount_fen: int, kind: str
    ) -> Transfer:
        """Move money at once; accounts by id. Raises TransferInvalid, TransferDiffers."""
        return self._add(tx, transfer_id, Step.DIRECT, debit, credit, amount_fen, kind, None)

    def pending(
        self, tx: Tx, transfer_id: str, debit: str, credit: str, amount_fen: int, kind: str
    ) -> Transfer:
        """Announce a movement, to be posted or voided once."""
        return self._add(tx, transfer_id, Step.PENDING, debit, credit, amount_fen, kind, None)

    def post(
        self, tx: Tx, transfer_id: str, pending_id: str, amount_fen: int | None = None
    ) -> Transfer:
        """Move what `pending_id` announced, or less; raises PendingResolved the second time."""
        return self._resolve(tx, transfer_id, pending_id, Step.POST, amount_fen)

    def void(self, tx: Tx, transfer_id: str, pending_id: str) -> Transfer:
        """Take a pending back; raises PendingResolved the second time."""
        return self._resolve(tx, transfer_id, pending_id, Step.VOID, None)

    def find(self, transfer_id: str) -> Transfer | None:
        """One transfer, or None."""
        row = self._db.read(lambda tx: store.find_transfer(tx, transfer_id))
        return None if row is None else _transfer(row)

    def resolution(self, pending_id: str) -> Transfer | None:
        """What became of a pending: its post or void, or None while it is open."""
        row = self._db.read(lambda tx: store.find_resolution(tx, pending_id))
        return None if row is None else _transfer(row)

    def transfers(self, account_id: str) -> list[Transfer]:
        """The latest rows of an account, newest first."""
        rows = self._db.read(
            lambda tx: store.transfers_of(tx, account_id, limits.TRANSFERS_LISTED_MAX)
        )
        return [_transfer(row) for row in rows]

    def balances(self) -> list[Balance]:
        """Every account; the posted balances always sum to zero."""
        rows = self._db.read(store.balances)
        return [
            Balance(
                row.account_id,
                row.owner,
                row.kind,
                int(row.posted_fen),
                int(row.pending_debit_fen),
                int(row.pending_credit_fen),
            )
            for row in rows
        ]

    def _resolve(
        self, tx: Tx, transfer_id: str, pending_id: str, step: Step, amount_fen: int | None
    ) -> Transfer:
        announced = store.find_transfer(tx, pending_id)
        if announced is None or announced.step != Step.PENDING:
            raise TransferUnknown(detail=pending_id)
        amount = announced.amount_fen if amount_fen is None else amount_fen
        if amount > announced.amount_fen:
            raise TransferInvalid(why="more than was announced")
        before = store.find_resolution(tx, pending_id)
        if before is not None and before.transfer_id != transfer_id:
            raise PendingResolved(step=before.step)
        return self._add(
            tx,
            transfer_id,
            step,
            announced.debit,
            announced.credit,
            amount,
            announced.kind,
            pending_id,
        )

    def _add(
        self,
        tx: Tx,
        transfer_id: str,
        step: Step,
        debit: str,
        credit: str,
        amount_fen: int,
        kind: str,
        pending_id: str | None,
    ) -> Transfer:
        if not 0 < amount_fen <= limits.TRANSFER_FEN_MAX:
            raise TransferInvalid(why="the amount must be positive and within the limit")
        if debit == credit:
            raise TransferInvalid(why="debit and credit are the same account")
        for account_id in (debit, credit):
            if store.find_account(tx, account_id) is None:
                raise AccountUnknown(detail=account_id)
        values: dict[str, Any] = {
            "transfer_id": transfer_id,
            "step": step.value,
            "debit": debit,
            "credit": credit,
            "amount_fen": amount_fen,
            "kind": kind,
            "pending_id": pending_id,
        }
        before = store.find_transfer(tx, transfer_id)
        if before is not None:
            if any(getattr(before, name) != value for name, value in values.items()):
                raise TransferDiffers
            return _transfer(before)
        store.add_transfer(tx, values | {"at": tx.now})
        return Transfer(transfer_id, step, debit, credit, amount_fen, kind, pending_id, tx.now)


def _transfer(row: sa.Row[Any]) -> Transfer:
    return Transfer(
        row.transfer_id,
        Step(row.step),
        row.debit,
        row.credit,
        row.amount_fen,
        row.kind,
        row.pending_id,
        row.at,
    )
