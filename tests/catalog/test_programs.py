"""Whose program a record is: its author's, whatever key it has signed with since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yunhe.catalog import NotTheOrigin
from yunhe.catalog.programs import PROGRAM, check_signed
from yunhe.identity import Peer
from yunhe.kernel.canonical import dumps, sha256_hex
from yunhe.kernel.keys import KeyStore, SigningKey, jws_detached, jws_kid

AUTHOR = "did:web:author.example"


def signed(key: SigningKey) -> dict[str, Any]:
    manifest = {"name": "risk", "version": "1.0", "kind": "sql", "author": AUTHOR}
    local_id = PROGRAM + sha256_hex(manifest)
    return {"local_id": local_id, "manifest": manifest, "jws": jws_detached(key, dumps(manifest))}


def author(key: SigningKey) -> Peer:
    return Peer(AUTHOR, True, "", "", "", key.public_jwk())


@pytest.fixture
def keys(tmp_path: Path) -> list[SigningKey]:
    return [KeyStore(tmp_path / name).key("did") for name in ("before", "now", "another")]


def test_a_program_signed_before_a_rotation_is_still_its_authors(keys: list[SigningKey]) -> None:
    before, now, another = keys
    known = {key.kid: key.public_jwk() for key in (before, now)}
    asked: list[str] = []

    def signer_of(did: str, jws: str) -> Any:
        asked.append(did)
        return known.get(str(jws_kid(jws)), now.public_jwk())

    check_signed(signed(now), author(now), signer_of)
    assert asked == []  # the key of its token: nobody need be asked
    check_signed(signed(before), author(now), signer_of)
    assert asked == [AUTHOR]
    with pytest.raises(NotTheOrigin):
        check_signed(signed(another), author(now), signer_of)
