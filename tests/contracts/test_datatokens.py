"""A data token verified once is known again, and no other text is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.contracts.datatokens import TOKEN_TYPE, DataTokens
from yunhe.contracts.errors import DataTokenInvalid
from yunhe.kernel import limits
from yunhe.kernel.keys import KeyStore, jwt

DID = "did:web:p.example"


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


def token(store: KeyStore, purpose: str = "did", typ: str = TOKEN_TYPE, **claims: object) -> str:
    return jwt(store.key(purpose), {"iss": DID, "contract": "c", **claims}, typ=typ)


def test_a_token_is_verified_once(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    known, shown = DataTokens(store.key("did"), DID), token(store)
    first = known.claims(shown)
    monkeypatch.setattr("yunhe.contracts.datatokens.read_jwt", None)
    assert known.claims(shown) is first
    with pytest.raises(TypeError):
        first["contract"] = "other"  # type: ignore[index]


def test_another_text_is_verified_anew(store: KeyStore) -> None:
    known, shown = DataTokens(store.key("did"), DID), token(store)
    known.claims(shown)
    head, body, signature = shown.split(".")
    _, other_body, other_signature = token(store, contract="d").split(".")
    for forged in (
        f"{head}.{other_body}.{signature}",
        f"{head}.{body}.{other_signature}",
        f"{head}.{body}.",
        f"{shown} ",
        f"{shown}=",
        shown + "\ud800",
        "",
        token(store, purpose="log"),
        token(store, typ="JWT"),
        token(store, iss="did:web:other.example"),
    ):
        for _ in range(2):
            with pytest.raises(DataTokenInvalid):
                known.claims(forged)


def test_what_is_known_is_bounded(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DATA_TOKENS_KEPT_MAX", 3)
    known = DataTokens(store.key("did"), DID)
    for n in range(9):
        known.claims(token(store, jti=str(n)))
    assert len(known._known) == 3
