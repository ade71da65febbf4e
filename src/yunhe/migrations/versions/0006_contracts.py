"""The first tables of contracts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0006_contracts"
down_revision: str | None = "0005_catalog"


def upgrade() -> None:
    """To this version."""
    _contract_agreements()
    _contract_negotiations()
    _contract_transfers()
    _contracts()


def _contract_agreements() -> None:

    op.create_table(
        "contract_agreements",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("product_code", sa.String(length=255), nullable=False),
        sa.Column("provider_did", sa.String(length=512), nullable=False),
        sa.Column("consumer_did", sa.String(length=512), nullable=False),
        sa.Column("policy", Json(), nullable=False),
        sa.Column("signed_at", UtcTime(), nullable=False),
        sa.Column("provider_jws", sa.Text(), nullable=False),
        sa.Column("consumer_jws", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _contract_negotiations() -> None:

    op.create_table(
        "contract_negotiations",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("peer_did", sa.String(length=512), nullable=False),
        sa.Column("peer_pid", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=1024), nullable=False),
        sa.Column("product_code", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("offers", Json(), nullable=False),
        sa.Column("strategy", Json(), nullable=True),
        sa.Column("agreement_id", sa.String(length=255), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("error", Json(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "contract_negotiations_peer",
        "contract_negotiations",
        ["peer_did", "peer_pid"],
        unique=False,
    )


def _contract_transfers() -> None:

    op.create_table(
        "contract_transfers",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("peer_did", sa.String(length=512), nullable=False),
        sa.Column("peer_pid", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=1024), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("format", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.String(length=1024), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("token_expires_at", UtcTime(), nullable=True),
        sa.Column("error", Json(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "contract_transfers_peer", "contract_transfers", ["peer_did", "peer_pid"], unique=False
    )
    op.create_index(
        op.f("ix_contract_transfers_contract_id"),
        "contract_transfers",
        ["contract_id"],
        unique=False,
    )


def _contracts() -> None:

    op.create_table(
        "contracts",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("peer_did", sa.String(length=512), nullable=False),
        sa.Column("address", sa.String(length=1024), nullable=False),
        sa.Column("product_code", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("negotiation_id", sa.String(length=255), nullable=False),
        sa.Column("in_force_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("end_why", Json(), nullable=True),
        sa.Column("entry_id", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["id"],
            ["contract_agreements.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("contracts_expiry", "contracts", ["state", "expires_at"], unique=False)
    op.create_index(op.f("ix_contracts_product_code"), "contracts", ["product_code"], unique=False)
