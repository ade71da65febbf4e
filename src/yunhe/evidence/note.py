"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint) with Ed25519.

In: text and a key, or a note and the keys one trusts. Out: the note, or its text once a trusted
key has been verified. Any tool of the transparency world reads what is written here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519: Final = b"\x01"  # signature type byte, C2SP signed-note
NOTE_CHARS_MAX: Final = 64 * 1024
SIGNATURES_MAX: Final = 16
_NAME = re.compile(r"[^\s+]+")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\0-\t\v-\x1f]")  # all but the newline


class BadNote(ValueError):
    """A note that is malformed, or that no trusted key signed."""


class Signer(Protocol):
    """What signs: `kernel.keys.SigningKey` does."""

    def public_raw(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519."""
        ...


@dataclass(frozen=True)
class VerifierKey:
    """A log's public key with its name; as text, `name+hash+base64` (Go's vkey format)."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of `SHA-256(name || LF || 0x01 || public)`."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_b64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey; raises BadNote where the hash does not fit or the type is not Ed25519."""
        name, _, rest = text.partition("+")
        key_id, _, key = rest.partition("+")
        raw = unb64(key)
        if len(raw) != 33 or raw[:1] != ED25519 or _NAME.fullmatch(name) is None:
            raise BadNote("not an Ed25519 verifier key")
        found = cls(name, raw[1:])
        if found.key_id.hex() != key_id:
            raise BadNote("the key's hash does not fit the key")
        return found


def verifier_key(name: str, signer: Signer) -> VerifierKey:
    """The public side of `signer` under `name`."""
    if _NAME.fullmatch(name) is None:
        raise BadNote("a key name has no spaces and no plus")
    return VerifierKey(name, signer.public_raw())


def sign_note(text: str, name: str, signer: Signer) -> str:
    """`text` (ending in a newline) with one signature line added."""
    _check_text(text)
    key = verifier_key(name, signer)
    return f"{text}\n— {name} {_b64(key.key_id + signer.sign(text.encode()))}\n"


def open_note(note: str, trusted: Iterable[VerifierKey], only_trusted: bool = False) -> str:
    """The text of `note` once a key of `trusted` has signed it; raises BadNote.

    Lines of unknown keys are passed over, as the format says; `only_trusted` refuses them, for
    documents in which every character must be vouched for.
    """
    if len(note) > NOTE_CHARS_MAX:
        raise BadNote("the note is too long")
    head, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise BadNote("no signatures")
    text = head + "\n"
    _check_text(text)
    keys = {(key.name, key.key_id): key for key in trusted}
    verified: set[tuple[str, bytes]] = set()
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise BadNote("too many signatures")
    for line in lines:
        name, key_id, signature = _signature_line(line)
        key = keys.get((name, key_id))
        if key is None or (name, key_id) in verified:
            if only_trusted:
                raise BadNote("a signature by a key that is not trusted, or twice by one key")
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError) as error:
            raise BadNote(f"the signature of {name} does not verify") from error
        verified.add((name, key_id))
    if not verified:
        raise BadNote("no trusted key has signed this")
    return text


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    raw = unb64(encoded)
    if dash != "—" or _NAME.fullmatch(name) is None or len(raw) < 5:
        raise BadNote("a malformed signature line")
    return name, raw[:4], raw[4:]


def _check_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise BadNote("the text ends in a newline and has no control characters")


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log at one size: origin, size, root (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text: three lines."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the note text; raises BadNote. Extension lines are refused: ours has none."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or _NUMBER.fullmatch(lines[1]) is None:
            raise BadNote("not a checkpoint")
        root = unb64(lines[2])
        if len(root) != 32:
            raise BadNote("the root is not 32 bytes")
        return cls(lines[0], int(lines[1]), root)

    def sign(self, signer: Signer) -> str:
        """The checkpoint as a note signed under its own origin."""
        return sign_note(self.text(), self.origin, signer)


def open_checkpoint(note: str, key: VerifierKey, only_trusted: bool = False) -> Checkpoint:
    """The checkpoint in `note`, signed by `key` under its own origin; raises BadNote."""
    found = Checkpoint.parse(open_note(note, [key], only_trusted))
    if found.origin != key.name:
        raise BadNote("the checkpoint is of another log")
    return found


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def unb64(text: str) -> bytes:
    """Strict base64: one text for one value, so that no character can change unseen."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote("not base64") from error
    if _b64(raw) != text:
        raise BadNote("not canonical base64")
    return raw
