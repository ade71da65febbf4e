"""From packed bytes in any encoding to a UTF-8 file, bounded; the position of what is undecodable.

In: a file, perhaps .gz or .zst, in a declared or detected encoding. Out: a UTF-8 file (the same
one, if it already is that) and the encoding's name. Runs in the ingest process only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from yunhe.kernel import limits
from yunhe.sources.look import Fault

ENCODINGS: Final = (
    *("utf-8", "utf-16", "gb18030", "gbk", "gb2312", "big5", "latin-1", "windows-1252"),
)
PACKED: Final = {".gz": "gzip", ".zst": "zstd"}
_CHUNK: Final = 1 << 20
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ASCII: Final = re.compile(r"[\x00-\x7f]+")
# GB18030 gives almost any bytes a meaning. Guessed, it must look like Chinese: of the letters
# beyond ASCII this share stands in GB 2312, the set of everyday writing.
_EVERYDAY_MIN: Final = 0.9


@dataclass(frozen=True)
class Plain:
    """A UTF-8 file without a mark at its beginning, and what it was encoded in.

    `sure`: nothing but that encoding gives these bytes a likely meaning. 女 in GB18030 is Ů in
    UTF-8: what is short and of two-byte letters only can be either.
    """

    file: Path
    encoding: str
    sure: bool = True
    telling: bool = True  # it has letters beyond ASCII at all


@dataclass
class _Letters:
    """What the letters beyond ASCII tell of an encoding."""

    beyond: int = 0
    everyday: int = 0
    last: str = ""

    def see(self, text: str) -> None:
        if not text.isascii():
            letters = _ASCII.sub("", text)
            self.beyond += len(letters)
            self.everyday += len(letters.encode("gb2312", "ignore")) // 2
            self.last = max(self.last, max(letters))


def plain(file: Path, name: str, work: Path, declared: str = "", likely: str = "") -> Plain:
    """`file` as UTF-8; copies go to `work`. `likely`: what files beside it are encoded in.

    Raises Fault naming byte and line.
    """
    if declared and declared.lower() not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise Fault(f"the encodings are {known}", f"可用编码为 {known}")
    with _unpacked(file, name) as stream:
        head = stream.read(4)
    marked = next((found for mark, found in _MARKS if head.startswith(mark)), "")
    encoding = declared.lower() or marked
    if encoding:
        return _decoded(file, name, work, encoding)[0]
    try:
        made, letters = _decoded(file, name, work, "utf-8")
    except Fault as fault:
        return _second(file, name, work, fault)
    if letters.last > "\u07ff" or (letters.last <= "\xff" and not likely):
        return made
    try:
        other, hanzi = _decoded(file, name, work, "gb18030")
    except Fault:
        return made
    if hanzi.everyday < hanzi.beyond or likely != "gb18030":
        _discard(other, file)
        return made if hanzi.everyday < hanzi.beyond else replace(made, sure=bool(likely))
    _discard(made, file)
    return other


def _second(file: Path, name: str, work: Path, first: Fault) -> Plain:
    """What is no UTF-8 is GB18030, where that looks like Chinese."""
    if first.bound:
        raise first
    try:
        made, letters = _decoded(file, name, work, "gb18030")
    except Fault as second:
        raise second if second.bound else first from second
    if letters.everyday < letters.beyond * _EVERYDAY_MIN:
        raise first
    return made


def _discard(made: Plain, file: Path) -> None:
    if made.file != file:
        made.file.unlink()


def _decoded(file: Path, name: str, work: Path, encoding: str) -> tuple[Plain, _Letters]:
    out = work / f"plain-{encoding}"
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)()
    at, lines, letters = 0, 1, _Letters()
    as_is = encoding == "utf-8" and file.suffix not in PACKED
    with _unpacked(file, name) as stream, out.open("wb") as to:
        for chunk in _marked_end(_chunks(stream)):
            held = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk or b"", final=chunk is None)
            except UnicodeDecodeError as error:
                place = at - held + error.start
                row = lines + error.object[: error.start].count(b"\n")
                raise Fault(
                    f"{name} is not {encoding.upper()} at byte {place}, line {row}",
                    f"{name} 第 {place} 字节（第 {row} 行）不是 {encoding.upper()} 编码",
                ) from error
            at += len(chunk or b"")
            lines += text.count("\n")
            letters.see(text)
            to.write(b"" if as_is else text.encode("utf-8"))
    if as_is:
        out.unlink()
        return Plain(file, encoding, telling=bool(letters.beyond)), letters
    return Plain(out, encoding, telling=bool(letters.beyond)), letters


def _marked_end(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from chunks
    yield None


def _unpacked(file: Path, name: str) -> IO[bytes]:
    packing = PACKED.get(file.suffix)
    if packing is None:
        return file.open("rb")
    return _Bounded(file, name, packing)  # type: ignore[return-value]


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


class _Bounded:
    """A packed file read unpacked, until it is more than its packed size can honestly hold."""

    def __init__(self, file: Path, name: str, packing: str) -> None:
        self._name = name
        honest = file.stat().st_size * limits.SOURCE_RATIO_MAX + limits.SOURCE_RATIO_SLACK_BYTES
        self._left = min(honest, limits.SOURCE_UNPACKED_BYTES_MAX)
        self._raw: Any = pa.OSFile(str(file))
        self._stream: Any = pa.CompressedInputStream(self._raw, packing)

    def read(self, size: int) -> bytes:
        try:
            chunk: bytes = self._stream.read(size)
        except (OSError, pa.ArrowException) as error:
            raise Fault(f"{self._name} cannot be unpacked", f"{self._name} 无法解压") from error
        self._left -= len(chunk)
        if self._left < 0:
            raise Fault(
                f"{self._name} unpacks to more than {limits.SOURCE_RATIO_MAX} times its size",
                f"{self._name} 解压后超过其大小的 {limits.SOURCE_RATIO_MAX} 倍",
                bound=True,
            )
        return chunk

    def __enter__(self) -> _Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()
