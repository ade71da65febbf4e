"""Uses say which process of several holds them, so that those of one that died can be ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023_use_holders"
down_revision: str | None = "0022_app_listings"


def upgrade() -> None:
    """To this version."""
    op.add_column("control_use", sa.Column("holder", sa.String(64)))
