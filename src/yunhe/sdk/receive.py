"""What a push brought, from one's own node into a file: Arrow or Parquet, whole or not at all.

In: a finished push, a place. Out: the file, its digest checked against the receipt's on the way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from yunhe.kernel.errors import Invalid
from yunhe.sdk.errors import StreamBroken, unreachable
from yunhe.sdk.model import Transfer
from yunhe.sdk.stream import optional
from yunhe.sdk.target import API, Target, refusal

STREAM: Final = ".arrows"
_ENDINGS: Final = (".arrow", STREAM, ".parquet")
_READ_S: Final = 120.0


class BadTarget(Invalid):
    code = "BAD_TARGET"
    en = "{path} cannot take the data: {why}."
    zh = "{path} 无法写入数据：{why_zh}。"
    mend_en = "Give a folder, or a file ending in .arrow, .arrows or .parquet."
    mend_zh = "请指定目录，或以 .arrow、.arrows、.parquet 结尾的文件。"


@dataclass(frozen=True)
class Received:
    """A received file; `sha256` and `bytes` are those of the Arrow stream that was signed for."""

    path: Path
    transfer_id: str
    use_id: str
    rows: int
    bytes: int
    sha256: str


def check_target(to: Path) -> None:
    """Raises BadTarget where nothing could be written; a use costs money, so before it."""
    if to.is_dir():
        return
    if to.suffix not in _ENDINGS:
        raise BadTarget(path=str(to), why="its ending is not known", why_zh="文件扩展名不受支持")
    if not to.parent.is_dir():
        raise BadTarget(path=str(to), why="its folder is not there", why_zh="目录不存在")
    if to.suffix != STREAM:
        optional("pyarrow")


def fetch(where: Target, http: httpx.Client, transfer: Transfer, to: Path) -> Received:
    """Write the push's content to `to`; raises YunheRefused, StreamBroken, BadTarget."""
    check_target(to)
    push = transfer.push or {}
    if to.is_dir():
        to = to / f"{transfer.id.rpartition(':')[2]}.arrow"
        check_target(to)
    raw = to.with_name(f".{to.stem}.{os.getpid()}{STREAM}")
    made = to.with_name(f".{to.stem}.{os.getpid()}{to.suffix}.part")
    try:
        digest, size = _download(where, http, transfer.id, raw)
        if digest != push.get("sha256"):
            raise StreamBroken(use_id=push.get("use_id", ""), detail="the digest differs")
        (_WRITERS[to.suffix])(raw, made)
        made.replace(to)
    except OSError as error:
        why = error.strerror or str(error)
        raise BadTarget(str(error), path=str(to), why=why, why_zh=why) from error
    finally:
        raw.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
    return Received(to, transfer.id, push["use_id"], push["rows"], size, digest)


def _download(where: Target, http: httpx.Client, key: str, to: Path) -> tuple[str, int]:
    url = f"{where.base}{API}/transfers/{key}/content"
    digest, size = hashlib.sha256(), 0
    try:
        with http.stream("GET", url, timeout=_READ_S) as response, to.open("xb") as file:
            if response.status_code != 200:
                raise refusal(where, response.status_code, response.read())
            for chunk in response.iter_bytes():
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
    except httpx.HTTPError as error:
        raise unreachable(where.base, error) from error
    return digest.hexdigest(), size


def _batches(raw: Path) -> tuple[Any, Iterator[Any]]:
    reader = optional("pyarrow.ipc").open_stream(optional("pyarrow").memory_map(str(raw)))
    return reader.schema, iter(reader)


def _arrow(raw: Path, to: Path) -> None:
    schema, batches = _batches(raw)
    with optional("pyarrow.ipc").new_file(str(to), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _parquet(raw: Path, to: Path) -> None:
    schema, batches = _batches(raw)
    with optional("pyarrow.parquet").ParquetWriter(str(to), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _as_it_is(raw: Path, to: Path) -> None:
    raw.replace(to)


_WRITERS: Final[dict[str, Callable[[Path, Path], None]]] = {
    ".arrow": _arrow,
    STREAM: _as_it_is,
    ".parquet": _parquet,
}
