"""Decentralised claims: status lists, issuances, the wallet, offers, retired keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0010_claims"
down_revision: str | None = "0009_federation"


def upgrade() -> None:
    """To this version."""
    _issuer()
    _holder()
    op.create_table(
        "retired_key",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("jwk", Json(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("kid"),
    )


def _issuer() -> None:
    op.create_table(
        "status_entry",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("bit", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", "bit"),
    )
    op.create_index("ix_status_entry_code", "status_entry", ["code"], unique=False)
    op.create_index("status_entry_state", "status_entry", ["number", "state"], unique=False)
    op.create_table(
        "issuance",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("holder_did", sa.Text(), nullable=False),
        sa.Column("holder_pid", sa.Text(), nullable=False),
        sa.Column("objects", Json(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_issuance_holder_did", "issuance", ["holder_did"], unique=False)


def _holder() -> None:
    op.create_table(
        "credential_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("issuer_did", sa.Text(), nullable=False),
        sa.Column("objects", Json(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "held_credential",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("jwt", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("types", Json(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("begins_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("stored_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_held_credential_id", "held_credential", ["id"], unique=False)
    op.create_index("ix_held_credential_stored_at", "held_credential", ["stored_at"], unique=False)
    op.create_table(
        "credential_offer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("issuer_did", sa.Text(), nullable=False),
        sa.Column("objects", Json(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_credential_offer_received_at", "credential_offer", ["received_at"], unique=False
    )
