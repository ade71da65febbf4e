"""What is open with each counterparty is counted before one more is opened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025_open_talks"
down_revision: str | None = "0024_open_statements"


def upgrade() -> None:
    """To this version."""
    for name, table, ended in (
        ("contract_talks", "contract_negotiations", "FINALIZED"),
        ("contract_runs", "contract_transfers", "COMPLETED"),
    ):
        still = sa.text(f"state NOT IN ('{ended}', 'TERMINATED')")
        op.create_index(
            name, table, ["peer_did", "state"], sqlite_where=still, postgresql_where=still
        )
