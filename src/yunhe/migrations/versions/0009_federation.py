"""The first tables of federation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0009_federation"
down_revision: str | None = "0008_exchange"


def upgrade() -> None:
    """To this version."""
    _federation_self()
    _federation_waiting()


def _federation_self() -> None:

    op.create_table(
        "federation_self",
        sa.Column("parent_did", sa.String(length=512), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("subject_application", sa.String(length=80), nullable=False),
        sa.Column("connector_application", sa.String(length=80), nullable=False),
        sa.Column("subject_code", sa.String(length=18), nullable=False),
        sa.Column("connector_code", sa.String(length=65), nullable=False),
        sa.Column("reasons", Json(), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=True),
        sa.Column("last_contact", UtcTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("parent_did"),
    )


def _federation_waiting() -> None:

    op.create_table(
        "federation_waiting",
        sa.Column("application_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("local_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("application_id"),
    )
