"""The log as anybody reads it over HTTP: its root can be recomputed, and nothing else is told."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest

from api.conftest import Lone, problem
from yunhe.evidence import TlogProof
from yunhe.evidence.note import BadNote, VerifierKey, open_checkpoint


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, read off the page: the tree's own code is not asked."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(leaves[:cut]) + root_of(leaves[cut:])).digest()


def bundle(content: bytes) -> list[bytes]:
    """The entries of a bundle: each behind its length in two bytes (C2SP tlog-tiles)."""
    found = []
    while content:
        (length,) = struct.unpack(">H", content[:2])
        found.append(content[2 : 2 + length])
        content = content[2 + length :]
    return found


def test_a_stranger_recomputes_the_root_from_the_files(lone: Lone) -> None:
    made = [lone.node.identity.create_token(f"reader-{n}", ("auditor",))[0] for n in range(9)]
    key = VerifierKey.parse(lone.call("GET", "/log/vkey", role="").text.strip())
    answer = lone.call("GET", "/log/checkpoint", role="")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    head = open_checkpoint(answer.text, key)
    entries = lone.call("GET", f"/log/tile/entries/000.p/{head.size}", role="")
    leaves = bundle(entries.content)
    assert len(leaves) == head.size >= len(made)
    assert root_of(leaves) == head.root
    hashes = lone.call("GET", f"/log/tile/0/000.p/{head.size}", role="").content
    assert hashes == b"".join(hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves)
    assert b"reader-" not in entries.content  # commitments; names and bodies stay at home
    for path in (f"tile/0/000.p/{head.size + 1}", "tile/0/000", "tile/1/000", "node.db", ""):
        assert problem(lone.call("GET", f"/log/{path}", role=""))["status"] == 404


def test_a_proof_is_a_file_that_other_verifiers_read(lone: Lone) -> None:
    for number in range(3):
        lone.node.identity.create_token(f"prover-{number}", ("auditor",))
    listed = lone.call("GET", "/evidence/entries?limit=3", "auditor").json()["items"]
    key = VerifierKey.parse(lone.call("GET", "/evidence/checkpoint", "auditor").json()["vkey"])
    for each in listed:
        told = lone.call("GET", f"/evidence/entries/{each['entry_id']}/proof", "auditor").json()
        text = told["tlog_proof"]
        lines = text.partition("\n\n")[0].split("\n")
        assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {each['index']}"]
        assert [base64.b64decode(line).hex() for line in lines[2:]] == told["hashes"]
        proof = TlogProof.parse(text)
        assert proof.verify(told["entry"].encode(), key).size == told["size"]
        with pytest.raises(ValueError, match=r"."):
            proof.verify(told["entry"].encode() + b" ", key)
    with pytest.raises(BadNote):
        TlogProof.parse(text).verify(told["entry"].encode(), VerifierKey(key.name, b"\x01" * 32))
