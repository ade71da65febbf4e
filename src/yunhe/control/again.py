"""When a use that was denied would be allowed: hours, frequency and pause tell by themselves.

In: a denial, the quota row, the agreed terms. Out: the next instant, or None where waiting does
not help. Also the clock's part of a contract, asked while a delivery runs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from yunhe.contracts import Terms, duration_s
from yunhe.control import store, values
from yunhe.control.errors import OutsideAgreedHours
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx

_TIMELY = ("OUTSIDE_AGREED_HOURS", "FREQUENCY_EXCEEDED")


def again(tx: Tx, code: str, row: Any, terms: Terms) -> datetime | None:
    """The next instant at which a use denied with `code` could be admitted, or None."""
    if code not in _TIMELY:
        return None
    at = max(_after_window(tx, row, terms), _after_pause(tx, row, terms))
    if terms.hours is not None:
        at = terms.hours.again(at)
    return None if terms.expires_at is not None and at > terms.expires_at else at


def _after_window(tx: Tx, row: Any, terms: Terms) -> datetime:
    if terms.frequency is None:
        return tx.now
    start = values.window_start(row.opened_at, tx.now, terms.frequency.seconds)
    if store.uses_since(tx, row.contract_id, start) < terms.frequency.uses:
        return tx.now
    return start + timedelta(seconds=terms.frequency.seconds)


def _after_pause(tx: Tx, row: Any, terms: Terms) -> datetime:
    last = store.last_use_at(tx, row.contract_id) if terms.pause is not None else None
    if terms.pause is None or last is None:
        return tx.now
    return max(tx.now, last + timedelta(seconds=duration_s(terms.pause)))


def check_hours(terms: Terms, now: datetime) -> None:
    """Refuse what runs outside of the agreed hours; raises OutsideAgreedHours."""
    if terms.hours is not None and not terms.hours.holds(now):
        later = iso(terms.hours.again(now))
        raise OutsideAgreedHours(expected=str(terms.hours), given=iso(now), again=later)
