"""What a contract may deliver in all: rows and bytes, held by uses and given back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018_volumes"
down_revision: str | None = "0017_vault"


def upgrade() -> None:
    """To this version."""
    for name in ("rows_total", "rows_left", "bytes_total", "bytes_left"):
        op.add_column("control_quota", sa.Column(name, sa.BigInteger()))
    op.add_column("control_use", sa.Column("bytes_max", sa.BigInteger()))
