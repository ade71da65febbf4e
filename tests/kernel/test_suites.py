"""Suites: each key verifies its own algorithm and no other; malformed keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yunhe.kernel import suites
from yunhe.kernel.keys import KeyStore


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path)


def test_both_suites_sign_and_verify(store: KeyStore) -> None:
    for key in (store.key("did"), store.es256("dcp")):
        signature = key.sign(b"words")
        assert len(signature) == 64
        assert suites.verify(key.public_jwk(), key.algorithm, b"words", signature)
        assert not suites.verify(key.public_jwk(), key.algorithm, b"other", signature)
        assert not suites.verify(key.public_jwk(), key.algorithm, b"words", signature[:-1])


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256", "ES384", "ed25519", None, 1])
def test_no_other_algorithm_is_ever_accepted(store: KeyStore, algorithm: Any) -> None:
    key = store.es256("dcp")
    assert not suites.verify(key.public_jwk(), algorithm, b"words", key.sign(b"words"))


def test_the_algorithm_must_be_of_the_key(store: KeyStore) -> None:
    key = store.es256("dcp")
    assert not suites.verify(key.public_jwk(), "EdDSA", b"words", key.sign(b"words"))
    other = store.key("did")
    assert not suites.verify(other.public_jwk(), "ES256", b"words", other.sign(b"words"))
    assert suites.verify(other.public_jwk(), "Ed25519", b"words", other.sign(b"words"))


@pytest.mark.parametrize(
    "changed",
    [
        {"x": "AA"},
        {"x": None},
        {"y": "!"},
        {"crv": "P-384"},
        {"kty": "RSA"},
        {"y": "A" * 43},  # not on the curve
    ],
)
def test_malformed_keys_are_refused(store: KeyStore, changed: dict[str, Any]) -> None:
    jwk = {**store.es256("dcp").public_jwk(), **changed}
    with pytest.raises(suites.KeyRefused):
        suites.public(jwk)


def test_the_key_stays_the_same_and_its_file_is_private(store: KeyStore, tmp_path: Path) -> None:
    assert store.es256("dcp").kid == store.es256("dcp").kid
    assert (tmp_path / "dcp.es256.pem").stat().st_mode & 0o777 == 0o600


def test_a_prepared_key_waits_until_it_is_promoted(store: KeyStore) -> None:
    old = store.es256("dcp").kid
    new = store.prepare("dcp", "ES256").kid
    assert store.prepare("dcp", "ES256").kid == new
    assert store.es256("dcp").kid == old
    store.promote("dcp", "ES256")
    assert store.es256("dcp").kid == new
    assert not store.prepared("dcp", "ES256")
