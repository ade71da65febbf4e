"""Listed programs: the one check that is theirs alone, and the search over them.

In: an author's record, texts of a searcher. Out: NotTheOrigin, or the programs found. The register
does not run or read a program: whoever takes one reads its manifest strictly, at its author.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from yunhe.catalog import store, tokens
from yunhe.catalog.errors import NotTheOrigin, RecordMalformed, SearchTooWide
from yunhe.catalog.model import Json, Program, Text
from yunhe.catalog.search import terms_of
from yunhe.identity import Peer
from yunhe.kernel import keys, limits
from yunhe.kernel.canonical import dumps, sha256_hex
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import YunheError

PROGRAM: Final = "app:"  # before the digest, in the local id of an entry
_TEXTS: Final = ("name", "version", "kind")


# (DID, JWS) -> the public key by which the one signed the other
SignerOf = Callable[[str, str], Mapping[str, Any]]


def check_signed(record: Json, peer: Peer, signer_of: SignerOf | None) -> None:
    """Raise NotTheOrigin unless `peer` is the manifest's author and signed it, and RecordMalformed
    unless the record is named after the manifest's digest.

    `signer_of` finds the author's key of then, where it was rotated since; it may fetch.
    """
    manifest = record.get("manifest")
    if not isinstance(manifest, dict) or not all(
        isinstance(said := manifest.get(name), str) and 0 < len(said) <= 64 for name in _TEXTS
    ):
        raise RecordMalformed(why="manifest has not name, version and kind")
    if record["local_id"] != PROGRAM + sha256_hex(manifest):
        raise RecordMalformed(why="local_id is not the digest of manifest")
    if manifest.get("author") != peer.did:
        raise NotTheOrigin
    try:
        jws = str(record.get("jws"))
        jwk: Mapping[str, Any] = peer.jwk
        if signer_of is not None and keys.jws_kid(jws) != jwk.get("kid"):
            jwk = signer_of(peer.did, jws)
        keys.verify_jws_detached(dict(jwk), jws, dumps(manifest))
    except YunheError as error:
        raise NotTheOrigin from error


class Programs:
    """The listed programs of one functional node."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(
        self, text: str, digest: str = "", limit: int = 20, offset: int = 0
    ) -> tuple[int, tuple[Program, ...]]:
        """How many match and a page of them, listed last first; `text` as for products, over names,
        titles, keywords and author. Of the CATALOG_PROGRAMS_MAX listed last. Raises SearchTooWide.
        """
        terms = terms_of(text, limit)
        if offset < 0:
            raise SearchTooWide(why="the offset is out of range")

        def read(tx: Tx) -> list[Program]:
            rows = store.listed_applications(tx, digest[:64], limits.CATALOG_PROGRAMS_MAX)
            return [_program(row) for row in rows if tokens.matches(terms, _texts(row.record))]

        found = self._db.read(read)
        return len(found), tuple(found[offset : offset + limit])


def _texts(record: Json) -> list[str]:
    manifest = record["manifest"]
    named = [manifest[name] for name in _TEXTS]
    shown = [record.get(name, "") for name in ("title_zh", "title_en", "provider_name")]
    return [*named, *shown, *record.get("keywords", ())]


def _program(row: Any) -> Program:
    record, manifest = row.record, row.record["manifest"]
    return Program(
        digest=row.code,
        name=manifest["name"],
        version=manifest["version"],
        kind=manifest["kind"],
        title=Text(record.get("title_zh", ""), record.get("title_en", "")),
        keywords=tuple(record.get("keywords", ())),
        author_did=row.origin_did,
        author_name=record.get("provider_name", ""),
        connector_code=row.origin_code,
        listed_at=row.updated_at,
    )
