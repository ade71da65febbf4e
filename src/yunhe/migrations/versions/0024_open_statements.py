"""Statements are counted by state for whoever watches the node, however many are settled."""

from __future__ import annotations

from alembic import op

revision = "0024_open_statements"
down_revision: str | None = "0023_use_holders"


def upgrade() -> None:
    """To this version."""
    op.create_index("exchange_statement_by_state", "exchange_statement", ["state", "role"])
