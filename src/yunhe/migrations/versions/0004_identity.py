"""The first tables of identity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0004_identity"
down_revision: str | None = "0003_evidence"


def upgrade() -> None:
    """To this version."""
    _api_token()
    _application()
    _own_credential()
    _peer_credential()
    _peer_nonce()
    _refusal()
    _subject()
    _application_version()
    _connector()


def _api_token() -> None:

    op.create_table(
        "api_token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", Json(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def _application() -> None:

    op.create_table(
        "application",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("applicant_did", sa.Text(), nullable=False),
        sa.Column("applicant_jwk", Json(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("form", Json(), nullable=False),
        sa.Column("reasons", Json(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "application_open",
        "application",
        ["kind", "applicant_did"],
        unique=True,
        sqlite_where=sa.text("state IN ('submitted', 'returned')"),
        postgresql_where=sa.text("state IN ('submitted', 'returned')"),
    )
    op.create_index("application_state", "application", ["state", "submitted_at"], unique=False)


def _own_credential() -> None:

    op.create_table(
        "own_credential",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("jwt", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("subject_code", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("stored_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _peer_credential() -> None:

    op.create_table(
        "peer_credential",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("did", sa.Text(), nullable=False),
        sa.Column("jwt", sa.Text(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_peer_credential_did"), "peer_credential", ["did"], unique=False)


def _peer_nonce() -> None:

    op.create_table(
        "peer_nonce",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_peer_nonce_expires_at"), "peer_nonce", ["expires_at"], unique=False)


def _refusal() -> None:

    op.create_table(
        "refusal",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("minute", UtcTime(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "reason", "minute"),
    )


def _subject() -> None:

    op.create_table(
        "subject",
        sa.Column("subject_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("did", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("registered_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject_code"),
    )
    op.create_index(op.f("ix_subject_did"), "subject", ["did"], unique=False)


def _application_version() -> None:

    op.create_table(
        "application_version",
        sa.Column("application_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("form", Json(), nullable=False),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reasons", Json(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["application.id"],
        ),
        sa.PrimaryKeyConstraint("application_id", "number"),
    )


def _connector() -> None:

    op.create_table(
        "connector",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("subject_code", sa.Text(), nullable=False),
        sa.Column("did", sa.Text(), nullable=False),
        sa.Column("jwk", Json(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("credential_expires_at", UtcTime(), nullable=False),
        sa.Column("registered_at", UtcTime(), nullable=False),
        sa.Column("reasons", Json(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_code"],
            ["subject.subject_code"],
        ),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_index(
        "connector_live_did",
        "connector",
        ["did"],
        unique=True,
        sqlite_where=sa.text("state <> 'cancelled'"),
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
    op.create_index(op.f("ix_connector_subject_code"), "connector", ["subject_code"], unique=False)
