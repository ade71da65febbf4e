"""The one table registry and the column types that mean the same on both engines."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from yunhe.kernel.canonical import dumps

metadata = sa.MetaData()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """Aware UTC datetimes as integer microseconds since 1970: exact, ordered, engine-neutral."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """To microseconds; a naive datetime is a bug and raises TypeError."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        """Back to an aware datetime."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Json(sa.types.TypeDecorator[Any]):
    """JSON values as their RFC 8785 text, so equal values are equal columns."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """To canonical text; None stays NULL."""
        return None if value is None else dumps(value).decode()

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Back to Python values."""
        return None if value is None else json.loads(value)


def by_name(table: sa.Table) -> Callable[[Sequence[Any]], Any]:
    """Makes a row of `table`, as `Tx.rows` gives it, readable by its columns' names."""
    kind: Any = namedtuple
    made: Callable[[Sequence[Any]], Any] = kind(table.name, [c.name for c in table.columns])._make
    return made
