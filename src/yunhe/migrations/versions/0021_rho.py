"""Privacy budgets may be counted by rho, too: the measure of each charge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021_rho"
down_revision: str | None = "0020_apps"


def upgrade() -> None:
    """To this version."""
    op.add_column("control_epsilon", sa.Column("measure", sa.String(16)))
