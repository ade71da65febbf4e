"""How much a contract may deliver: rows and bytes, of one use and of all uses together.

In: a use, its quota row, the agreed terms. Out: the use with the bounds it may fill, and the
quota's figures moved. What a use may deliver is held from its admission on and what it did not
deliver is given back when it is posted, so that uses at once never exceed the sum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from yunhe.contracts import Term, Terms
from yunhe.control import store
from yunhe.control.model import Given, Use
from yunhe.kernel.db import Tx


def opened(terms: Terms) -> dict[str, int | None]:
    """The columns of a new quota row."""
    return {
        "rows_total": terms.rows_total,
        "rows_left": terms.rows_total,
        "bytes_total": terms.bytes_total,
        "bytes_left": terms.bytes_total,
    }


def totalled(row: Any) -> bool:
    """Whether the contract of a quota row bounds all its uses together."""
    return row.rows_left is not None or row.bytes_left is not None


def capped(use: Use, row: Any, terms: Terms) -> Use:
    """`use` with the least of what it asks, what one use may have and what is left.

    Rows are lowered only for an engine that stops at the Grant's bound (`Use.cut`); bytes that
    nobody bounded are as many as may be.
    """
    rows = _least(use.rows_max, row.rows_left) if use.cut else use.rows_max
    return replace(
        use,
        rows_max=max(0, rows if rows is not None else 0),
        bytes_max=_least(use.bytes_max, terms.bytes_max, row.bytes_left),
    )


def given(use: Use, row: Any) -> dict[str, Given]:
    """What a (capped) use asks of the volume: of all uses, what is taken and what it needs."""
    found: dict[str, Given] = {}
    if use.bytes_max is not None:
        found[Term.DATA_SIZE] = use.bytes_max
    if row.rows_left is not None:
        need = 1 if use.cut else max(1, use.rows_max)
        found[Term.RECORD_TOTAL] = row.rows_total - row.rows_left + need
    if row.bytes_left is not None:
        found[Term.SIZE_TOTAL] = row.bytes_total - row.bytes_left + 1
    return found


def hold(tx: Tx, use: Use) -> None:
    """Take what an admitted use may deliver; the quota's row is held by this transaction."""
    _move(tx, use.contract_id, -use.rows_max, -(use.bytes_max or 0))


def settle(tx: Tx, use_row: Any, rows: int, byte_count: int) -> None:
    """Give back what a released use did not deliver. No bytes for rows: not known, after a crash;
    then all that was held counts."""
    _move(
        tx,
        use_row.contract_id,
        use_row.rows_max - rows,
        _held(use_row) - _known(use_row, rows, byte_count),
    )


def give_back(tx: Tx, use_row: Any) -> None:
    """All that a voided use held."""
    _move(tx, use_row.contract_id, use_row.rows_max, _held(use_row))


def lower(tx: Tx, use_row: Any, rows: int, byte_count: int) -> None:
    """Of a posted use whose figures are corrected: after a crash, when nobody knows what left.

    Of a delivery that was cut under our eyes all that was sent counts, whatever its receiver signs
    for: what it need not pay may have come all the same, and use by use all data would.
    """
    if use_row.bytes or not use_row.rows:
        return
    after = _known(use_row, rows, byte_count)
    _move(tx, use_row.contract_id, use_row.rows - rows, _held(use_row) - after)


def _held(use_row: Any) -> int:
    return use_row.bytes_max or 0


def _known(use_row: Any, rows: int, byte_count: int) -> int:
    return byte_count if byte_count or not rows else _held(use_row)


def _move(tx: Tx, contract_id: str, rows: int, byte_count: int) -> None:
    # NULL, where there is no such bound, stays NULL.
    quota = store.quota
    tx.execute(
        sa.update(quota)
        .where(quota.c.contract_id == contract_id)
        .values(rows_left=quota.c.rows_left + rows, bytes_left=quota.c.bytes_left + byte_count)
    )


def _least(*bounds: int | None) -> int | None:
    said = [bound for bound in bounds if bound is not None]
    return min(said) if said else None
