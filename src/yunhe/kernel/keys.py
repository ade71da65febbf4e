"""Keys and signatures: keys by purpose on disk (Ed25519, ES256 by name), detached JWS, JWT.

In: a directory only the node may read. Out: signing keys, and verification of others' signatures
from public JWKs. Primitives come from `cryptography`, token formats from `joserfc`. Between our
own nodes everything is Ed25519; kernel.suites has what foreign peers need beside it.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from yunhe.kernel import limits, suites
from yunhe.kernel.canonical import dumps
from yunhe.kernel.durable import make_once
from yunhe.kernel.errors import Internal, Unauthenticated

ED25519: Final = "Ed25519"  # the JOSE name of RFC 9864, which we write unless told otherwise
EDDSA: Final = "EdDSA"  # the name of RFC 8037, which peers of before RFC 9864 know
ALGORITHMS: Final = (ED25519, EDDSA)  # one algorithm under two names; nothing else is accepted
PURPOSES: Final = ("did", "seal", "log", "tls")
ES256_PURPOSES: Final = ("dcp",)  # what foreign peers must be able to verify

_SECRET_BYTES: Final = 32

Jwk = dict[str, Any]


def _registry() -> jws.JWSRegistry:
    """Ed25519 under both its names, and nothing else of what joserfc registers.

    The `EdDSA` of joserfc itself takes Ed448 too, and warns at every call.
    """
    made = jws.JWSRegistry(algorithms=ALGORITHMS)
    made.algorithms = {}
    for name in ALGORITHMS:
        made.algorithms[name] = copy(jws.JWSRegistry.algorithms[ED25519])
        made.algorithms[name].name = name
    return made


_REGISTRY: Final = _registry()
_X: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url, unpadded (RFC 8037)


class BadSignature(Unauthenticated):
    code = "BAD_SIGNATURE"
    en = "The signature does not verify: {why}."
    zh = "签名验证不通过：{why}。"
    mend_en = "Send the document as it was signed, by the key that is registered."
    mend_zh = "请发送签名时的原始文件，并使用已登记的密钥。"


class KeyUnreadable(Internal):
    code = "KEY_UNREADABLE"
    en = "The key for {purpose} cannot be read."
    zh = "无法读取用途为 {purpose} 的密钥。"
    mend_en = "Restore the keys folder from a backup and make it readable by the node alone."
    mend_zh = "请从备份恢复密钥目录，并仅允许节点进程读取。"


JoseName = Callable[[str], str]  # a peer's DID -> the name of ALGORITHMS that it reads


@dataclass(frozen=True)
class SigningKey:
    """One private key with its purpose; `kid` is the RFC 7638 thumbprint of its public part."""

    purpose: str
    private: Ed25519PrivateKey
    kid: str
    algorithm: str = EDDSA  # the JOSE name foreign peers know (RFC 8037)

    @cached_property
    def _public(self) -> OKPKey:
        return _okp(self.private.public_key())

    @cached_property
    def _raw(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def public_raw(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._raw

    def public_jwk(self) -> Jwk:
        """The public JWK: kty, crv, x, kid."""
        return {**self._public.as_dict(private=False), "kid": self.kid}

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 over `message`."""
        return self.private.sign(message)

    @property
    def now(self) -> SigningKey:
        """The key as it stands: what names it and what signs must be one and the same."""
        return self

    def public_of(self, _kid: object) -> Jwk:
        """The public JWK that verifies what this key signed under the name `_kid`."""
        return self.public_jwk()


class CurrentKey(SigningKey):
    """The key of a purpose as it stands now: a rotation changes it under whoever holds it.

    Take `now` where more than one member is read; each alone may be of another key.
    """

    def __init__(self, held: SigningKey) -> None:
        object.__setattr__(self, "_held", held)
        object.__setattr__(self, "_earlier", ())

    def become(self, held: SigningKey) -> None:
        """Every use from here on is of `held`; the key before still verifies, by `public_of`."""
        earlier: tuple[Jwk, ...] = self._earlier  # type: ignore[attr-defined]
        kept = (self.now.public_jwk(), *earlier)[: limits.EARLIER_KEYS_MAX]
        object.__setattr__(self, "_earlier", kept)
        object.__setattr__(self, "_held", held)

    def public_of(self, kid: object) -> Jwk:
        """The key named `kid`, if it was one before a rotation; else the present one."""
        earlier: tuple[Jwk, ...] = self._earlier  # type: ignore[attr-defined]
        return next((jwk for jwk in earlier if jwk["kid"] == kid), self.public_jwk())

    @property
    def now(self) -> SigningKey:
        """The key as it stands."""
        held: SigningKey = self._held  # type: ignore[attr-defined]
        return held

    @property
    def purpose(self) -> str:
        return self.now.purpose

    @property
    def private(self) -> Ed25519PrivateKey:
        return self.now.private

    @property
    def kid(self) -> str:
        return self.now.kid

    def public_raw(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.now.public_raw()

    def public_jwk(self) -> Jwk:
        """The public JWK: kty, crv, x, kid."""
        return self.now.public_jwk()

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 over `message`."""
        return self.now.sign(message)


class KeyStore:
    """The keys folder of one node: `<purpose>.pem`, mode 0600, made on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._keys: dict[str, CurrentKey] = {}
        self._es256: dict[str, suites.CurrentSigner] = {}

    def key(self, purpose: str) -> SigningKey:
        """The current Ed25519 key of `purpose`, and after a `promote` of this store the next one.

        Raises KeyUnreadable; a second one is never made silently.
        """
        with self._lock:
            read = self._ed25519(purpose)
            held = self._keys.setdefault(purpose, CurrentKey(read))
            if held.kid != read.kid:
                held.become(read)
            return held

    def es256(self, purpose: str) -> suites.CurrentSigner:
        """The current ES256 key of `purpose` (`<purpose>.es256.pem`), as `key`."""
        with self._lock:
            read = self._read_es256(purpose)
            held = self._es256.setdefault(purpose, suites.CurrentSigner(read))
            if held.kid != read.kid:
                held.become(read)
            return held

    def _ed25519(self, purpose: str) -> SigningKey:
        private = self._load(purpose, "Ed25519")
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyUnreadable(detail="not Ed25519", purpose=purpose)
        return SigningKey(purpose, private, _okp(private.public_key()).thumbprint())

    def _read_es256(self, purpose: str) -> suites.Es256Key:
        private = self._load(purpose, "ES256")
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise KeyUnreadable(detail="not P-256", purpose=purpose)
        try:
            return suites.es256(purpose, private)
        except suites.KeyRefused as error:
            raise KeyUnreadable(detail=str(error), purpose=purpose) from error

    def prepare(self, purpose: str, suite: str) -> suites.Signer:
        """The key that `promote` will make the current one; made at the first call."""
        path = self._next(purpose, suite)
        if not path.exists():
            self._create(path, suite)
        return _signer(purpose, _read(path, purpose))

    def promote(self, purpose: str, suite: str) -> None:
        """Put the prepared key in the place of the current one, whose private part is gone.

        Who holds the key of this store signs with the new one from here on.
        """
        with self._lock:
            self._next(purpose, suite).replace(self._path(purpose, suite))
        _ = self.key(purpose) if suite == "Ed25519" else self.es256(purpose)

    def prepared(self, purpose: str, suite: str) -> bool:
        """Whether a key waits for `promote`."""
        return self._next(purpose, suite).exists()

    def _load(self, purpose: str, suite: str) -> object:
        if purpose not in (PURPOSES if suite == "Ed25519" else ES256_PURPOSES):
            raise KeyUnreadable(purpose=purpose)
        path = self._path(purpose, suite)
        if not path.exists():
            self._create(path, suite)
        return _read(path, purpose)

    def _path(self, purpose: str, suite: str) -> Path:
        return self._folder / f"{purpose}{'' if suite == 'Ed25519' else '.es256'}.pem"

    def _next(self, purpose: str, suite: str) -> Path:
        return self._path(purpose, suite).with_suffix(".next")

    def _create(self, path: Path, suite: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
        if suite == "Ed25519":
            made = Ed25519PrivateKey.generate()
        else:
            made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        make_once(path, pem)


def secret_file(path: Path) -> bytes:
    """32 bytes made on first use, mode 0600; raises KeyUnreadable where there are others."""
    if not path.exists():
        make_once(path, secrets.token_bytes(_SECRET_BYTES))
    found = path.read_bytes()
    if len(found) != _SECRET_BYTES:  # what is derived from half a secret can be guessed
        raise KeyUnreadable(detail=f"{len(found)} bytes", purpose=path.stem)
    return found


def _read(path: Path, purpose: str) -> object:
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise KeyUnreadable(detail=str(error), purpose=purpose) from error


def _signer(purpose: str, private: object) -> suites.Signer:
    if isinstance(private, Ed25519PrivateKey):
        return SigningKey(purpose, private, _okp(private.public_key()).thumbprint())
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return suites.es256(purpose, private)
    raise KeyUnreadable(purpose=purpose)


def _okp(public: Ed25519PublicKey) -> OKPKey:
    return OKPKey.import_key(public)


def thumbprint(jwk: Jwk) -> str:
    """RFC 7638 thumbprint of a public JWK; raises BadSignature for what is no Ed25519 key."""
    return _import(jwk).thumbprint()


def _import(jwk: Jwk) -> OKPKey:
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise BadSignature(why="the key is not Ed25519")
    try:
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]})
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise BadSignature(detail=str(error), why="the key is malformed") from error


def verify(jwk: Jwk, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is by the key of `jwk`."""
    try:
        _public(jwk).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _public(jwk: Jwk) -> Ed25519PublicKey:
    """The key alone, for a tenth of what `_import` costs: every message of a peer asks for it."""
    x = jwk.get("x")
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise BadSignature(why="the key is not Ed25519")
    if not isinstance(x, str) or not _X.fullmatch(x):
        raise BadSignature(why="the key is malformed")
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(f"{x}="))


def own_name(_peer: str) -> str:
    """The JOSE name we write where nothing is known of the peer."""
    return ED25519


def jws_detached(key: SigningKey, payload: bytes, algorithm: str = ED25519) -> str:
    """A compact JWS over `payload` with the payload left out (RFC 7515 Appendix F).

    `algorithm` is the JOSE name to write, one of ALGORITHMS.
    """
    key = key.now
    made = suites.compact({"alg": algorithm, "kid": key.kid}, payload, key.sign)
    header, _, signature = made.split(".")
    return f"{header}..{signature}"


def jws_kid(compact: str) -> str | None:
    """The name of the key in a JWS header that nobody has verified; None where none is read."""
    if len(compact) > limits.JWS_BYTES_MAX:
        return None
    head = compact.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return None
    kid = header.get("kid") if isinstance(header, dict) else None
    return kid if isinstance(kid, str) else None


def verify_jws_detached(jwk: Jwk, compact: str, payload: bytes) -> dict[str, Any]:
    """The protected header of a detached JWS that verifies over `payload`; else BadSignature."""
    if len(compact) > limits.JWS_BYTES_MAX:
        raise BadSignature(why="the signature is too long")
    try:
        found = jws.deserialize_compact(compact, _import(jwk), payload=payload, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError) as error:
        raise BadSignature(detail=str(error), why="not by this key over these bytes") from error
    return dict(found.protected)


def jwt(
    key: SigningKey,
    claims: dict[str, Any],
    typ: str = "JWT",
    kid: str | None = None,
    algorithm: str = ED25519,
) -> str:
    """A signed JWT; the payload is canonical, so equal claims give equal bytes.

    `algorithm` is the JOSE name to write, one of ALGORITHMS.
    """
    key = key.now
    header = {"alg": algorithm, "typ": typ, "kid": kid or key.kid}
    return suites.compact(header, dumps(claims), key.sign)


def read_jwt(
    token: str, jwk_for: Callable[[dict[str, Any], dict[str, Any]], Jwk]
) -> dict[str, Any]:
    """The claims of a JWT whose signature verifies by `jwk_for(header, claims)`.

    The claims are shown to `jwk_for` before they are verified, only to find the key. Times,
    audience and issuer are the caller's to check. Raises BadSignature.
    """
    if len(token) > limits.JWS_BYTES_MAX:
        raise BadSignature(why="the token is too long")
    try:
        draft = jws.extract_compact(token.encode())
        header, claims = draft.headers(), json.loads(draft.payload)
        if not isinstance(claims, dict) or header.get("alg") not in ALGORITHMS:
            raise BadSignature(why="the algorithm or the claims are not acceptable")
        jws.deserialize_compact(token, _import(jwk_for(header, claims)), registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise BadSignature(detail=str(error), why="the token does not verify") from error
    return claims
