"""Applications: versions, where they are deployed, their runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0020_apps"
down_revision: str | None = "0019_vault_proofs"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "apps_app",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ours", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("manifest", Json(), nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "apps_deployment",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("side", sa.String(8), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", "side"),
        sa.UniqueConstraint("side", "digest", "contract_id"),
    )
    op.create_table("apps_job", *_job(), sa.PrimaryKeyConstraint("id", "side"))
    by_state = ["side", "state", "created_at"]
    op.create_index("apps_job_by_state", "apps_job", by_state, unique=False)


def _job() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("side", sa.String(8), nullable=False),
        sa.Column("deployment_id", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("parameters", Json(), nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("withheld", sa.Boolean(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("output_digest", sa.String(64), nullable=False),
        sa.Column("bits", sa.BigInteger(), nullable=False),
        sa.Column("wall_s", sa.Integer(), nullable=False),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("entry_id", sa.Text(), nullable=False),
    ]
