"""Canonical bytes (RFC 8785) and strict reading: whatever is hashed or signed passes here."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

import rfc8785

from yunhe.kernel import limits
from yunhe.kernel.errors import Invalid, TooLarge


class BadJson(Invalid):
    code = "BAD_JSON"
    en = "The body is not acceptable JSON: {why}."
    zh = "请求体不是可接受的 JSON：{why}。"


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_INT_MAX = 2**53 - 1
_PLAIN = frozenset((str, bool, type(None)))


def dumps(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value; raises BadJson for what JSON cannot say.

    Values of strings, small integers, whole floats, booleans and null take the standard encoder,
    which gives the same bytes five times as fast (a property test holds the two together).
    """
    try:
        if _plain(value, limits.JSON_DEPTH_MAX):
            return _encode(value).encode()
        if _plain(whole := _with_integers(value, limits.JSON_DEPTH_MAX), limits.JSON_DEPTH_MAX):
            return _encode(whole).encode()
        return rfc8785.dumps(value)
    except UnicodeEncodeError as error:
        raise BadJson(why="a string is not Unicode") from error
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise BadJson(why="not canonical JSON") from error


def _plain(value: Any, depth: int) -> bool:
    # No floats (their text differs), exact types (a subclass may print itself otherwise), keys
    # without surrogate pairs (UTF-16 order differs from code point order above U+D7FF).
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is int:
        return -_INT_MAX <= int(value) <= _INT_MAX
    if depth == 0:
        return False
    if kind is dict:
        for key, each in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(each) not in _PLAIN and not _plain(each, depth - 1):
                return False
        return True
    if kind is not list:
        return False
    for each in value:  # noqa: SIM110  a generator costs as much again
        if type(each) not in _PLAIN and not _plain(each, depth - 1):
            return False
    return True


def _with_integers(value: Any, depth: int) -> Any:
    # A whole float has the text of its integer, -0.0 that of 0 (RFC 8785 section 3.2.2.3).
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= _INT_MAX else value
    if depth:
        if kind is dict:
            return {key: _with_integers(each, depth - 1) for key, each in value.items()}
        if kind is list:
            return [_with_integers(each, depth - 1) for each in value]
    return value


def sha256_hex(value: Any) -> str:
    """SHA-256, hex, of bytes as they are or of the canonical bytes of anything else."""
    return hashlib.sha256(value if isinstance(value, bytes) else dumps(value)).hexdigest()


def loads_strict(
    body: bytes,
    bytes_max: int = limits.JSON_BYTES_MAX,
    depth_max: int = limits.JSON_DEPTH_MAX,
) -> Any:
    """Read JSON from a stranger: bounded size and depth, no duplicate keys, no NaN.

    UTF-8 only. No text in it holds NUL, which PostgreSQL cannot keep, or half a surrogate pair,
    which UTF-8 cannot say. Raises TooLarge or BadJson; never RecursionError.
    """
    if len(body) > bytes_max:
        raise TooLarge(what="the body", limit=f"{bytes_max} bytes")
    _check_depth(body, depth_max)
    try:
        found = _decode(body.decode())  # given bytes, the parser would guess at encodings
        if b"\\u" in body:  # the only way for either into a text
            text = json.dumps(found, ensure_ascii=False)
            text.encode()
            if _NUL.search(text):
                raise ValueError("a text holds NUL")
        return found
    except (ValueError, RecursionError) as error:
        raise BadJson(detail=str(error), why="malformed") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _finite(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError("a number is too large")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
).decode
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def _check_depth(body: bytes, depth_max: int) -> None:
    # Before the parser, because the parser recurses: brackets outside strings, one pass. Few
    # brackets nest no deeper than they are many, wherever they stand.
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return
    depth = 0
    for match in _TOKEN.finditer(body):
        token = match.group()
        if token in b"[{":
            depth += 1
            if depth > depth_max:
                raise TooLarge(what="the nesting of the body", limit=depth_max)
        elif token in b"]}":
            depth -= 1
