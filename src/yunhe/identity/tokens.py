"""API tokens: who of our own people and programs is asking, and with which roles.

In: a bearer text. Out: a Principal, or a refusal with its own code. The secret is shown once;
only its SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from yunhe.identity import store_access as store
from yunhe.identity.errors import (
    FormInvalid,
    RoleMissing,
    RoleUnknown,
    TokenExpired,
    TokenMissing,
    TokenNotFound,
    TokenRevoked,
    TokenUnknown,
)
from yunhe.identity.model import ROLES, ApiToken, Principal
from yunhe.kernel import limits
from yunhe.kernel.db import Database, Tx

if TYPE_CHECKING:
    from yunhe.evidence import EvidenceLog

_PREFIX: Final = "yh"
_CHARS_MAX: Final = 256
_NO_HASH: Final = hashlib.sha256(b"").hexdigest()


class ApiTokens:
    """The tokens of one node."""

    def __init__(self, db: Database, evidence: EvidenceLog) -> None:
        self._db = db
        self._evidence = evidence
        self._known = _Known()

    def create_token(
        self, name: str, roles: tuple[str, ...], ttl_s: int | None = None
    ) -> tuple[str, str]:
        """Make a token: its id and the secret text, which exists nowhere else.

        `ttl_s` seconds of life, None for no end. Raises RoleUnknown, FormInvalid.
        """
        for role in roles:
            if role not in ROLES:
                raise RoleUnknown(role=role)
        if not name.strip() or len(name) > limits.NAME_CHARS_MAX:
            raise FormInvalid(field="name", why=f"has not 1 to {limits.NAME_CHARS_MAX} characters")
        if not roles:
            raise FormInvalid(field="roles", why="is empty")
        token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)

        def verb(tx: Tx) -> None:
            ends = None if ttl_s is None else tx.now + timedelta(seconds=ttl_s)
            made = ApiToken(token_id, name, tuple(roles), tx.now, ends, None)
            store.add_token(tx, made, _hash(secret))
            self._evidence.record(
                tx,
                "identity.token_created",
                {"token_id": token_id, "name": name, "roles": list(roles)},
            )

        self._db.write(verb)
        return token_id, f"{_PREFIX}_{token_id}_{secret}"

    def known(self, bearer: str) -> Principal | None:
        """Who `authenticate` found behind this text moments ago; None: ask it (again).

        Waits for nothing. Only where this process alone writes the database (SQLite): it would
        not hear of a token that another replica revoked.
        """
        return self._known.get(bearer, self._db.clock.now())

    def authenticate(self, bearer: str) -> Principal:
        """The principal behind `Bearer <token>` or the bare token.

        Raises TokenMissing, TokenUnknown, TokenRevoked, TokenExpired.
        """
        turn = self._known.turn
        found = self._authenticated(bearer)
        if self._db.dialect == "sqlite":
            self._known.put(bearer, found, self._db.clock.now(), turn)
        return found

    def _authenticated(self, bearer: str) -> Principal:
        scheme, _, rest = bearer.strip().partition(" ")
        text = rest.strip() if scheme.lower() == "bearer" else scheme
        if not text:
            raise TokenMissing
        prefix, _, rest = text.partition("_")
        token_id, _, secret = rest.partition("_")
        if prefix != _PREFIX or not secret or len(text) > _CHARS_MAX:
            raise TokenUnknown
        found = self._db.read(lambda tx: store.token(tx, token_id))
        # The same work for unknown ids, so that the time tells nothing.
        same = hmac.compare_digest(_hash(secret), found[1] if found else _NO_HASH)
        if found is None or not same:
            raise TokenUnknown
        token = found[0]
        if token.revoked_at is not None:
            raise TokenRevoked
        if token.expires_at is not None and token.expires_at <= self._db.clock.now():
            raise TokenExpired
        return Principal(token.id, token.name, token.roles, token.expires_at)

    def revoke_token(self, token_id: str) -> None:
        """End a token at once; raises TokenNotFound when there is none to end."""

        def verb(tx: Tx) -> None:
            if not store.revoke_token(tx, token_id):
                raise TokenNotFound
            self._evidence.record(tx, "identity.token_revoked", {"token_id": token_id})
            tx.after_commit(self._known.forget)

        self._db.write(verb)

    def list_tokens(self) -> list[ApiToken]:
        """Every token, without secrets, newest first."""
        return self._db.read(store.tokens)


class _Known:
    """Principals by the digest of their bearer text, for API_TOKEN_KNOWN_S or until `forget`."""

    def __init__(self) -> None:
        self.turn = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, tuple[Principal, datetime]] = OrderedDict()

    def get(self, bearer: str, now: datetime) -> Principal | None:
        found = self._held.get(_digest(bearer))
        return found[0] if found is not None and now < found[1] else None

    def put(self, bearer: str, who: Principal, now: datetime, turn: int) -> None:
        """Keep what was read since `turn`; not if a token was revoked meanwhile."""
        ends = now + timedelta(seconds=limits.API_TOKEN_KNOWN_S)
        if who.expires_at is not None:
            ends = min(ends, who.expires_at)
        with self._lock:
            if turn != self.turn:
                return
            self._held[_digest(bearer)] = (who, ends)
            while len(self._held) > limits.API_TOKENS_KNOWN_MAX:
                self._held.popitem(last=False)

    def forget(self) -> None:
        """A token was revoked: everyone is asked for anew."""
        with self._lock:
            self.turn += 1
            self._held.clear()


def require(principal: Principal, role: str) -> None:
    """Refuse unless the principal has `role`; an admin has every role. Raises RoleMissing."""
    if role not in principal.roles and "admin" not in principal.roles:
        raise RoleMissing(role=role)


def _digest(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode()).digest()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
