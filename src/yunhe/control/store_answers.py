"""All SQL of the overlap audit: what each party has been answered about each data set.

In: a `Tx` and an `Answered`. Out: earlier answers. The head row orders two verbs that answer the
same party about the same data set at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from yunhe.control.errors import AnswersTooMany, QueryOverlap
from yunhe.control.overlap import Answered, Print, overlaps
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

audited = sa.Table(
    "control_audited",
    metadata,
    sa.Column("peer_did", sa.String(255), primary_key=True),
    sa.Column("dataset", sa.String(255), primary_key=True),
    sa.Column("groups", sa.Integer, nullable=False),  # over all its answers
)

answer = sa.Table(
    "control_answer",
    metadata,
    sa.Column("peer_did", sa.String(255), primary_key=True),
    sa.Column("dataset", sa.String(255), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("k", sa.Integer, nullable=False),
    # Of what went into the sum of a column: the digest of the answer; `summed` is [column, frame].
    sa.Column("frame", sa.String(64), nullable=False),
    sa.Column("summed", Json, nullable=False),
    sa.Column("entities", Json, nullable=False),  # of each group, in the order of `prints`
    sa.Column("prints", sa.LargeBinary, nullable=False),  # per group: people, rows; 64 bit each
    sa.Column("at", UtcTime, nullable=False),
)


def audit(tx: Tx, peer_did: str, new: Answered) -> None:
    """Remember `new` as answered, or refuse it; the same answer again is no new one.

    Raises QueryOverlap, and AnswersTooMany where no further answer can be kept.
    """
    key = {"peer_did": peer_did, "dataset": new.dataset}
    mine = sa.and_(audited.c.peer_did == peer_did, audited.c.dataset == new.dataset)
    answered = lock(tx, peer_did, new.dataset)
    rows = tx.all(
        sa.select(answer)
        .where(answer.c.peer_did == peer_did, answer.c.dataset == new.dataset)
        .order_by(answer.c.at, answer.c.digest)
    )
    digest = new.digest
    if any(row.digest == digest for row in rows):
        return
    count = answered + len(new.prints)
    if count > limits.PRINTS_KEPT_MAX:
        raise AnswersTooMany(limit=limits.PRINTS_KEPT_MAX)
    if overlaps(new, _earlier(rows)):
        raise QueryOverlap(minimum_group=new.k)
    tx.execute(sa.update(audited).where(mine).values(groups=count))
    kept = [(digest, new.frame, list(new.summed), new.prints)]
    for column, of in new.valued.items():
        name = sha256_hex({"of": digest, "column": column})
        kept.append((name, digest, [column, of.frame], of.prints))
    for name, frame, summed, prints in kept:
        tx.insert_once(
            answer,
            {
                **key,
                "digest": name,
                "k": new.k,
                "frame": frame,
                "summed": summed,
                "entities": [each.entities for each in prints],
                "prints": b"".join(each.people.tobytes() + each.rows.tobytes() for each in prints),
                "at": tx.now,
            },
        )


def lock(tx: Tx, peer_did: str, dataset: str) -> int:
    """No other verb answers this party about this data set before ours ends; groups answered."""
    tx.insert_once(audited, {"peer_did": peer_did, "dataset": dataset, "groups": 0})
    mine = sa.and_(audited.c.peer_did == peer_did, audited.c.dataset == dataset)
    head = tx.one(sa.select(audited.c.groups).where(mine).with_for_update())
    return 0 if head is None else int(head.groups)


def _earlier(rows: Sequence[sa.Row[tuple[object, ...]]]) -> list[Answered]:
    """The answers, each with its prints by column."""
    whole = {row.digest: _read(row) for row in rows}
    by_column: dict[str, dict[str, Answered]] = {}
    for row in rows:
        if row.frame in whole:
            column, frame = row.summed
            made = replace(whole.pop(row.digest), frame=frame, summed=(column,))
            by_column.setdefault(row.frame, {})[column] = made
    return [replace(each, valued=by_column.get(of, {})) for of, each in whole.items()]


def _read(row: sa.Row[tuple[object, ...]]) -> Answered:
    values = array("Q", row.prints)
    size = len(values) // (2 * len(row.entities)) if row.entities else 0
    prints = tuple(
        Print(
            entities,
            values[2 * at * size : (2 * at + 1) * size],
            values[(2 * at + 1) * size : (2 * at + 2) * size],
        )
        for at, entities in enumerate(row.entities)
    )
    return Answered(row.dataset, row.k, row.frame, tuple(row.summed), prints)
