"""The Delta Sharing protocol's lines and headers, and the strict reading of a query's body.

In: a schema, a file, a body. Out: the NDJSON of /metadata and /query in the two response formats
(`parquet`, `delta`); the limit of a query. Predicates are hints: they are read and not used, the
client applies them itself (Delta Sharing protocol, "Read Data from a Table").
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from yunhe.kernel.canonical import loads_strict
from yunhe.protocols.delta.errors import ShareQueryInvalid
from yunhe.protocols.delta.schema import schema_string

NDJSON: Final = "application/x-ndjson; charset=utf-8"
VERSION_HEADER: Final = "Delta-Table-Version"
CAPABILITIES: Final = "delta-sharing-capabilities"
VERSION: Final = 0  # a table is what the contract shows now; older states are not kept
_LIMIT_MAX: Final = 2**53
_HINTS: Final = {
    "predicateHints": list,
    "jsonPredicateHints": str,
    "limitHint": int,
    "version": int,
    "includeRefreshToken": bool,
    "refreshToken": str,
    "maxFiles": int,
    "pageToken": str,
    "idempotencyKey": str,
}
_REFUSED: Final = ("timestamp", "startingVersion", "endingVersion", "startingTimestamp")


@dataclass(frozen=True)
class Address:
    """Where a file is fetched: `until` in milliseconds since 1970."""

    url: str
    file_id: str
    bytes: int
    rows: int
    until: int


def delta_only(capabilities: str) -> bool:
    """Whether the client takes the format `delta` and not `parquet`."""
    said = dict(
        part.strip().lower().partition("=")[::2] for part in capabilities.split(";") if "=" in part
    )
    formats = {name.strip() for name in said.get("responseformat", "parquet").split(",")}
    return "delta" in formats and "parquet" not in formats


def read_query(body: bytes) -> int | None:
    """The limit in a query's body, None for none; raises ShareQueryInvalid, BadJson."""
    data = loads_strict(body) if body.strip() else {}
    if not isinstance(data, dict):
        raise ShareQueryInvalid(why="the body is not an object", why_zh="请求体不是对象")
    for name in _REFUSED:
        if data.get(name) is not None:
            why = f"{name}: only the present version is kept"
            raise ShareQueryInvalid(why=why, why_zh=f"{name}：仅保留当前版本")
    for name, kind in _HINTS.items():
        value = data.get(name)
        # A bool is an int to Python, and no number to anybody else.
        wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        if value is not None and wrong:
            raise ShareQueryInvalid(why=f"{name} has another type", why_zh=f"{name} 类型不符")
    if data.get("version") not in (None, VERSION):
        raise ShareQueryInvalid(why=f"the only version is {VERSION}", why_zh="仅有版本 0")
    limit = data.get("limitHint")
    if limit is not None and not 0 <= limit <= _LIMIT_MAX:
        raise ShareQueryInvalid(why="limitHint is out of range", why_zh="limitHint 超出范围")
    return limit


def lines(table_id: str, schema: Any, address: Address | None, *, delta: bool) -> bytes:
    """The answer of /metadata, and with an `address` of /query."""
    # The same table has the same id at every call, which clients cache by.
    known = str(uuid.uuid5(uuid.NAMESPACE_URL, table_id))
    metadata: dict[str, Any] = {
        "id": known,
        "format": {"provider": "parquet", "options": {}} if delta else {"provider": "parquet"},
        "schemaString": schema_string(schema),
        "partitionColumns": [],
        "configuration": {},
    }
    made: list[dict[str, Any]]
    if delta:
        reader = {"minReaderVersion": 1, "minWriterVersion": 2}
        made = [{"protocol": {"deltaProtocol": reader}}, {"metaData": {"deltaMetadata": metadata}}]
    else:
        made = [{"protocol": {"minReaderVersion": 1}}, {"metaData": metadata}]
    if address is not None:
        made.append({"file": _file(address, delta=delta)})
    return _ndjson(made)


def _file(address: Address, *, delta: bool) -> dict[str, Any]:
    stats = json.dumps({"numRecords": address.rows})
    common = {"id": address.file_id, "expirationTimestamp": address.until}
    if not delta:
        plain = {"url": address.url, "partitionValues": {}, "size": address.bytes, "stats": stats}
        return plain | common
    add = {
        "path": address.url,
        "partitionValues": {},
        "size": address.bytes,
        "modificationTime": 0,
        "dataChange": True,
        "stats": stats,
    }
    return {"size": address.bytes, "deltaSingleAction": {"add": add}, **common}


def _ndjson(made: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in made)
