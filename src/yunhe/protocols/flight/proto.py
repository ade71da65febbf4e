"""Protocol Buffers, as far as Flight SQL needs them: varints, byte fields, nothing recursive.

In: bytes of strangers. Out: the fields of one message, or MessageMalformed; every length is
checked against what is there before it is used. Written by hand: pyarrow has no Flight SQL server
bindings, and a protobuf runtime would be a dependency for some twenty small messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from yunhe.kernel import limits
from yunhe.protocols.flight.errors import MessageMalformed

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ANY: Final = "type.googleapis.com/arrow.flight.protocol.sql."
_NUMBER_MAX: Final = 1 << 64

Fields = dict[int, list[int | bytes]]


def fields(data: bytes) -> Fields:
    """The fields of a message by number, in their order; raises MessageMalformed.

    Unknown fields are read over, as the format demands; groups are refused (nobody sends them).
    """
    if len(data) > limits.FLIGHT_COMMAND_BYTES_MAX:
        raise MessageMalformed(why="it is too large", why_zh="消息过大")
    found: Fields = {}
    at = count = 0
    while at < len(data):
        count += 1
        if count > limits.FLIGHT_FIELDS_MAX:
            raise MessageMalformed(why="it has too many fields", why_zh="字段过多")
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise MessageMalformed(why="a field has no number", why_zh="字段编号无效")
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind in (_BYTES, _FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            if kind == _BYTES:
                size, at = _varint(data, at)
            if size > len(data) - at:
                raise MessageMalformed(why="a field is cut off", why_zh="字段不完整")
            value, at = data[at : at + size], at + size
        else:
            raise MessageMalformed(why="a field is of an unknown kind", why_zh="字段类型未知")
        found.setdefault(number, []).append(value)
    return found


def text(found: Fields, number: int, default: str | None = "") -> str | None:
    """The last value of a text field; raises MessageMalformed where it is no text."""
    data = blob(found, number)
    if data is None:
        return default
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MessageMalformed(
            str(error), why="a text is not UTF-8", why_zh="文本不是 UTF-8"
        ) from error


def texts(found: Fields, number: int) -> tuple[str, ...]:
    """All values of a repeated text field."""
    return tuple(text({0: [value]}, 0) or "" for value in found.get(number, ()))


def blob(found: Fields, number: int) -> bytes | None:
    """The last value of a field of bytes; None where it is absent."""
    value = found.get(number, [None])[-1]
    if isinstance(value, int):
        raise MessageMalformed(why="a field is of another kind", why_zh="字段类型不符")
    return value


def flag(found: Fields, number: int) -> bool:
    """The last value of a boolean field."""
    value = found.get(number, [0])[-1]
    if not isinstance(value, int):
        raise MessageMalformed(why="a field is of another kind", why_zh="字段类型不符")
    return value != 0


def numbers(found: Fields, number: int) -> tuple[int, ...]:
    """All values of a repeated number, packed or not: drivers send both."""
    values: list[int] = []
    for value in found.get(number, ()):
        if isinstance(value, int):
            values.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            values.append(one)
    if len(values) > limits.FLIGHT_FIELDS_MAX * 16:
        raise MessageMalformed(why="it has too many numbers", why_zh="数值过多")
    return tuple(values)


def unwrap(data: bytes) -> tuple[str, Fields]:
    """The name and the fields of the Flight SQL message inside a google.protobuf.Any."""
    outer = fields(data)
    url = text(outer, 1) or ""
    if not url.startswith(_ANY):
        raise MessageMalformed(why="it is no Flight SQL command", why_zh="不是 Flight SQL 命令")
    return url.removeprefix(_ANY), fields(blob(outer, 2) or b"")


def wrap(name: str, body: bytes = b"") -> bytes:
    """A Flight SQL message inside a google.protobuf.Any."""
    return message((1, (_ANY + name).encode()), (2, body))


def message(*parts: tuple[int, bytes | int]) -> bytes:
    """A message of fields; empty bytes and zero are left out, as proto3 does."""
    return b"".join(_written(parts))


def _written(parts: Iterable[tuple[int, bytes | int]]) -> Iterator[bytes]:
    for number, value in parts:
        if not value:
            continue
        if isinstance(value, int):
            yield _number(number << 3 | _VARINT) + _number(value)
        else:
            yield _number(number << 3 | _BYTES) + _number(len(value)) + value


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; at most ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise MessageMalformed(why="a number is cut off", why_zh="数值不完整")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= _NUMBER_MAX:
                break
            return value, at
    raise MessageMalformed(why="a number is too long", why_zh="数值过长")
