"""The first tables of catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0005_catalog"
down_revision: str | None = "0004_identity"


def upgrade() -> None:
    """To this version."""
    _catalog_application()
    _catalog_counter()
    _catalog_entry()
    _catalog_register()
    _catalog_entry_version()


def _catalog_application() -> None:

    op.create_table(
        "catalog_application",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("track", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("origin_did", sa.String(length=512), nullable=False),
        sa.Column("origin_subject", sa.String(length=18), nullable=False),
        sa.Column("origin_code", sa.String(length=65), nullable=False),
        sa.Column("origin_name", sa.String(length=200), nullable=False),
        sa.Column("origin_address", sa.String(length=1024), nullable=False),
        sa.Column("local_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("record", Json(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reasons", Json(), nullable=False),
        sa.Column("warnings", Json(), nullable=False),
        sa.Column("code", sa.String(length=65), nullable=False),
        sa.Column("reviewer", sa.String(length=200), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("origin_did", "local_id", "track", "version"),
    )
    op.create_index(
        "catalog_application_state", "catalog_application", ["state", "received_at"], unique=False
    )


def _catalog_counter() -> None:

    op.create_table(
        "catalog_counter",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _catalog_entry() -> None:

    op.create_table(
        "catalog_entry",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("submitted_version", sa.Integer(), nullable=False),
        sa.Column("registered_version", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=65), nullable=True),
        sa.Column("reasons", Json(), nullable=False),
        sa.Column("application_id", sa.String(length=80), nullable=False),
        sa.Column("listing_state", sa.String(length=16), nullable=False),
        sa.Column("listing_version", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("code"),
    )
    op.create_index("catalog_entry_kind", "catalog_entry", ["kind", "updated_at"], unique=False)


def _catalog_register() -> None:

    op.create_table(
        "catalog_register",
        sa.Column("code", sa.String(length=65), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("origin_did", sa.String(length=512), nullable=False),
        sa.Column("origin_code", sa.String(length=65), nullable=False),
        sa.Column("origin_address", sa.String(length=1024), nullable=False),
        sa.Column("local_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("record", Json(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("listing_state", sa.String(length=16), nullable=False),
        sa.Column("visible_to", Json(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
        sa.UniqueConstraint("origin_did", "local_id"),
        sa.UniqueConstraint("seq"),
    )
    op.create_index(
        "catalog_register_fingerprint", "catalog_register", ["fingerprint"], unique=False
    )


def _catalog_entry_version() -> None:

    op.create_table(
        "catalog_entry_version",
        sa.Column("entry_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("form", Json(), nullable=False),
        sa.Column("tables", Json(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["catalog_entry.id"],
        ),
        sa.PrimaryKeyConstraint("entry_id", "version"),
    )
