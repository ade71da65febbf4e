"""JWS with Ed25519 for the offline verifier: the standard library and `cryptography` only.

In: compact JWS text, a public JWK. Out: the payload, once it verifies, or BadJws. Strict: one
text for one value, so that no character of a signature can change unseen (RFC 7515 §7.1).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.kernel.errors import YunheError

ALGORITHM: Final = "Ed25519"  # RFC 9864
ACCEPTED: Final = (ALGORITHM, "EdDSA")  # the same algorithm by its name in RFC 8037


class BadJws(ValueError):
    """A signature that is malformed or does not verify."""


class Signer(Protocol):
    """What signs: `kernel.keys.SigningKey` does."""

    @property
    def kid(self) -> str:
        """The key's id."""
        ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519."""
        ...


def encode(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Strict base64url without padding; raises BadJws for a second spelling of a value."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadJws("not base64url") from error
    if encode(raw) != text:
        raise BadJws("not canonical base64url")
    return raw


def sign(payload: bytes, signer: Signer) -> str:
    """A compact JWS that carries its payload."""
    header = encode(dumps({"alg": ALGORITHM, "kid": signer.kid}))
    signed = f"{header}.{encode(payload)}"
    return f"{signed}.{encode(signer.sign(signed.encode()))}"


def public_key(jwk: Any) -> Ed25519PublicKey:
    """The Ed25519 key of a JWK; raises BadJws."""
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        raise BadJws("not an Ed25519 JWK")
    try:
        return Ed25519PublicKey.from_public_bytes(decode(jwk.get("x", "")))
    except (ValueError, TypeError) as error:
        raise BadJws("not an Ed25519 JWK") from error


def verify(jwk: Any, compact: str) -> bytes:
    """The payload of a compact JWS by the key of `jwk`; raises BadJws."""
    header, payload, signature = parts(compact)
    _verify(jwk, header, payload, signature)
    return decode(payload)


def verify_detached(jwk: Any, compact: str, payload: bytes) -> None:
    """Raise BadJws unless `compact` (payload left out, RFC 7515 App. F) signs `payload`."""
    header, absent, signature = parts(compact)
    if absent:
        raise BadJws("the payload is not detached")
    _verify(jwk, header, encode(payload), signature)


def claims_of(compact: str) -> dict[str, Any]:
    """The claims of a JWT as they stand, unverified: only to find the key."""
    return _object(parts(compact)[1])


def parts(compact: str) -> tuple[str, str, str]:
    """Header, payload, signature of a compact JWS, still encoded."""
    found = compact.split(".")
    if len(found) != 3:
        raise BadJws("a compact JWS has three parts")
    return found[0], found[1], found[2]


def _verify(jwk: Any, header: str, payload: str, signature: str) -> None:
    said = _object(header)
    if said.get("alg") not in ACCEPTED or "crit" in said or said.get("b64", True) is not True:
        raise BadJws("the algorithm is not acceptable")
    try:
        public_key(jwk).verify(decode(signature), f"{header}.{payload}".encode())
    except InvalidSignature as error:
        raise BadJws("not by this key over these bytes") from error


def _object(encoded: str) -> dict[str, Any]:
    try:
        found = loads_strict(decode(encoded))
    except YunheError as error:
        raise BadJws("not JSON") from error
    if not isinstance(found, dict):
        raise BadJws("not a JSON object")
    return found
