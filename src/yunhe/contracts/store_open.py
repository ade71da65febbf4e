"""SQL of what is not over yet: how much of it one peer has open, and what has stood idle.

In: a DID, an instant. Out: counts and ids, from the two partial indexes over what is open.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from yunhe.contracts.store import RUNS, TALKS, negotiations, transfers
from yunhe.kernel.db import Tx


def _counted(table: sa.Table, is_open: sa.TextClause) -> sa.Select[int]:
    """How many of a peer's are open, counted no further than asked."""
    few = sa.select(sa.literal(1)).where(table.c.peer_did == sa.bindparam("did"), is_open)
    counted = few.limit(sa.bindparam("most", type_=sa.Integer)).subquery()
    return sa.select(sa.func.count()).select_from(counted)


_TALKS_OF: Final = _counted(negotiations, TALKS)
_RUNS_OF: Final = _counted(transfers, RUNS)


def talks_of(tx: Tx, peer_did: str, most: int) -> int:
    """How many negotiations with a peer are open; `most` stands for that and more."""
    return int(tx.rows(_TALKS_OF, {"did": peer_did, "most": most})[0][0])


def runs_of(tx: Tx, peer_did: str, most: int) -> int:
    """How many transfers with a peer are open; `most` stands for that and more."""
    return int(tx.rows(_RUNS_OF, {"did": peer_did, "most": most})[0][0])


def idle_talks(tx: Tx, before: datetime, limit: int) -> list[str]:
    """The ids of open negotiations in which nobody has said anything since `before`."""
    c = negotiations.c
    query = sa.select(c.id).where(TALKS, c.updated_at < before).order_by(c.id).limit(limit)
    return list(tx.execute(query).scalars())


def idle_pulls(tx: Tx, format_: str, before: datetime, limit: int) -> list[str]:
    """The ids of transfers of a format that we started as provider, unmoved since `before`."""
    c = transfers.c
    still = (RUNS, c.state == "STARTED", c.role == "provider", c.format == format_)
    query = sa.select(c.id).where(*still, c.updated_at < before).order_by(c.id).limit(limit)
    return list(tx.execute(query).scalars())
