"""Sealed streams: a governed Arrow stream encrypted shard by shard for one receiver's key.

In: the chunks of an Arrow IPC stream, the receiver's X25519 key. Out: another Arrow IPC stream of
as many rows, whose batches are ciphertext, so that it is counted, pushed, resumed and signed for
as any other. Format: docs/vault.md. Opening it gives back the same bytes, or nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.kernel.errors import YunheError
from yunhe.vault.errors import SealKeyInvalid, VaultBroken

Counted = Callable[[bytes], int]  # rows complete after these further bytes of the stream

_HEAD: Final = b"yunhe.sealed"
_END: Final = b"yunhe.manifest"
_WRAP: Final = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}
_TAG: Final = 16  # bytes that AES-GCM adds
_NONCE: Final = bytes(12)  # each shard has a key of its own, used once
_KIND: Final = pa.run_end_encoded(pa.int32(), pa.binary())


@dataclass(frozen=True)
class Facts:
    """What a sealed delivery says of itself, in clear."""

    contract_id: str
    use_id: str
    provider: str
    receiver: str
    key: str  # the receiver's public key, base64url

    def core(self) -> bytes:
        """The bytes that everything inside is bound to."""
        return dumps({"v": 1, **vars(self)})


def new_key() -> tuple[bytes, str]:
    """A key pair: the private part (32 bytes), and the public one in base64url."""
    private = X25519PrivateKey.generate()
    raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return raw, _text(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def check_key(key: str) -> None:
    """Raises SealKeyInvalid for what is no public key."""
    try:
        raw = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
    except (binascii.Error, ValueError) as error:
        raise SealKeyInvalid(str(error)) from error
    if len(raw) != 32 or _text(raw) != key:
        raise SealKeyInvalid


def seal(
    chunks: Iterable[bytes], facts: Facts, counted: Counted, sign: Callable[[bytes], str]
) -> Iterator[bytes]:
    """The sealed stream of a plain one; `sign` makes the provider's detached JWS.

    `counted` follows the rows of the plain stream. Raises SealKeyInvalid and what `chunks` raises.
    """
    secret, core = secrets.token_bytes(32), facts.core()
    bound = hashlib.sha256(core).digest()
    out = io.BytesIO()
    head = json.dumps({"core": core.decode(), "key": _wrap(secret, bound, facts.key)})
    schema = pa.schema([pa.field("shard", _KIND)], metadata={_HEAD: head.encode()})
    writer = pa.ipc.new_stream(out, schema)
    shards: list[list[Any]] = []
    whole, held, told, rows = hashlib.sha256(), bytearray(), 0, 0
    for chunk in chunks:
        rows = counted(chunk)
        whole.update(chunk)
        held += chunk
        if len(held) >= limits.VAULT_SHARD_BYTES and rows > told:
            writer.write_batch(_shard(secret, bound, shards, bytes(held), rows - told))
            told, held = rows, bytearray()
            yield _drain(out)
    if rows > told:
        writer.write_batch(_shard(secret, bound, shards, bytes(held), rows - told))
        held = bytearray()
    # What is left has no rows: the end mark of the plain stream, or all of one without rows.
    tail = _key(secret, len(shards)).encrypt(_NONCE, bytes(held), bound + b"tail")
    manifest = {
        "core": bound.hex(),
        "shards": shards,
        "rows": rows,
        "tail": _text(tail),
        "sha256": whole.hexdigest(),
    }
    text = dumps(manifest)
    end = dumps({"manifest": text.decode(), "jws": sign(text)})
    writer.write_batch(_batch(0, b""), custom_metadata={_END: end})
    writer.close()
    yield _drain(out)


def _shard(secret: bytes, bound: bytes, shards: list[list[Any]], plain: bytes, rows: int) -> Any:
    at = len(shards)
    sealed = _key(secret, at).encrypt(_NONCE, plain, bound + struct.pack(">QQ", at, rows))
    shards.append([rows, len(sealed), hashlib.sha256(sealed).hexdigest()])
    return _batch(rows, sealed)


def _batch(rows: int, sealed: bytes) -> Any:
    ends, values = ([rows], [sealed]) if rows else ([], [])
    run = pa.RunEndEncodedArray.from_arrays(
        pa.array(ends, pa.int32()), pa.array(values, pa.binary())
    )
    return pa.record_batch([run], schema=pa.schema([pa.field("shard", _KIND)]))


@dataclass(frozen=True)
class Manifest:
    """What the provider signed: `facts`, the shards as (rows, bytes, SHA-256), the totals."""

    facts: Facts
    shards: tuple[tuple[int, int, str], ...]
    rows: int
    tail: bytes
    sha256: str
    wrapped: str
    bound: bytes

    @property
    def plain_bytes(self) -> int:
        """How large the plain stream is: each part is longer by its tag."""
        return sum(size - _TAG for _, size, _ in self.shards) + len(self.tail) - _TAG


def examine(path: Path, verify: Callable[[str, bytes, str], object]) -> Manifest:
    """Read a sealed file through, decrypting nothing: every digest, and the signature.

    `verify(provider, payload, jws)` raises where it is not the provider's. Raises VaultBroken.
    """
    found: list[tuple[int, int, str]] = []
    end = b""
    try:
        with path.open("rb") as file:
            reader = pa.ipc.open_stream(file)
            head = loads_strict((reader.schema.metadata or {}).get(_HEAD, b""))
            for batch, told in _batches(reader):
                if told:
                    end = told
                else:
                    sealed = _sealed(batch)
                    digest = hashlib.sha256(sealed).hexdigest()
                    found.append((batch.num_rows, len(sealed), digest))
        said = loads_strict(end, limits.VAULT_MANIFEST_BYTES_MAX)
        facts, core = Facts(**_known(json.loads(head["core"]))), head["core"].encode()
        verify(facts.provider, said["manifest"].encode(), said["jws"])
        read = loads_strict(said["manifest"].encode(), limits.VAULT_MANIFEST_BYTES_MAX)
        bound = hashlib.sha256(core).digest()
        shards = tuple((int(rows), int(size), str(digest)) for rows, size, digest in read["shards"])
        if read["core"] != bound.hex() or facts.core() != core or list(shards) != found:
            raise VaultBroken(why="a shard differs", why_zh="分片不符")
        tail = base64.urlsafe_b64decode(read["tail"] + "==")
        total, digest = int(read["rows"]), str(read["sha256"])
        return Manifest(facts, shards, total, tail, digest, str(head["key"]), bound)
    except VaultBroken:
        raise
    except (YunheError, pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise VaultBroken(str(error), why="it cannot be read", why_zh="无法读取") from error


def _known(core: dict[str, Any]) -> dict[str, str]:
    if core.pop("v", None) != 1:
        raise VaultBroken(why="its version is unknown", why_zh="版本未知")
    return {name: str(value) for name, value in core.items()}


def _batches(reader: Any) -> Iterator[tuple[Any, bytes]]:
    while True:
        try:
            batch, said = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return
        batch.validate(full=True)
        yield batch, b"" if said is None else said.get(_END, b"")


def _sealed(batch: Any) -> bytes:
    run = batch.column(0)
    if len(run.values) != 1 or not batch.num_rows:
        raise VaultBroken(why="a shard is none", why_zh="分片无效")
    return bytes(run.values[0].as_py())


def unseal(path: Path, manifest: Manifest, private: bytes) -> Iterator[bytes]:
    """The plain stream of an examined file, shard by shard; raises VaultBroken.

    No byte of a shard is given before the whole shard was authenticated.
    """
    secret = _unwrap(manifest, private)
    try:
        with path.open("rb") as file:
            at = 0
            for batch, told in _batches(pa.ipc.open_stream(file)):
                if told:
                    break
                bound = manifest.bound + struct.pack(">QQ", at, batch.num_rows)
                yield _key(secret, at).decrypt(_NONCE, _sealed(batch), bound)
                at += 1
        if at != len(manifest.shards):
            raise VaultBroken(why="shards are missing", why_zh="分片缺失")
        yield _key(secret, at).decrypt(_NONCE, manifest.tail, manifest.bound + b"tail")
    except (InvalidTag, pa.ArrowException, OSError) as error:
        raise VaultBroken(str(error), why="a shard does not open", why_zh="分片无法解密") from error


def _wrap(secret: bytes, bound: bytes, key: str) -> str:
    check_key(key)
    try:
        public = OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": key})
        return str(jwe.encrypt_compact(dict(_WRAP), secret + bound, public))
    except (JoseError, ValueError) as error:
        raise SealKeyInvalid(str(error)) from error


def _unwrap(manifest: Manifest, private: bytes) -> bytes:
    whole: dict[str, str | list[str]] = {
        "kty": "OKP",
        "crv": "X25519",
        "x": manifest.facts.key,
        "d": _text(private),
    }
    try:
        opened = jwe.decrypt_compact(manifest.wrapped, OKPKey.import_key(whole)).plaintext or b""
    except (JoseError, ValueError) as error:
        raise VaultBroken(str(error), why="its key does not open", why_zh="密钥无法解封") from error
    if len(opened) != 64 or opened[32:] != manifest.bound:
        raise VaultBroken(why="its key is another's", why_zh="密钥不属于该交付")
    return opened[:32]


def _key(secret: bytes, at: int) -> AESGCM:
    info = b"yunhe vault shard" + struct.pack(">Q", at)
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=info).derive(secret))


def _drain(out: io.BytesIO) -> bytes:
    made = out.getvalue()
    out.seek(0)
    out.truncate(0)
    return made


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
