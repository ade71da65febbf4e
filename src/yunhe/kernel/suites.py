"""Signature suites by name: Ed25519, and ES256 (P-256) for peers that speak nothing else.

In: JWKs, messages, signatures. Out: whether they belong together, and ES256 signing keys. Which
`alg` a token may name follows from its key, never the other way round (RFC 8725 §3.1).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps

# The names of RFC 8037 and RFC 9864 mean one suite; nothing else is ever accepted.
ALGORITHMS: Final = {"Ed25519": "Ed25519", "EdDSA": "Ed25519", "ES256": "ES256"}
_MEMBERS: Final = {"Ed25519": ("crv", "kty", "x"), "ES256": ("crv", "kty", "x", "y")}

Jwk = dict[str, Any]


class KeyRefused(ValueError):
    """The JWK is of no suite we use, or malformed."""


class Signer(Protocol):
    """A private key of some suite."""

    @property
    def kid(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def now(self) -> Signer: ...
    def public_jwk(self) -> Jwk: ...
    def public_of(self, kid: object, /) -> Jwk: ...
    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class Es256Key:
    """A P-256 private key with its purpose; `kid` is the RFC 7638 thumbprint."""

    purpose: str
    private: ec.EllipticCurvePrivateKey
    kid: str
    algorithm: str = "ES256"

    def public_jwk(self) -> Jwk:
        """The public JWK: kty, crv, x, y, kid."""
        return {**_jwk_of(self.private.public_key()), "kid": self.kid}

    def sign(self, message: bytes) -> bytes:
        """64 bytes, r and s (RFC 7518 §3.4)."""
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    @property
    def now(self) -> Es256Key:
        """The key as it stands: what names it and what signs must be one and the same."""
        return self

    def public_of(self, _kid: object) -> Jwk:
        """The public JWK that verifies what this key signed under the name `_kid`."""
        return self.public_jwk()


class CurrentSigner:
    """The key of a purpose as it stands now: a rotation changes it under whoever holds it.

    Take `now` where more than one member is read; each alone may be of another key.
    """

    algorithm = "ES256"

    def __init__(self, held: Es256Key) -> None:
        self.now = held
        self._earlier: tuple[Jwk, ...] = ()

    def become(self, held: Es256Key) -> None:
        """Every use from here on is of `held`; the key before still verifies, by `public_of`."""
        self._earlier = (self.public_jwk(), *self._earlier)[: limits.EARLIER_KEYS_MAX]
        self.now = held

    @property
    def kid(self) -> str:
        """The RFC 7638 thumbprint."""
        return self.now.kid

    def public_jwk(self) -> Jwk:
        """The public JWK: kty, crv, x, y, kid."""
        return self.now.public_jwk()

    def public_of(self, kid: object) -> Jwk:
        """The key named `kid`, if it was one before a rotation; else the present one."""
        return next((jwk for jwk in self._earlier if jwk["kid"] == kid), self.public_jwk())

    def sign(self, message: bytes) -> bytes:
        """64 bytes, r and s (RFC 7518 §3.4)."""
        return self.now.sign(message)


def es256(purpose: str, private: ec.EllipticCurvePrivateKey) -> Es256Key:
    """The signing key of a P-256 private key; raises KeyRefused for another curve."""
    if not isinstance(private.curve, ec.SECP256R1):
        raise KeyRefused("not P-256")
    return Es256Key(purpose, private, public(_jwk_of(private.public_key()))["kid"])


def suite_of(jwk: Jwk) -> str:
    """The suite a JWK is of; raises KeyRefused."""
    match jwk.get("kty"), jwk.get("crv"):
        case "OKP", "Ed25519":
            return "Ed25519"
        case "EC", "P-256":
            return "ES256"
    raise KeyRefused("the key is neither Ed25519 nor P-256")


def public(jwk: Jwk) -> Jwk:
    """The members we use of a public JWK, with its thumbprint as kid; raises KeyRefused."""
    suite = suite_of(jwk)
    made = {name: jwk.get(name) for name in _MEMBERS[suite]}
    _import(made)
    digest = hashlib.sha256(dumps(made)).digest()
    return {**made, "kid": _text(digest)}


def verify(jwk: Jwk, algorithm: object, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` is by `jwk`, and `algorithm` is one of its suite."""
    if not isinstance(algorithm, str) or ALGORITHMS.get(algorithm) != suite_of(jwk):
        return False
    if len(signature) != 64:
        return False
    key = _import(jwk)
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def jwt(key: Signer, claims: dict[str, Any], kid: str, typ: str = "JWT") -> str:
    """A compact JWT by a key of any suite; the payload is canonical."""
    key = key.now
    header = {"alg": key.algorithm, "kid": kid, "typ": typ}
    return compact(header, dumps(claims), key.sign)


def compact(header: dict[str, str], payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS (RFC 7515 §7.1); `header` is the caller's word for what `sign` makes."""
    signed = f"{_text(dumps(header))}.{_text(payload)}"
    return f"{signed}.{_text(sign(signed.encode()))}"


def _import(jwk: Jwk) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
    try:
        if suite_of(jwk) == "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"]))
        x, y = (int.from_bytes(_bytes(jwk[name]), "big") for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeyRefused("the key is malformed") from error


def _jwk_of(key: ec.EllipticCurvePublicKey) -> Jwk:
    numbers = key.public_numbers()
    x, y = (_text(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _bytes(text: str) -> bytes:
    found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(found) != 32 or _text(found) != text:
        raise KeyRefused("a coordinate is not 32 bytes of base64url")
    return found


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
