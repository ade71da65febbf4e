"""What usage control writes into evidence, and the bounds on what it is asked.

In: a `Use`, a row. Out: JSON bodies of entries; TooLarge or Invalid for what no row could hold.
"""

from __future__ import annotations

import contextlib
from typing import Any

import sqlalchemy as sa

from yunhe.contracts import ContractInForce, TermNotUnderstood, Terms
from yunhe.control.model import Posted, Use
from yunhe.control.volume import opened
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Invalid, TooLarge


def quota_of(event: ContractInForce) -> dict[str, Any]:
    """The quota row of a contract that has come into force; nothing is left of one not read."""
    contract = event.contract
    terms: Terms | None = None
    with contextlib.suppress(TermNotUnderstood):
        terms = contract.terms
    uses_max = 0 if terms is None else terms.uses_max
    return {
        "contract_id": contract.id,
        "peer_did": contract.peer_did,
        "policy": contract.policy.to_json(),
        "state": "in_force",
        "version": contract.version,
        "uses_max": uses_max,
        "uses_left": uses_max,
        "uses_spent": 0,
        "rows_max": 0 if terms is None else terms.rows_max,
        "expires_at": contract.expires_at if terms is None else terms.expires_at,
        "opened_at": event.at,
        **({} if terms is None else opened(terms)),
    }


def bound(use: Use) -> None:
    """Refuse what no row or reason could hold, before it is judged."""
    sizes = (
        ("use_id", len(use.use_id), limits.USE_ID_CHARS_MAX),
        ("the purpose", len(use.purpose), limits.USE_PURPOSE_CHARS_MAX),
        ("the number of fields", len(use.fields), limits.USE_FIELDS_MAX),
        ("rows_max", use.rows_max, limits.USE_ROWS_MAX),
    )
    for what, size, limit in sizes:
        if size > limit:
            raise TooLarge(what=what, limit=limit)
    if not use.use_id or use.rows_max < 0 or (use.bytes_max or 0) < 0:
        raise Invalid(why="use_id must not be empty and its bounds must not be negative")


def asked(use: Use) -> dict[str, Any]:
    """The request itself, as evidence keeps it."""
    return {
        "use_id": use.use_id,
        "contract_id": use.contract_id,
        "peer": use.peer_did,
        "principal": use.principal,
        "action": use.action,
        "purpose": use.purpose,
        "fields": sorted(use.fields),
        "rows_max": use.rows_max,
        **({} if use.bytes_max is None else {"bytes_max": use.bytes_max}),
        "asked_at": iso(use.at) if use.at else None,
    }


def posting(tx: Tx, row: sa.Row[Any], rows: int, byte_count: int, fee: int) -> dict[str, Any]:
    """What a use is charged for; the meter row says the same (evidence bundle: `use.posted`)."""
    return {
        "use_id": row.use_id,
        "contract_id": row.contract_id,
        "peer": row.peer_did,
        "purpose": row.purpose,
        "rows": rows,
        "bytes": byte_count,
        "fee_fen": fee,
        "at": iso(tx.now),
    }


def posted(row: sa.Row[Any]) -> Posted:
    """A posted row as the answer to `post`."""
    return Posted(row.use_id, row.rows, row.bytes, row.fee_fen, row.entry_id, row.ended_at)


def arrived(rows: int, sent: int) -> int:
    """The least of the `rows` (in `sent` bytes) of a cut delivery that its receiver has: all but
    what buffers on the way can hold, and a batch at either end: ours counts from its first byte,
    the receiver's at its last.

    Else the receiver could take all but the end mark and sign for nothing. After a crash the
    bytes are not known (0), and the receiver's word is all there is.
    """
    behind = max(0, sent - limits.IN_FLIGHT_BYTES_MAX)
    return max(0, rows * behind // sent - 2 * limits.BATCH_ROWS) if behind else 0
