"""The wire of the data plane: header names, the request body, its strict reading."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import Invalid, Unavailable, YunheError

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"
PATH: Final = "/data/v1/query"
DESCRIBE: Final = "/data/v1/describe"
LEFT: Final = "/data/v1/left"
PEER: Final = "X-Yunhe-Peer"  # the caller's self-issued token: a stolen data token is no use
USE_ID: Final = "X-Yunhe-Use-Id"
WITHHELD: Final = "X-Yunhe-Groups-Withheld"

_LEFT: Final = frozenset(
    ("uses_left", "rows_left", "bytes_left", "held_rows", "held_bytes", "next_at", "privacy")
)
_MEMBERS: Final = {"use_id": 80, "sql": limits.SQL_BYTES_MAX, "purpose": 64, "principal": 128}


class BadQuery(Invalid):
    code = "BAD_QUERY"
    en = "The query request is not valid: {member} {why}."
    zh = "查询请求不合法：{member} {why}。"
    mend_en = "Send use_id, sql and purpose as texts; see docs/sql.md."
    mend_zh = "请以文本形式提供 use_id、sql 与 purpose；参见 docs/sql.md。"


class DescriptionInvalid(Unavailable):
    code = "DESCRIPTION_INVALID"
    en = "The provider described the data in a way that cannot be read."
    zh = "提供方返回的数据结构说明无法读取。"
    mend_en = "Try again; if it persists, tell the provider."
    mend_zh = "请重试；若仍如此，请告知提供方。"


class LeftInvalid(Unavailable):
    code = "LEFT_INVALID"
    en = "The provider said what is left of the contract in a way that cannot be read."
    zh = "提供方返回的合约剩余额度无法读取。"
    mend_en = "Try again; if it persists, tell the provider."
    mend_zh = "请重试；若仍如此，请告知提供方。"


@dataclass(frozen=True)
class Asked:
    """What a consumer's connector asks of the provider's data plane."""

    use_id: str
    sql: str
    purpose: str
    principal: str = ""

    def to_json(self) -> dict[str, Any]:
        """The request body."""
        return {
            "use_id": self.use_id,
            "sql": self.sql,
            "purpose": self.purpose,
            "principal": self.principal,
        }


def read(body: bytes) -> Asked:
    """The request in a body; raises BadQuery naming the member, BadJson, TooLarge."""
    data = loads_strict(body)
    if not isinstance(data, dict):
        raise BadQuery(member="the body", why="is not an object")
    if unknown := sorted(set(data) - set(_MEMBERS)):
        raise BadQuery(member=str(unknown[0])[:64], why="is not known")
    for name, longest in _MEMBERS.items():
        value = data.get(name, "" if name == "principal" else None)
        if not isinstance(value, str):
            raise BadQuery(member=name, why="is not a text")
        if len(value) > longest or (not value and name != "principal"):
            raise BadQuery(member=name, why=f"has not 1 to {longest} characters")
    return Asked(**data)


def read_describe(body: bytes) -> str:
    """The SQL of a request to describe, empty for the tables; raises BadQuery, BadJson."""
    data = loads_strict(body)
    if not isinstance(data, dict) or set(data) != {"sql"} or not isinstance(data["sql"], str):
        raise BadQuery(member="the body", why="is not an object of one text, sql")
    if len(data["sql"]) > limits.SQL_BYTES_MAX:
        raise BadQuery(member="sql", why=f"has more than {limits.SQL_BYTES_MAX} characters")
    return data["sql"]


def read_left(body: bytes) -> dict[str, Any]:
    """What a provider says is left of a contract; raises LeftInvalid."""
    try:
        data = loads_strict(body, limits.PROBLEM_BYTES_MAX)
    except YunheError as error:
        raise LeftInvalid(str(error)) from error
    if not isinstance(data, dict) or not set(data) >= _LEFT:
        raise LeftInvalid
    counts = [data[name] for name in _LEFT - {"next_at", "privacy"}]
    privacy, at = data["privacy"], data["next_at"]
    well = all(value is None or type(value) is int for value in counts)
    if not well or not isinstance(privacy, dict | None) or not isinstance(at, str | None):
        raise LeftInvalid
    bits = data.get("bits_left")  # unknown to providers of an earlier version
    if not isinstance(bits, int | None) or isinstance(bits, bool):
        raise LeftInvalid
    return {name: data[name] for name in _LEFT} | {"bits_left": bits}


def described(schemas: Mapping[str, bytes]) -> dict[str, Any]:
    """The answer: each schema as one Arrow IPC message, in base64."""
    return {"schemas": {name: base64.b64encode(of).decode() for name, of in schemas.items()}}


def read_described(body: bytes) -> dict[str, bytes]:
    """The schemas in an answer; raises DescriptionInvalid."""
    try:
        data = loads_strict(body, limits.DESCRIBED_BYTES_MAX)
        found = data["schemas"].items()
        return {name: base64.b64decode(text, validate=True) for name, text in found}
    except (YunheError, LookupError, TypeError, AttributeError, binascii.Error) as error:
        raise DescriptionInvalid(str(error)) from error
