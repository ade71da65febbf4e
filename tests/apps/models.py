"""A small ONNX model, written by hand: `y = x · w + b` over the columns of a table."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def _number(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _of(field: int, value: int | bytes | str) -> bytes:
    """One field of a protobuf message: a whole number, or what has a length."""
    if isinstance(value, int):
        return _number(field << 3) + _number(value)
    data = value.encode() if isinstance(value, str) else value
    return _number(field << 3 | 2) + _number(len(data)) + data


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    dims = b"".join(_of(1, each) for each in shape)
    raw = struct.pack(f"<{len(values)}f", *values)
    return dims + _of(2, 1) + _of(8, name) + _of(9, raw)


def _value(name: str, columns: int) -> bytes:
    shape = _of(1, _of(2, "rows")) + _of(1, _of(1, columns))
    return _of(1, name) + _of(2, _of(1, _of(1, 1) + _of(2, shape)))


def linear(weights: Sequence[float], bias: float) -> bytes:
    """The model's bytes: input `x` of as many columns as weights, output `risk`."""
    node = _of(1, "x") + _of(1, "w") + _of(1, "b") + _of(2, "risk") + _of(4, "Gemm")
    graph = (
        _of(1, node)
        + _of(2, "linear")
        + _of(5, _tensor("w", (len(weights), 1), weights))
        + _of(5, _tensor("b", (1,), [bias]))
        + _of(11, _value("x", len(weights)))
        + _of(12, _value("risk", 1))
    )
    return _of(1, 8) + _of(7, graph) + _of(8, _of(1, "") + _of(2, 13))
