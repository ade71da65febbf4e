"""The two signed documents: receipt and statement, built and read.

In: values, or JSON objects from a peer. Out: JSON objects whose RFC 8785 bytes are signed.
A document from outside is checked field by field before anything believes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yunhe.control import Consumed
from yunhe.exchange.errors import DocumentInvalid
from yunhe.exchange.model import RECEIPT, STATEMENT, Bill, Meter
from yunhe.kernel import limits
from yunhe.kernel.clock import iso, parse_iso

_COUNT_MAX = 1 << 53  # beyond, JSON numbers are not exact


def receipt_body(bill: Bill, consumed: Consumed, at: datetime) -> dict[str, Any]:
    """What the consumer signs about one use."""
    return {
        "type": RECEIPT,
        "use_id": consumed.use_id,
        "contract_id": bill.contract_id,
        "provider": bill.provider_did,
        "consumer": bill.consumer_did,
        "rows": consumed.rows,
        "bytes": consumed.bytes,
        "digest": consumed.digest,
        "purpose": consumed.purpose,
        "at": iso(at),
    }


@dataclass(frozen=True)
class Cut:
    """Of which uses a statement speaks."""

    until: datetime  # by the provider's clock
    latest_receipt: str | None  # the use of the last receipt that the provider holds, if any
    held: tuple[str, ...]  # wait for their receipt and go on a later statement


def statement_body(
    bill: Bill, statement_id: str, meters: Sequence[Meter], cut: Cut, now: datetime
) -> dict[str, Any]:
    """What the provider signs: one line a use, the price rule, the total, the period covered."""
    lines = [
        {
            "use_id": meter.use_id,
            "at": iso(meter.at),
            "rows": meter.rows,
            "bytes": meter.bytes,
            "fee_fen": meter.fee_fen,
            "entry": meter.entry_id,
            "leaf": meter.leaf,
        }
        for meter in meters
    ]
    waiting = {"held": list(cut.held)} if cut.held else {}
    return waiting | {
        "type": STATEMENT,
        "id": statement_id,
        "contract_id": bill.contract_id,
        "provider": bill.provider_did,
        "consumer": bill.consumer_did,
        "issued_at": iso(now),
        "period": {"from": iso(min(meters[0].at, cut.until)), "to": iso(cut.until)},
        "latest_receipt": cut.latest_receipt,
        "price": {
            "per_use_fen": bill.per_use_fen,
            "per_row_fen": bill.per_row_fen,
            "currency": "CNY",
        },
        "lines": lines,
        "total_fen": sum(meter.fee_fen for meter in meters),
    }


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= limits.USE_PURPOSE_CHARS_MAX


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _COUNT_MAX


def _time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        # Only our own fixed-width form, so that text order is time order.
        return iso(parse_iso(value)) == value
    except (ValueError, OverflowError):
        return False


def _hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


Check = Callable[[Any], bool]
_RECEIPT: dict[str, Check] = {
    "type": RECEIPT.__eq__,
    "use_id": lambda v: _text(v) and len(v) <= limits.USE_ID_CHARS_MAX,
    "contract_id": _text,
    "provider": _text,
    "consumer": _text,
    "rows": _count,
    "bytes": _count,
    "digest": _hash,
    "purpose": _text,
    "at": _time,
}
_RECEIPT_MAY: dict[str, Check] = {
    "in_doubt": lambda v: v is True,
    "accepts": _hash,
    "watermark": lambda v: isinstance(v, str) and 0 < len(v) <= limits.WATERMARK_CHARS_MAX,
}
_OUTCOME: dict[str, Check] = {
    "use_id": _RECEIPT["use_id"],
    "state": "posted".__eq__,
    "rows": _count,
    "bytes": _count,
    "complete": lambda v: isinstance(v, bool),
    "leaf": _hash,
}
_LINE: dict[str, Check] = {
    "use_id": _RECEIPT["use_id"],
    "at": _time,
    "rows": _count,
    "bytes": _count,
    "fee_fen": _count,
    "entry": _text,
    "leaf": _hash,
}
_STATEMENT: dict[str, Check] = {
    "type": STATEMENT.__eq__,
    # It becomes the id of a ledger transfer, and `<id>/post` is one of ours.
    "id": lambda v: _text(v) and len(v) <= limits.USE_ID_CHARS_MAX and "/" not in v,
    "contract_id": _text,
    "provider": _text,
    "consumer": _text,
    "issued_at": _time,
    "period": lambda v: _shape(v, {"from": _time, "to": _time}) == "",
    "price": lambda v: (
        _shape(v, {"per_use_fen": _count, "per_row_fen": _count, "currency": "CNY".__eq__}) == ""
    ),
    "lines": lambda v: isinstance(v, list) and 0 < len(v) <= limits.STATEMENT_LINES_MAX,
    "total_fen": _count,
}
_STATEMENT_MAY: dict[str, Check] = {
    "latest_receipt": lambda v: v is None or _RECEIPT["use_id"](v),
    "held": lambda v: (
        isinstance(v, list)
        and 0 < len(v) <= limits.STATEMENT_LINES_MAX
        and all(_RECEIPT["use_id"](each) for each in v)
    ),
}
_DIFFERENCE: dict[str, Check] = {
    "use_id": lambda v: v == "" or _RECEIPT["use_id"](v),
    "code": _text,
    "theirs": lambda v: isinstance(v, str) and len(v) <= limits.USE_PURPOSE_CHARS_MAX,
    "ours": lambda v: isinstance(v, str) and len(v) <= limits.USE_PURPOSE_CHARS_MAX,
    "en": _text,
    "zh": _text,
}


_NONE: dict[str, Check] = {}


def _shape(value: Any, fields: dict[str, Check], may: dict[str, Check] = _NONE) -> str:
    """The first field of `value` that is not as it should be; "" if all are. `may`: optional."""
    if not isinstance(value, dict):
        return "it is not an object"
    for name, holds in fields.items():
        if name not in value or holds(value[name]) is not True:
            return f"{name} is missing or malformed"
    for name, holds in may.items():
        if name in value and holds(value[name]) is not True:
            return f"{name} is malformed"
    extra = sorted(set(value) - set(fields) - set(may))
    return f"{str(extra[0])[:64]} is not known" if extra else ""


def _checked(
    value: Any, fields: dict[str, Check], what: str, may: dict[str, Check] = _NONE
) -> dict[str, Any]:
    why = _shape(value, fields, may)
    if why:
        raise DocumentInvalid(what=what, why=why)
    found: dict[str, Any] = value
    return found


def read_receipt(value: Any) -> dict[str, Any]:
    """A receipt from outside, shape checked; raises DocumentInvalid naming the field."""
    return _checked(value, _RECEIPT, "receipt", _RECEIPT_MAY)


def read_outcome(value: Any, use_id: str) -> dict[str, Any]:
    """What a provider says became of a use; raises DocumentInvalid naming the field."""
    if value == {"use_id": use_id, "state": "void"}:
        return dict(value)
    found = _checked(value, _OUTCOME, "outcome")
    if found["use_id"] != use_id:
        raise DocumentInvalid(what="outcome", why="it is about another use")
    return found


def read_statement(value: Any) -> dict[str, Any]:
    """A statement from outside, shape checked; raises DocumentInvalid naming the field."""
    found = _checked(value, _STATEMENT, "statement", _STATEMENT_MAY)
    for place, entry in enumerate(found["lines"]):
        _checked(entry, _LINE, f"statement, line {place}")
    return found


def read_differences(value: Any) -> list[dict[str, str]]:
    """The differences of a dispute from outside; raises DocumentInvalid."""
    if not isinstance(value, list) or not 0 < len(value) <= limits.STATEMENT_DIFFERENCES_MAX:
        raise DocumentInvalid(what="dispute", why="differences is missing or malformed")
    return [_checked(each, _DIFFERENCE, f"dispute, difference {i}") for i, each in enumerate(value)]
