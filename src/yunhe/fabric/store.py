"""All SQL of the fabric: the record of each query over it. Its result is never kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from yunhe.fabric.model import Answer
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

answer = sa.Table(
    "fabric_answer",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("sql", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("principal", sa.String(128), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("parts", Json, nullable=False),
    sa.Column("policy", Json, nullable=False),
    sa.Column("lineage", Json, nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Index("fabric_answer_by_time", "at"),
)


def add(tx: Tx, made: Answer) -> None:
    """A new record."""
    values = {each.name: getattr(made, each.name) for each in dataclasses.fields(made)}
    tx.insert(answer, {**values, "parts": list(made.parts)})


def end(tx: Tx, key: str, state: str, parts: Sequence[dict[str, object]], code: str) -> None:
    """How it ended, and what each part delivered."""
    change = sa.update(answer).where(answer.c.id == key)
    tx.execute(change.values(state=state, parts=list(parts), code=code))


def find(tx: Tx, key: str) -> Answer | None:
    """One record."""
    row = tx.one(sa.select(answer).where(answer.c.id == key))
    return None if row is None else _answer(row._mapping)


def latest(tx: Tx, most: int) -> list[Answer]:
    """The newest records first."""
    rows = tx.all(sa.select(answer).order_by(answer.c.at.desc()).limit(most))
    return [_answer(row._mapping) for row in rows]


def _answer(row: sa.RowMapping) -> Answer:
    values = {column.name: row[column.name] for column in answer.c}
    return Answer(**{**values, "parts": tuple(values["parts"])})


def fail_running(tx: Tx) -> None:
    """After a crash nothing runs any more."""
    change = sa.update(answer).where(answer.c.state == "running")
    tx.execute(change.values(state="failed", code="NODE_STOPPED"))
