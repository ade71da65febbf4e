"""What the fabric asks of the rest of its node, and how a contract becomes a member.

In: contracts, their shapes as the providers describe them, the catalogue's counts. Out: members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import duckdb
import pyarrow as pa

from yunhe.contracts import Contract
from yunhe.fabric.errors import FabricSqlRefused
from yunhe.fabric.model import Known, Member, Shape


class Counted(Protocol):
    """What has passed so far."""

    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Passing(Protocol):
    """A provider's answer on its way in; iterate to the end, so that it is signed for."""

    @property
    def count(self) -> Counted: ...
    @property
    def groups_withheld(self) -> bool: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class Market(Protocol):
    """The doors of the node that the fabric goes through; it has none of its own to any data."""

    def contract(self, key: str) -> Contract:
        """Our contract in force, by its id or the code of its product; raises why not."""
        ...

    def uses_left(self, contract: Contract) -> int | None:
        """As our own receipts leave; None: not counted."""
        ...

    def catalogue(self, code: str) -> Known:
        """What the catalogue says of a product."""
        ...

    def describe(self, contract_id: str, sql: str) -> Mapping[str, bytes]:
        """Arrow schemas: of a query under "", or with no SQL of every table. No use."""
        ...

    def ask(self, contract_id: str, sql: str, purpose: str, use_id: str, principal: str) -> Passing:
        """One governed use at the provider; its head has come when this returns."""
        ...


def member(market: Market, contract: Contract) -> Member:
    """A contract with its tables as shown; raises why it does not bind."""
    known = market.catalogue(contract.product_code)
    shapes = {}
    for name, message in market.describe(contract.id, "").items():
        types = engine_types(read_schema(message))
        shapes[name.lower()] = Shape(
            name,
            {column.lower(): kind for column, kind in types.items()},
            {column.lower(): column for column in types},
            known.rows.get(name),
        )
    return Member(
        contract.id,
        contract.product_code,
        contract.peer_did,
        contract.policy,
        contract.terms,
        market.uses_left(contract),
        shapes,
        known,
    )


def read_schema(message: bytes) -> pa.Schema:
    """An Arrow schema out of its IPC message; raises FABRIC_SQL_REFUSED where it is none."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(message))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise FabricSqlRefused(
            str(error), why="a provider described what is no table", why_zh="提供方的结构说明有误"
        ) from error


def engine_types(schema: pa.Schema) -> dict[str, str]:
    """Column -> the engine's type of it; read from an empty table."""
    try:
        with duckdb.connect(":memory:") as con:
            found = con.from_arrow(schema.empty_table())
            return {name: str(kind) for name, kind in zip(schema.names, found.types, strict=True)}
    except (duckdb.Error, pa.ArrowException) as error:
        raise FabricSqlRefused(
            str(error), why="a column has a type we do not read", why_zh="存在不支持的字段类型"
        ) from error
