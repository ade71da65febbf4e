"""The body of somebody else's HTTP answer, packed or not, and never more of it than the bound.

In: its parts as they came over the wire, and what its head says they are packed with. Out: the
bytes. An HTTP library unpacks a part whole before anyone can look at its size, and once for each
coding that is named: 300 bytes of gzip within gzip within gzip are a gigabyte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

ACCEPTED: Final = "gzip"  # what a request is to name in Accept-Encoding
_PACKED: Final = ("gzip", "x-gzip")
_PLAIN: Final = ("", "identity")


class Unpackable(ValueError):
    """A body that is not packed as it says, or in a way that nobody asked for."""


def read_body(parts: Iterable[bytes], coding: str, most: int) -> bytes:
    """The body to its end, or just past `most` bytes, which then is too long and not whole.

    `coding`: its Content-Encoding. Raises Unpackable, and what `parts` raise.
    """
    coding = coding.strip().lower()
    if coding in _PACKED:
        return _unpacked(parts, most)
    if coding not in _PLAIN:
        raise Unpackable(f"nobody asked for {coding[:40]!r}")
    found = bytearray()
    for part in parts:
        found += part
        if len(found) > most:
            break
    return bytes(found)


def _unpacked(parts: Iterable[bytes], most: int) -> bytes:
    reader, found = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    try:
        for part in parts:
            found += reader.decompress(part, most + 1 - len(found))
            if len(found) > most:
                break
    except zlib.error as error:
        raise Unpackable(str(error)) from error
    return bytes(found)
