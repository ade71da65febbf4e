"""All SQL of sharing profiles. In: a Tx and a Profile. Out: the same, read back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.kernel import limits
from yunhe.kernel.db import Tx, UtcTime, metadata


@dataclass(frozen=True)
class Profile:
    """A recipient: whoever shows its token reads under one contract, for one purpose."""

    id: str
    contract_id: str
    principal: str  # who asked for it; the provider is told
    purpose: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


profiles: Final = sa.Table(
    "sharing_profile",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), nullable=False, index=True),
    sa.Column("principal", sa.String(128), nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime),
)


def _read(row: Any) -> Profile:
    return Profile(
        row.id,
        row.contract_id,
        row.principal,
        row.purpose,
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )


def add(tx: Tx, profile: Profile, secret_sha256: str) -> None:
    """Keep a profile and the digest of its secret."""
    tx.execute(sa.insert(profiles), {**vars(profile), "secret_sha256": secret_sha256})


def find(tx: Tx, profile_id: str) -> tuple[Profile, str] | None:
    """A profile with the digest of its secret, or None."""
    row = tx.one(sa.select(profiles).where(profiles.c.id == profile_id))
    return None if row is None else (_read(row), row.secret_sha256)


def of_contract(tx: Tx, contract_id: str) -> list[Profile]:
    """The profiles of a contract, the latest first."""
    c = profiles.c
    query = sa.select(profiles).where(c.contract_id == contract_id)
    query = query.order_by(c.created_at.desc(), c.id).limit(limits.CONTRACT_LIST_MAX)
    return [_read(row) for row in tx.all(query)]


def live(tx: Tx, contract_id: str) -> int:
    """How many profiles of a contract count now."""
    c = profiles.c
    query = sa.select(sa.func.count()).where(
        c.contract_id == contract_id, c.revoked_at.is_(None), c.expires_at > tx.now
    )
    return int(tx.scalar(query))


def revoke(tx: Tx, profile_id: str) -> bool:
    """End a profile; whether there was one to end."""
    c = profiles.c
    query = sa.update(profiles).where(c.id == profile_id, c.revoked_at.is_(None))
    return tx.change(query.values(revoked_at=tx.now), {}) == 1
