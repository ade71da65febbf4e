"""All SQL of the federation: how this node stands with its parent, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from yunhe.kernel.db import Json, Tx, UtcTime, metadata

Row = sa.Row[Any]

own = sa.Table(
    "federation_self",
    metadata,
    sa.Column("parent_did", sa.String(512), primary_key=True),
    sa.Column("step", sa.String(16), nullable=False),  # subject | connector | credential | done
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("subject_application", sa.String(80), nullable=False),
    sa.Column("connector_application", sa.String(80), nullable=False),
    sa.Column("subject_code", sa.String(18), nullable=False),
    sa.Column("connector_code", sa.String(65), nullable=False),
    sa.Column("reasons", Json, nullable=False),
    sa.Column("asked_at", UtcTime),  # when a credential was last asked for
    sa.Column("last_contact", UtcTime),
    sa.Column("last_error", sa.Text, nullable=False),
)

waiting = sa.Table(
    "federation_waiting",
    metadata,
    sa.Column("application_id", sa.String(80), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("local_id", sa.String(80), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
)


def standing(tx: Tx, parent_did: str) -> Row | None:
    """How we stand with a parent; None before the first step."""
    return tx.one(sa.select(own).where(own.c.parent_did == parent_did))


def set_standing(tx: Tx, parent_did: str, **values: Any) -> None:
    """Change how we stand, from nothing if need be."""
    tx.insert_once(
        own,
        {
            "parent_did": parent_did,
            "step": "subject",
            "state": "none",
            "subject_application": "",
            "connector_application": "",
            "subject_code": "",
            "connector_code": "",
            "reasons": [],
            "asked_at": None,
            "last_contact": None,
            "last_error": "",
        },
    )
    tx.execute(sa.update(own).where(own.c.parent_did == parent_did).values(**values))


def wait_for(tx: Tx, application_id: str, kind: str, local_id: str, version: int) -> None:
    """Remember a submission the parent has not decided."""
    tx.insert_once(
        waiting,
        {
            "application_id": application_id,
            "kind": kind,
            "local_id": local_id,
            "version": version,
            "since": tx.now,
        },
    )


def decided(tx: Tx, kind: str, local_id: str, version: int) -> None:
    """Forget a submission, and older versions of it."""
    tx.execute(
        sa.delete(waiting).where(
            waiting.c.kind == kind, waiting.c.local_id == local_id, waiting.c.version <= version
        )
    )


def undecided(tx: Tx, rows_max: int) -> Sequence[Row]:
    """What we wait for, oldest first."""
    return tx.all(
        sa.select(waiting).order_by(waiting.c.since, waiting.c.application_id).limit(rows_max)
    )


def waits(tx: Tx, kind: str, local_id: str) -> bool:
    """Whether the parent has yet to decide of a submission of this kind about an entry."""
    query = sa.select(waiting).where(waiting.c.kind == kind, waiting.c.local_id == local_id)
    return tx.one(query.limit(1)) is not None


def count_waiting(tx: Tx) -> int:
    """How many submissions the parent has not decided."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(waiting)) or 0)
