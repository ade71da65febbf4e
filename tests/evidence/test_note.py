"""Signed notes, checkpoints and proofs as text; fixtures were made by other implementations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.evidence import merkle
from yunhe.evidence.merkle import BadProof
from yunhe.evidence.note import (
    BadNote,
    Checkpoint,
    VerifierKey,
    open_checkpoint,
    open_note,
    sign_note,
    verifier_key,
)
from yunhe.evidence.proof import TlogProof
from yunhe.kernel.keys import SigningKey

FIXTURES = Path(__file__).parent / "fixtures"


def _pairs(name: str) -> list[tuple[str, str]]:
    """Blocks of a fixture file: `--- verdict`, then the text."""
    blocks = (FIXTURES / name).read_text(encoding="utf-8").split("--- ")[1:]
    return [(head, text) for head, _, text in (block.partition("\n") for block in blocks)]


def test_the_vkey_and_note_of_gos_own_tests() -> None:
    """golang.org/x/mod/sumdb/note: key PeterNeumann and its example note."""
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert str(key) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    note = text + (
        "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfq"
        "dngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert open_note(note, [key], only_trusted=True) == text


@pytest.mark.parametrize(("verdict", "text"), _pairs("checkpoints.txt"))
def test_checkpoint_texts(verdict: str, text: str) -> None:
    if verdict == "ok":
        assert Checkpoint.parse(text).text() == text
    else:
        with pytest.raises(BadNote):
            Checkpoint.parse(text)


@pytest.mark.parametrize(("verdict", "text"), _pairs("proofs.txt"))
def test_proof_texts(verdict: str, text: str) -> None:
    if verdict == "ok":
        assert str(TlogProof.parse(text)) == text
    else:
        with pytest.raises(BadProof):
            TlogProof.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "name+00000000+AA==",
        "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ABpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)  # fmt: skip
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(BadNote):
        VerifierKey.parse(text)


def test_a_note_needs_a_trusted_key(make_key: Callable[[str], SigningKey]) -> None:
    ours, theirs = make_key("ours"), make_key("theirs")
    key, other = verifier_key("a.example", ours), verifier_key("a.example", theirs)
    note = sign_note("hello\n\nworld\n", "a.example", ours)
    assert open_note(note, [key, other]) == "hello\n\nworld\n"
    with pytest.raises(BadNote, match="no trusted"):
        open_note(note, [other])
    with pytest.raises(BadNote, match="plus"):
        sign_note("hello\n", "a+b", ours)
    with pytest.raises(BadNote, match="newline"):
        sign_note("hello", "a.example", ours)
    both = note + sign_note("hello\n\nworld\n", "b.example", theirs).rpartition("\n\n")[2]
    assert open_note(both, [key]) == "hello\n\nworld\n"
    with pytest.raises(BadNote, match="not trusted"):
        open_note(both, [key], only_trusted=True)
    with pytest.raises(BadNote, match="twice"):
        open_note(note + note.rpartition("\n\n")[2], [key], only_trusted=True)
    with pytest.raises(BadNote, match="too many"):
        open_note(note + note.rpartition("\n\n")[2] * 16, [key])
    with pytest.raises(BadNote, match="too long"):
        open_note("x" * 70_000, [key])


@given(st.data())
def test_no_character_of_a_note_can_change(data: st.DataObject) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    signer = SigningKey("log", private, "")
    key = verifier_key("log.example", signer)
    note = Checkpoint("log.example", 7, merkle.EMPTY_ROOT).sign(signer)
    place = data.draw(st.integers(0, len(note) - 1))
    char = data.draw(st.characters(codec="utf-8"))
    changed = note[:place] + char + note[place + 1 :]
    if changed == note:
        assert open_checkpoint(changed, key, only_trusted=True).size == 7
    else:
        with pytest.raises(BadNote):
            open_checkpoint(changed, key, only_trusted=True)


def test_a_checkpoint_under_another_origin_is_not_ours(log_key: SigningKey) -> None:
    note = sign_note(Checkpoint("b.example", 1, b"r" * 32).text(), "a.example", log_key)
    with pytest.raises(BadNote, match="another log"):
        open_checkpoint(note, verifier_key("a.example", log_key))


def test_a_proof_verifies_its_entry_and_no_other(log_key: SigningKey) -> None:
    leaves = [merkle.leaf_hash(b"one"), merkle.leaf_hash(b"two")]
    head = Checkpoint("a.example", 2, merkle.root_of(leaves)).sign(log_key)
    proof = TlogProof(1, (leaves[0],), head, b"anything")
    key = verifier_key("a.example", log_key)
    assert TlogProof.parse(str(proof)) == proof
    assert proof.verify(b"two", key).size == 2
    with pytest.raises(BadProof):
        proof.verify(b"one", key)
