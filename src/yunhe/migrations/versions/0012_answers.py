"""Answers: what each party was answered in aggregate-only mode, for the overlap audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0012_answers"
down_revision: str | None = "0011_pushes"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "control_audited",
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("groups", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("peer_did", "dataset"),
    )
    op.create_table(
        "control_answer",
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("frame", sa.String(64), nullable=False),
        sa.Column("summed", Json(), nullable=False),
        sa.Column("entities", Json(), nullable=False),
        sa.Column("prints", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("peer_did", "dataset", "digest"),
    )
