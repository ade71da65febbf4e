"""A signature counts only by a well-formed Ed25519 key; anything else in a JWK is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from yunhe.kernel import keys
from yunhe.kernel.keys import BadSignature

KEY = Ed25519PrivateKey.generate()
X = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
JWK = {"kty": "OKP", "crv": "Ed25519", "x": X}


def test_the_signature_of_the_key_and_no_other() -> None:
    signature = KEY.sign(b"said")
    assert keys.verify(JWK, b"said", signature)
    assert not keys.verify(JWK, b"other", signature)
    assert not keys.verify(JWK, b"said", signature[:-1])
    assert not keys.verify(JWK, b"said", b"")
    other = Ed25519PrivateKey.generate().sign(b"said")
    assert not keys.verify(JWK, b"said", other)


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "EC"},
        {"crv": "X25519"},
        {"x": None},
        {"x": 1},
        {"x": ""},
        {"x": X[:-1]},
        {"x": X + "="},
        {"x": X + "A"},
        {"x": X + "\n"},
        {"x": "+" + X[1:]},
        {"x": "é" + X[1:]},
    ],
)
def test_a_malformed_key_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadSignature):
        keys.verify({**JWK, **change}, b"said", KEY.sign(b"said"))
