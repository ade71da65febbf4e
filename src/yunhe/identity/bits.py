"""Status lists as text: gzip of a bit string, base64url (Bitstring Status List 1.0 §3.3).

In: the indices that are set, or a list from a stranger. Out: its text, or bits to ask. Unpacking
is bounded before it begins: a few kilobytes of gzip can hold a gigabyte of zeros.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from yunhe.kernel import limits


class BitsUnreadable(ValueError):
    """The list is not what the standard says; the message says why."""


@dataclass(frozen=True)
class Bits:
    """A status list, unpacked; bit 0 is the leftmost of the first byte."""

    packed: bytes

    def __len__(self) -> int:
        return len(self.packed) * 8

    def at(self, index: int) -> bool:
        """Whether the bit is set; raises BitsUnreadable for an index outside the list."""
        if not 0 <= index < len(self):
            raise BitsUnreadable("the index is outside the list")
        return bool(self.packed[index >> 3] & (0x80 >> (index & 7)))


def encode(indices: Iterable[int], multibase: bool) -> str:
    """The text of a list with `indices` set; `multibase` prefixes the u of the newer standard."""
    packed = bytearray(limits.STATUS_BITS // 8)
    for index in indices:
        packed[index >> 3] |= 0x80 >> (index & 7)
    text = base64.urlsafe_b64encode(gzip.compress(bytes(packed), mtime=0)).rstrip(b"=").decode()
    return f"u{text}" if multibase else text


def decode(text: object, bits_min: int = 1) -> Bits:
    """Read a list: multibase or plain, either base64 alphabet; raises BitsUnreadable.

    Shorter than `bits_min` or longer than STATUS_BITS_MAX is refused.
    """
    if not isinstance(text, str) or not text.isascii() or not text:
        raise BitsUnreadable("the list is not text")
    plain = text.removeprefix("u").translate(str.maketrans("+/", "-_")).rstrip("=")
    try:
        squeezed = base64.b64decode(plain + "=" * (-len(plain) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BitsUnreadable("the list is not base64") from error
    packed = _unpack(squeezed)
    if len(packed) * 8 < bits_min:
        raise BitsUnreadable("the list is too short")
    return Bits(packed)


def _unpack(squeezed: bytes) -> bytes:
    bytes_max = limits.STATUS_BITS_MAX // 8
    reader = zlib.decompressobj(wbits=31)  # gzip, one member
    try:
        packed = reader.decompress(squeezed, bytes_max + 1)
    except zlib.error as error:
        raise BitsUnreadable("the list is not gzip") from error
    if len(packed) > bytes_max:
        raise BitsUnreadable("the list is too long")
    if not reader.eof or reader.unused_data:
        raise BitsUnreadable("the gzip is cut short or has more behind it")
    return packed
