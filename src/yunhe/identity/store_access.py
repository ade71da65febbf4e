"""All SQL of access: API tokens, spent nonces, our own credential, counted refusals.

In: a Tx and values of the model. Out: values of the model.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.identity.model import ApiToken, Membership
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

api_token: Final = sa.Table(
    "api_token",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("roles", Json, nullable=False),
    sa.Column("secret_sha256", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
)

peer_nonce: Final = sa.Table(
    "peer_nonce",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("expires_at", UtcTime, nullable=False, index=True),
)

own_credential: Final = sa.Table(
    "own_credential",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("jwt", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("subject_code", sa.Text, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("stored_at", UtcTime, nullable=False),
)

peer_credential: Final = sa.Table(
    "peer_credential",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("did", sa.Text, nullable=False, index=True),
    sa.Column("jwt", sa.Text, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
)

refusal: Final = sa.Table(
    "refusal",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("minute", UtcTime, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)


# -- API tokens ------------------------------------------------------------------------------


def add_token(tx: Tx, token: ApiToken, secret_sha256: str) -> None:
    """Keep a token and the hash of its secret."""
    tx.execute(
        api_token.insert(),
        {
            "id": token.id,
            "name": token.name,
            "roles": list(token.roles),
            "secret_sha256": secret_sha256,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        },
    )


_FIELDS: Final = (
    api_token.c.id,
    api_token.c.name,
    api_token.c.roles,
    api_token.c.created_at,
    api_token.c.expires_at,
    api_token.c.revoked_at,
)
_TOKEN: Final = sa.select(api_token.c.secret_sha256, *_FIELDS).where(
    api_token.c.id == sa.bindparam("token_id")
)


def token(tx: Tx, token_id: str) -> tuple[ApiToken, str] | None:
    """A token with the hash of its secret."""
    rows = tx.rows(_TOKEN, {"token_id": token_id})
    if not rows:
        return None
    secret_sha256, id_, name, roles, *moments = rows[0]
    return ApiToken(id_, name, tuple(roles), *moments), secret_sha256


def tokens(tx: Tx) -> list[ApiToken]:
    """Every token, newest first."""
    rows = tx.all(sa.select(api_token).order_by(api_token.c.created_at.desc(), api_token.c.id))
    return [_token(row) for row in rows]


def revoke_token(tx: Tx, token_id: str) -> bool:
    """Mark a token revoked; False when it was so already or is unknown."""
    found = tx.execute(
        api_token.update()
        .where(api_token.c.id == token_id, api_token.c.revoked_at.is_(None))
        .values(revoked_at=tx.now)
    )
    return found.rowcount == 1


def _token(row: Any) -> ApiToken:
    return ApiToken(
        row.id, row.name, tuple(row.roles), row.created_at, row.expires_at, row.revoked_at
    )


# -- nonces ----------------------------------------------------------------------------------


def spend_nonce(tx: Tx, nonce_id: str, expires_at: datetime) -> bool:
    """Record a nonce; False when it was spent before."""
    return tx.insert_once(peer_nonce, {"id": nonce_id, "expires_at": expires_at})


def prune_nonces(tx: Tx) -> int:
    """Drop the nonces whose tokens have expired; how many there were."""
    return tx.execute(peer_nonce.delete().where(peer_nonce.c.expires_at < tx.now)).rowcount


# -- credentials of peers --------------------------------------------------------------------


def keep_peer_credential(tx: Tx, digest: str, did: str, jwt: str) -> None:
    """Keep a verified credential that a peer showed; once."""
    row = {"digest": digest, "did": did, "jwt": jwt, "seen_at": tx.now}
    tx.insert_once(peer_credential, row)


def peer_credential_of(tx: Tx, did: str) -> str:
    """The newest credential a peer showed, or the empty text."""
    query = (
        sa.select(peer_credential.c.jwt)
        .where(peer_credential.c.did == did)
        .order_by(peer_credential.c.seen_at.desc())
        .limit(1)
    )
    return tx.scalar(query) or ""


def peer_credentials(tx: Tx, did: str) -> list[str]:
    """Every credential a peer showed, the oldest first."""
    query = (
        sa.select(peer_credential.c.jwt)
        .where(peer_credential.c.did == did)
        .order_by(peer_credential.c.seen_at, peer_credential.c.digest)
    )
    return [row.jwt for row in tx.all(query)]


# -- our own credential ----------------------------------------------------------------------


def keep_credential(tx: Tx, jwt: str, member: Membership) -> bool:
    """Keep a credential of ours; False when it is kept already."""
    return tx.insert_once(
        own_credential,
        {
            "id": member.id,
            "jwt": jwt,
            "code": member.code,
            "subject_code": member.subject_code,
            "issuer": member.issuer,
            "expires_at": member.expires_at,
            "stored_at": tx.now,
        },
    )


_OWN: Final = (
    sa.select(own_credential)
    .where(own_credential.c.expires_at > sa.bindparam("now", type_=UtcTime))
    .order_by(own_credential.c.expires_at.desc(), own_credential.c.id)
    .limit(limits.CREDENTIALS_MAX)
)


def own_credentials_at(tx: Tx, now: datetime) -> list[tuple[str, datetime]]:
    """Our credentials in force at `now`, the one that lasts longest first: text and end."""
    return [(row.jwt, row.expires_at) for row in tx.all(_OWN, {"now": now})]


def own_credentials(tx: Tx) -> list[str]:
    """Every credential we ever held, the oldest first."""
    query = sa.select(own_credential.c.jwt).order_by(
        own_credential.c.stored_at, own_credential.c.id
    )
    return [row.jwt for row in tx.all(query)]


_OWN_CODE: Final = (
    sa.select(own_credential.c.code).order_by(own_credential.c.stored_at.desc()).limit(1)
)


def own_code(tx: Tx) -> str:
    """Our N04 connector code, '' before there is one; it outlives the credential."""
    rows = tx.rows(_OWN_CODE, {})
    return rows[0][0] if rows else ""


# -- refusals --------------------------------------------------------------------------------


def add_refusals(tx: Tx, source: str, reason: str, minute: datetime, count: int) -> None:
    """Add to the count of a source, reason and minute."""
    key = {"source": source, "reason": reason, "minute": minute}
    if not tx.insert_once(refusal, {**key, "count": count}):
        tx.execute(
            refusal.update()
            .where(
                refusal.c.source == source,
                refusal.c.reason == reason,
                refusal.c.minute == minute,
            )
            .values(count=refusal.c.count + count)
        )


def prune_refusals(tx: Tx, before: datetime) -> None:
    """Drop the rows of minutes before `before`."""
    tx.execute(refusal.delete().where(refusal.c.minute < before))


def refusals(tx: Tx, limit: int) -> list[sa.Row[Any]]:
    """The latest rows, newest minute first."""
    newest = sa.select(refusal).order_by(
        refusal.c.minute.desc(), refusal.c.source, refusal.c.reason
    )
    return list(tx.all(newest.limit(limit)))
