"""API tokens: the secret is shown once, roles hold, every end of a token has its own code."""

from __future__ import annotations

import pytest

from identity.nodes import World
from yunhe.identity import Identity, Principal, RoleMissing, TokenExpired, TokenUnknown, require
from yunhe.identity.errors import (
    FormInvalid,
    RoleUnknown,
    TokenMissing,
    TokenNotFound,
    TokenRevoked,
)
from yunhe.identity.store_access import api_token
from yunhe.kernel import limits
from yunhe.kernel.db import Database


@pytest.fixture
def node(world: World) -> Identity:
    return world.node("a")


def test_a_token_opens_the_door(node: Identity) -> None:
    token_id, secret = node.create_token("数据员 Li", ("provider", "user"))
    who = node.authenticate(f"Bearer {secret}")
    assert who == Principal(token_id, "数据员 Li", ("provider", "user"), None)
    assert node.authenticate(secret) == who


def test_the_secret_is_not_in_the_database(node: Identity, world: World) -> None:
    token_id, secret = node.create_token("x", ("user",))
    row = world.opened[0].read(lambda tx: tx.one(api_token.select()))
    assert row is not None
    assert secret.removeprefix(f"yh_{token_id}_") not in str(tuple(row))
    assert len(row.secret_sha256) == 64


@pytest.mark.parametrize("bearer", ["yh_", "yh_x_y", "Bearer nonsense", "yh_" + "a" * 300])
def test_unknown_tokens(node: Identity, bearer: str) -> None:
    with pytest.raises(TokenUnknown):
        node.authenticate(bearer)


@pytest.mark.parametrize("bearer", ["", "  ", "Bearer "])
def test_no_token(node: Identity, bearer: str) -> None:
    with pytest.raises(TokenMissing):
        node.authenticate(bearer)


def test_a_right_id_with_a_wrong_secret(node: Identity) -> None:
    token_id, secret = node.create_token("x", ("user",))
    with pytest.raises(TokenUnknown):
        node.authenticate(secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    with pytest.raises(TokenUnknown):
        node.authenticate(f"yh_{token_id}_")


def test_a_token_expires(node: Identity, world: World) -> None:
    _, secret = node.create_token("x", ("user",), ttl_s=60)
    world.clock.advance(59)
    node.authenticate(secret)
    world.clock.advance(1)
    with pytest.raises(TokenExpired) as refused:
        node.authenticate(secret)
    assert refused.value.code == "TOKEN_EXPIRED"


def test_a_token_is_revoked_at_once(node: Identity) -> None:
    token_id, secret = node.create_token("x", ("user",))
    node.revoke_token(token_id)
    with pytest.raises(TokenRevoked):
        node.authenticate(secret)
    with pytest.raises(TokenNotFound):
        node.revoke_token(token_id)
    assert node.tokens.list_tokens()[0].revoked_at is not None


def test_a_known_token_is_as_good_as_the_token_and_no_longer(node: Identity, world: World) -> None:
    token_id, secret = node.create_token("x", ("user",), ttl_s=8)
    bearer = f"Bearer {secret}"
    assert node.tokens.known(bearer) is None
    who = node.authenticate(bearer)
    assert node.tokens.known(bearer) == who
    assert node.tokens.known(bearer[:-1]) is None
    world.clock.advance(limits.API_TOKEN_KNOWN_S)
    assert node.tokens.known(bearer) is None  # asked again, for what this node was not told
    node.authenticate(bearer)
    world.clock.advance(8 - limits.API_TOKEN_KNOWN_S)
    assert node.tokens.known(bearer) is None  # it has expired
    _, other = node.create_token("y", ("user",))
    node.authenticate(other)
    node.revoke_token(token_id)
    assert node.tokens.known(other) is None  # whoever was revoked
    node.authenticate(other)
    assert node.tokens.known(other) is not None


def test_a_token_revoked_while_it_is_read_is_not_known(
    node: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_id, secret = node.create_token("x", ("user",))
    read = node.tokens._authenticated

    def slowly(bearer: str) -> Principal:
        found = read(bearer)
        node.revoke_token(token_id)
        return found

    monkeypatch.setattr(node.tokens, "_authenticated", slowly)
    node.authenticate(secret)  # the revocation came after the question
    assert node.tokens.known(secret) is None


def test_only_so_many_tokens_are_known(node: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "API_TOKENS_KNOWN_MAX", 2)
    secrets = [node.create_token("x", ("user",))[1] for _ in range(3)]
    for secret in secrets:
        node.authenticate(secret)
    assert [node.tokens.known(secret) is None for secret in secrets] == [True, False, False]


def test_replicas_ask_the_database_for_every_token(pg_db: Database, world: World) -> None:
    one, other = (world.node("a", db=pg_db) for _ in range(2))
    token_id, secret = one.create_token("x", ("user",))
    other.authenticate(secret)
    assert other.tokens.known(secret) is None
    one.revoke_token(token_id)
    with pytest.raises(TokenRevoked):
        other.authenticate(secret)


def test_roles() -> None:
    user = Principal("1", "u", ("user",), None)
    require(user, "user")
    with pytest.raises(RoleMissing) as refused:
        require(user, "provider")
    assert refused.value.facts == {"role": "provider"}
    require(Principal("2", "a", ("admin",), None), "provider")


def test_what_no_token_may_be(node: Identity) -> None:
    with pytest.raises(RoleUnknown):
        node.create_token("x", ("root",))
    with pytest.raises(FormInvalid):
        node.create_token("x", ())
    with pytest.raises(FormInvalid):
        node.create_token(" ", ("user",))
