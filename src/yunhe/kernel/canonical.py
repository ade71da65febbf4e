"""Canonical bytes (RFC 8785) and strict reading: whatever is hashed or signed passes here."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785

from yunhe.kernel import limits
from yunhe.kernel.errors import Invalid, TooLarge


class BadJson(Invalid):
    code = "BAD_JSON"
    en = "The body is not acceptable JSON: {why}."
    zh = "请求体不是可接受的 JSON：{why}。"


def dumps(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value; raises BadJson for what JSON cannot say."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise BadJson(why="not canonical JSON") from error


def sha256_hex(value: Any) -> str:
    """SHA-256, hex, of bytes as they are or of the canonical bytes of anything else."""
    return hashlib.sha256(value if isinstance(value, bytes) else dumps(value)).hexdigest()


def loads_strict(
    body: bytes,
    bytes_max: int = limits.JSON_BYTES_MAX,
    depth_max: int = limits.JSON_DEPTH_MAX,
) -> Any:
    """Read JSON from a stranger: bounded size and depth, no duplicate keys, no NaN.

    Raises TooLarge or BadJson; never RecursionError.
    """
    if len(body) > bytes_max:
        raise TooLarge(what="the body", limit=f"{bytes_max} bytes")
    _check_depth(body, depth_max)
    try:
        return json.loads(body, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadJson(detail=str(error), why="malformed") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_depth(body: bytes, depth_max: int) -> None:
    # Before the parser, because the parser recurses: brackets outside strings, one pass.
    depth, in_string, escaped = 0, False, False
    for byte in body:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > depth_max:
                raise TooLarge(what="the nesting of the body", limit=depth_max)
        elif byte in b"]}":
            depth -= 1
