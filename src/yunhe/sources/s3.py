"""Objects behind an S3 connection: listed for their fingerprint, fetched into files, bounded.

In: a connection of node.toml (bucket, endpoint, references to keys) and a key or prefix. Out:
staged files. The keys are read when they are used and go to pyarrow's client alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from yunhe.kernel import limits
from yunhe.sources.connections import Connection
from yunhe.sources.errors import (
    SourceAway,
    SourceEmpty,
    SourceKindUnknown,
    SourceMissing,
    SourceTooLarge,
)
from yunhe.sources.local import SUFFIXES, kind_of
from yunhe.sources.locator import Locator
from yunhe.sources.port import Piece

_CHUNK_BYTES = 1 << 20


class S3Source:
    """A key, or every object of one kind below a prefix: `port.Staged`."""

    def __init__(self, locator: Locator, connection: Connection) -> None:
        self._connection = connection
        self._client: Any = None
        self._seen: list[Any] = []
        self._locator = locator
        if "format" not in locator.options:
            self._locator = replace(locator, options={**locator.options, "format": self._kind()})

    @property
    def locator(self) -> Locator:
        """With the format of its objects decided."""
        return self._locator

    @property
    def check_s(self) -> float:
        """A listing is a request over the network, and costs."""
        return limits.SOURCE_REMOTE_CHECK_S

    def fingerprint(self) -> str:
        """Over key, size and time of every object; the store keeps no other word in a listing."""
        self._seen = self._list()
        made = hashlib.sha256()
        for each in self._seen:
            made.update(f"{each.path}\0{each.size}\0{each.mtime_ns}\n".encode())
        return made.hexdigest()

    def moved(self, fingerprint: str) -> bool:
        """Whether an object changed, came or went while they were fetched."""
        return self.fingerprint() != fingerprint

    def stage(self, folder: Path) -> tuple[Piece, ...]:
        """Fetch the objects listed last; what is longer than listed is refused."""
        listed = self._seen or self._list()
        if sum(each.size for each in listed) > limits.SOURCE_BYTES_MAX:
            raise SourceTooLarge(what="the bytes of a table", limit=limits.SOURCE_BYTES_MAX)
        pieces = []
        top = f"{self._connection.text('bucket')}/{self._locator.path}"
        for at, each in enumerate(listed):
            name = each.path.removeprefix(top).lstrip("/") or each.base_name
            # Named by us: a key may be any text. Its suffixes tell the packing.
            suffixes = "".join(Path(each.base_name).suffixes[-2:])
            file = folder / f"{at}{suffixes if suffixes.replace('.', '').isalnum() else ''}"
            with (
                self._told(),
                file.open("wb") as to,
                self._store().open_input_stream(each.path, compression=None) as raw,
            ):
                _copy(raw, to, each.size)
            pieces.append(Piece(file, name, self._locator.options["format"]))
        return tuple(pieces)

    def _kind(self) -> str:
        kinds = {kind_of(each.base_name) for each in self._objects()} - {""}
        if len(kinds) != 1:
            raise SourceKindUnknown(path=str(self._locator))
        return kinds.pop()

    def _list(self) -> list[Any]:
        known = SUFFIXES.get(self._locator.options["format"])
        if known is None:
            raise SourceKindUnknown(path=str(self._locator))
        found = self._objects()
        if self._locator.path.endswith("/") or not self._locator.path:
            found = [each for each in found if each.base_name.lower().endswith(known)]
        if not found:
            raise SourceEmpty(path=str(self._locator))
        return found

    def _objects(self) -> list[Any]:
        from pyarrow import fs

        place = f"{self._connection.text('bucket')}/{self._locator.path}"
        with self._told():
            if not place.endswith("/"):
                (one,) = self._store().get_file_info([place])
                if one.type != fs.FileType.File:
                    raise SourceMissing(path=str(self._locator), roots=self._connection.name)
                return [one]
            below = fs.FileSelector(place.rstrip("/"), recursive=True, allow_not_found=True)
            every = [
                each for each in self._store().get_file_info(below) if each.type == fs.FileType.File
            ]
        if len(every) > limits.SOURCE_FILES_MAX:
            raise SourceTooLarge(what="the files of a table", limit=limits.SOURCE_FILES_MAX)
        return sorted(every, key=lambda each: str(each.path))

    def _store(self) -> Any:
        if self._client is None:
            from pyarrow import fs

            held = self._connection
            endpoint = held.text("endpoint")
            scheme, _, host = endpoint.rpartition("://")
            scheme = scheme or "https"
            if scheme == "http" and not held.flag("allow_http"):
                en, zh = "http needs allow_http = true", "使用 http 须设 allow_http = true"
                raise SourceAway(path=str(self._locator), why=en, why_zh=zh)
            self._client = fs.S3FileSystem(
                access_key=held.secret("access_key"),
                secret_key=held.secret("secret_key"),
                session_token=held.secret("session_token"),
                anonymous=held.flag("anonymous"),
                region=held.text("region", "us-east-1"),
                endpoint_override=host or None,
                scheme=scheme,
                connect_timeout=limits.SOURCE_CONNECT_S_MAX,
                request_timeout=limits.SOURCE_ANSWER_S_MAX,
                allow_bucket_creation=False,
                allow_bucket_deletion=False,
            )
        return self._client

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The client's words stay in the log: they name hosts, and keys by their ids."""
        try:
            yield
        except FileNotFoundError as error:
            name = self._connection.name
            raise SourceMissing(str(error), path=str(self._locator), roots=name) from error
        except OSError as error:
            en, zh = "the object store refuses or does not answer", "对象存储拒绝访问或无应答"
            raise SourceAway(str(error), path=str(self._locator), why=en, why_zh=zh) from error


def _copy(raw: Any, to: IO[bytes], size: int) -> None:
    left = size
    while chunk := raw.read(_CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise OSError("longer than it was listed")
        to.write(chunk)
    if left:
        raise OSError("shorter than it was listed")
