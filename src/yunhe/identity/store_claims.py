"""All SQL of decentralised claims: status entries, issuances, the wallet, offers, retired keys.

In: a Tx and plain values. Out: rows. The wallet is the holder's, issuances the issuer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.identity.vcs import Credential
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

status_entry: Final = sa.Table(
    "status_entry",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("bit", sa.Integer, primary_key=True),
    sa.Column("credential_id", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False),  # valid | suspended | revoked
    sa.Index("status_entry_state", "number", "state"),
)

issuance: Final = sa.Table(
    "issuance",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("holder_did", sa.Text, nullable=False, index=True),
    sa.Column("holder_pid", sa.Text, nullable=False),
    sa.Column("objects", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # RECEIVED | ISSUED | REJECTED
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("requested_at", UtcTime, nullable=False),
)

credential_request: Final = sa.Table(
    "credential_request",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # our holderPid
    sa.Column("issuer_did", sa.Text, nullable=False),
    sa.Column("objects", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # REQUESTED | ISSUED | REJECTED
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("requested_at", UtcTime, nullable=False),
)

held_credential: Final = sa.Table(
    "held_credential",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, index=True),
    sa.Column("jwt", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("types", Json, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("begins_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("stored_at", UtcTime, nullable=False, index=True),
)

credential_offer: Final = sa.Table(
    "credential_offer",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("issuer_did", sa.Text, nullable=False),
    sa.Column("objects", Json, nullable=False),
    sa.Column("received_at", UtcTime, nullable=False, index=True),
)

retired_key: Final = sa.Table(
    "retired_key",
    metadata,
    sa.Column("kid", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("jwk", Json, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
)

# -- status ----------------------------------------------------------------------------------


def add_status(tx: Tx, number: int, bit: int, credential_id: str, code: str) -> bool:
    """Give a credential its place in a list; False when it is taken."""
    row = {"number": number, "bit": bit, "credential_id": credential_id, "code": code}
    return tx.insert_once(status_entry, {**row, "state": "valid"})


def count_status(tx: Tx, number: int) -> int:
    """How many places of a list are taken."""
    query = sa.select(sa.func.count()).where(status_entry.c.number == number)
    return int(tx.scalar(query) or 0)


def mark_status(tx: Tx, code: str, state: str) -> int:
    """Set the state of every credential of a connector; how many there were."""
    return tx.execute(
        status_entry.update().where(status_entry.c.code == code).values(state=state)
    ).rowcount


def set_bits(tx: Tx, number: int) -> list[int]:
    """The indices of a list whose credentials are not valid."""
    query = sa.select(status_entry.c.bit).where(
        status_entry.c.number == number, status_entry.c.state.in_(("suspended", "revoked"))
    )
    return [row.bit for row in tx.all(query)]


# -- issuer ----------------------------------------------------------------------------------


def add_issuance(
    tx: Tx, id_: str, did: str, holder_pid: str, objects: list[str], status: str, reason: str
) -> None:
    """Keep a request with what was decided on it."""
    tx.execute(
        issuance.insert(),
        {
            "id": id_,
            "holder_did": did,
            "holder_pid": holder_pid,
            "objects": objects,
            "status": status,
            "reason": reason,
            "requested_at": tx.now,
        },
    )


def find_issuance(tx: Tx, id_: str) -> sa.Row[Any] | None:
    """One request at this issuer."""
    return tx.one(sa.select(issuance).where(issuance.c.id == id_))


# -- holder ----------------------------------------------------------------------------------


def add_request(tx: Tx, id_: str, issuer: str, objects: list[str]) -> None:
    """Keep a request of ours."""
    tx.execute(
        credential_request.insert(),
        {
            "id": id_,
            "issuer_did": issuer,
            "objects": objects,
            "status": "REQUESTED",
            "reason": "",
            "requested_at": tx.now,
        },
    )


def find_request(tx: Tx, id_: str) -> sa.Row[Any] | None:
    """One request of ours by its holderPid."""
    return tx.one(sa.select(credential_request).where(credential_request.c.id == id_))


def answer_request(tx: Tx, id_: str, status: str, reason: str) -> None:
    """What the issuer said to our request."""
    tx.execute(
        credential_request.update()
        .where(credential_request.c.id == id_)
        .values(status=status, reason=reason)
    )


def hold(tx: Tx, digest: str, held: Credential) -> bool:
    """Keep a credential of ours; False when it is kept already."""
    return tx.insert_once(
        held_credential,
        {
            "digest": digest,
            "id": held.id,
            "jwt": held.jwt,
            "profile": held.profile,
            "types": list(held.types),
            "issuer": held.issuer,
            "begins_at": held.begins_at,
            "expires_at": held.expires_at,
            "stored_at": tx.now,
        },
    )


def held_at(tx: Tx, now: datetime) -> Sequence[sa.Row[Any]]:
    """Our credentials in force, newest first; at most HELD_CREDENTIALS_MAX."""
    mine = held_credential.c
    query = sa.select(held_credential).where(
        mine.begins_at <= now, sa.or_(mine.expires_at.is_(None), mine.expires_at > now)
    )
    newest = query.order_by(mine.stored_at.desc(), mine.digest)
    return tx.all(newest.limit(limits.HELD_CREDENTIALS_MAX))


def prune_held(tx: Tx) -> None:
    """Drop credentials that have expired."""
    tx.execute(held_credential.delete().where(held_credential.c.expires_at < tx.now))


def add_offer(tx: Tx, id_: str, issuer: str, objects: list[dict[str, Any]]) -> None:
    """Keep an offer; the oldest go when there are too many."""
    row = {"id": id_, "issuer_did": issuer, "objects": objects, "received_at": tx.now}
    tx.execute(credential_offer.insert(), row)
    kept = (
        sa.select(credential_offer.c.id)
        .order_by(credential_offer.c.received_at.desc(), credential_offer.c.id)
        .limit(limits.OFFERS_KEPT_MAX)
    )
    tx.execute(credential_offer.delete().where(credential_offer.c.id.not_in(kept)))


def offers(tx: Tx) -> Sequence[sa.Row[Any]]:
    """The offers kept, newest first."""
    newest = credential_offer.c.received_at.desc()
    return tx.all(sa.select(credential_offer).order_by(newest, credential_offer.c.id))


# -- keys ------------------------------------------------------------------------------------


def retire_key(tx: Tx, kid: str, purpose: str, jwk: dict[str, Any], until: datetime) -> bool:
    """Remember the public part of a key that signs no more; False when it is there."""
    row = {"kid": kid, "purpose": purpose, "jwk": jwk, "until": until}
    return tx.insert_once(retired_key, row)


def retired_keys(tx: Tx, now: datetime) -> list[sa.Row[Any]]:
    """The retired keys that still verify, the latest retired first."""
    query = sa.select(retired_key).where(retired_key.c.until > now)
    return list(tx.all(query.order_by(retired_key.c.until.desc(), retired_key.c.kid)))


def all_retired_keys(tx: Tx) -> list[sa.Row[Any]]:
    """Every key that was ever retired, the latest first."""
    return list(tx.all(sa.select(retired_key).order_by(retired_key.c.until.desc())))


def is_retired(tx: Tx, kid: str) -> bool:
    """Whether a key of ours was retired, however long ago."""
    return tx.one(sa.select(retired_key.c.kid).where(retired_key.c.kid == kid)) is not None
