"""What a profile shows, and a table of it as one governed Parquet file.

In: an authenticated profile, a share, a schema, a table. Out: the names; the Delta metadata; a
file that holds what the contract shows of the table (visible columns, row filter, masks). A query
is one use like any other: asked of the provider, charged by it, signed for by this node.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from typing import Any, Final, Protocol

import pyarrow as pa

from yunhe.contracts import Contract
from yunhe.kernel import limits
from yunhe.protocols.arrow import Asked
from yunhe.protocols.delta.errors import ShareUnknown, SharingNeedsRows
from yunhe.protocols.delta.files import Files, SharedFile
from yunhe.protocols.delta.parquet import Chunks, lay_parquet
from yunhe.protocols.delta.schema import stored
from yunhe.protocols.delta.store import Profile

SCHEMA: Final = "governed"
_STRIPES: Final = 32


class Relayed(Protocol):
    """The part of `protocols.arrow.Relay` asked here."""

    def open(self, contract_id: str, asked: Asked) -> Chunks: ...
    def describe(self, contract_id: str, sql: str) -> Mapping[str, bytes]: ...


class Shares:
    """The shares of one node: each contract as consumer is one, named by its product's code."""

    def __init__(self, relay: Relayed, files: Files) -> None:
        self._relay, self._files = relay, files
        # One query of a profile at a time: the same one, sent twice, is one use.
        self._turns = tuple(threading.Lock() for _ in range(_STRIPES))

    def share(self, contract: Contract, share: str, schema: str = SCHEMA) -> None:
        """Whether the profile's contract is that share; raises ShareUnknown."""
        if share != contract.product_code or schema != SCHEMA:
            raise ShareUnknown

    def tables(self, contract: Contract) -> list[str]:
        """The tables that the contract shows columns of."""
        return sorted({column.partition(".")[0] for column in contract.terms.columns})

    def known(self, contract: Contract, table: str) -> None:
        """Whether the contract shows rows of the table; raises SharingNeedsRows, ShareUnknown."""
        if contract.terms.minimum_group:
            raise SharingNeedsRows
        if table not in self.tables(contract):
            raise ShareUnknown

    def schema(self, contract: Contract, table: str) -> Any:
        """The Arrow schema of a table's file, as the provider tells it; no use."""
        self.known(contract, table)
        told = self._relay.describe(contract.id, _sql(table)).get("")
        if told is None:
            raise ShareUnknown
        return stored(pa.ipc.read_schema(pa.py_buffer(told)))

    def query(
        self, profile: Profile, contract: Contract, table: str, limit: int | None
    ) -> SharedFile:
        """The table as one file, `limit` rows of it at most: one use.

        Raises ShareUnknown, SharingNeedsRows, ShareFull, the refusals of the provider and of
        `lay_parquet`.
        """
        self.known(contract, table)
        sql = _sql(table) if limit is None else f"{_sql(table)} LIMIT {limit}"
        with self._turns[int(profile.id, 16) % _STRIPES]:
            if (again := self._files.untouched(profile.id, sql)) is not None:
                return again
            path = self._files.place(profile.id)
            try:
                use_id = f"delta-{uuid.uuid4()}"
                asked = Asked(use_id, sql, profile.purpose, profile.principal)
                laid = lay_parquet(self._relay.open(contract.id, asked), path)
            except BaseException:
                self._files.give_up(profile.id)
                raise
            return self._files.put(profile.id, contract.id, sql, path, laid)


def _sql(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'SELECT * FROM "{quoted}"'  # noqa: S608  the gate reads it as any stranger's


def page(items: list[dict[str, str]], most: str, token: str) -> dict[str, Any]:
    """One page of a listing: `maxResults` and `pageToken` as they came."""
    start = int(token) if token.isascii() and token.isdigit() and len(token) < 7 else 0
    asked = int(most) if most.isascii() and most.isdigit() and len(most) < 7 else 0
    size = min(asked or limits.DELTA_PAGE, limits.DELTA_PAGE)
    found: dict[str, Any] = {"items": items[start : start + size]}
    if start + size < len(items):
        found["nextPageToken"] = str(start + size)
    return found
