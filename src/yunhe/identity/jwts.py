"""Reading compact JWTs from strangers: one spelling per token, nothing trusted before its key.

In: token text. Out: its parts, unverified; then claims, verified. Base64url is read strictly,
so a token has exactly one text: changing any character changes what is verified.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from yunhe.identity.model import Jwk
from yunhe.kernel import canonical, keys, limits, suites
from yunhe.kernel.errors import YunheError

_JSON_DEPTH_MAX: Final = 16


class JwtUnreadable(ValueError):
    """The text is no JWT; the message says which part."""


@dataclass(frozen=True)
class Draft:
    """A JWT as read, before any signature was checked."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def algorithm_accepted(self) -> bool:
        """Whether `alg` is of the allow-list; `none` and HMAC are not, whatever the case."""
        return self.header.get("alg") in keys.ALGORITHMS

    def signed_by(self, jwk: Jwk) -> bool:
        """Whether the signature is by `jwk` over exactly the bytes received."""
        try:
            return keys.verify(jwk, self.signed, self.signature)
        except keys.BadSignature:
            return False

    @property
    def suite_known(self) -> bool:
        """Whether `alg` names a suite that foreign peers may use (kernel.suites)."""
        return str(self.header.get("alg")) in suites.ALGORITHMS

    def verifies(self, jwk: Jwk) -> bool:
        """As `signed_by`, for a key of any suite; `alg` must be of the suite of the key."""
        try:
            return suites.verify(jwk, self.header.get("alg"), self.signed, self.signature)
        except suites.KeyRefused:
            return False


def read(token: str, bytes_max: int = limits.SI_TOKEN_BYTES_MAX) -> Draft:
    """Split and decode a compact JWS (RFC 7515 §7.1) strictly; raises JwtUnreadable."""
    if len(token) > bytes_max:
        raise JwtUnreadable("it is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise JwtUnreadable("it has not three parts")
    header, claims = _object(parts[0], "header"), _object(parts[1], "payload")
    if "crit" in header or header.get("b64", True) is not True:
        raise JwtUnreadable("its header demands an extension")
    return Draft(header, claims, f"{parts[0]}.{parts[1]}".encode(), _decode(parts[2], "signature"))


def text(claims: dict[str, Any], name: str) -> str:
    """A claim that must be non-empty text; raises JwtUnreadable."""
    value = claims.get(name)
    if not isinstance(value, str) or not value or len(value) > limits.DID_CHARS_MAX:
        raise JwtUnreadable(f"the claim {name} is missing or not text")
    return value


def seconds(claims: dict[str, Any], name: str) -> float:
    """A NumericDate claim (RFC 7519 §2) within the years 1970–9999; raises JwtUnreadable."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise JwtUnreadable(f"the claim {name} is missing or not a number")
    if not 0 <= value < 253_402_300_800:
        raise JwtUnreadable(f"the claim {name} is out of range")
    return float(value)


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        found = canonical.loads_strict(_decode(part, name), depth_max=_JSON_DEPTH_MAX)
    except YunheError as error:
        raise JwtUnreadable(f"its {name} is not JSON") from error
    if not isinstance(found, dict):
        raise JwtUnreadable(f"its {name} is not an object")
    return found


def _decode(part: str, name: str) -> bytes:
    try:
        found = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise JwtUnreadable(f"its {name} is not base64url") from error
    # The decoder skips foreign characters and ignores spare bits: two texts, one token.
    if base64.urlsafe_b64encode(found).rstrip(b"=") != part.encode():
        raise JwtUnreadable(f"its {name} is not base64url")
    return found
