"""SQL over a sealed delivery, at the receiver: the same gate and workers as at the provider's door.

In: a delivery of the vault, SQL, who asks. Out: an Arrow stream, once the use is released, posted
and signed for. The delivery is decrypted shard by shard into the memory of a worker of this one
use, which is killed after it: no plain byte of it meets a disk, nor this node's own memory whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from yunhe.contracts import Push, Terms
from yunhe.control import Grant
from yunhe.dataplane.gate import govern
from yunhe.dataplane.ipc import IpcCount
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.pool import Binding, Job, Pool
from yunhe.dataplane.process import Process
from yunhe.kernel import limits
from yunhe.vault import (
    Ask,
    Figures,
    Opened,
    Opening,
    Vault,
    VaultBroken,
    VaultTooLarge,
)

_DELIVERY = "delivery"
_TYPES = {
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.binary(): "BLOB",
}


def table_name(push: Push, terms: Terms) -> str:
    """What the delivery is called in SQL: the product's one table where it came whole, else
    `delivery`."""
    names = {column.partition(".")[0] for column in terms.columns}
    return names.pop() if not push.sql and len(names) == 1 else _DELIVERY


class SealedSql:
    """Queries over the sealed deliveries of one node; thread-safe."""

    def __init__(self, vault: Vault, pool: Pool) -> None:
        self._vault, self._pool = vault, pool

    def query(self, transfer_id: str, sql: str, ask: Ask) -> Opened:
        """Run `sql` over a delivery; it is one use, as every read.

        Raises what `Vault.read` raises, the gate's and the workers' refusals, and VaultTooLarge;
        after any of them nothing is charged. An answer is held in memory before it is given, so
        that its figures are known when it is billed: limits.VAULT_ANSWER_BYTES_MAX.
        """
        opening = self._vault.open(transfer_id)
        if opening.figures.bytes > limits.VAULT_SQL_BYTES_MAX:
            size, limit = opening.figures.bytes, limits.VAULT_SQL_BYTES_MAX
            raise VaultTooLarge(bytes=size, limit=limit)
        terms, item = opening.contract.terms, opening.item
        rows_max = min(terms.rows_max or limits.RESULT_ROWS_MAX, limits.RESULT_ROWS_MAX)
        readings = self._vault.readings
        grant = readings.admit(item, ask, rows_max, limits.VAULT_ANSWER_BYTES_MAX, cut=True)
        try:
            parts, figures = self._run(opening, terms, sql, grant)
        except BaseException as error:
            readings.give_back(grant, error)
            raise
        note = readings.spend(grant, item, ask, figures, sql)
        return Opened(note.id, figures.rows, iter(parts))

    def _run(
        self, opening: Opening, terms: Terms, sql: str, grant: Grant
    ) -> tuple[list[bytes], Figures]:
        name = table_name(opening.item.push, terms)
        chunks, columns = _schema(opening.chunks)
        governed = _governed(sql, name, columns, terms)
        watch = self._vault.watch(opening)

        def load(process: Process) -> None:
            for chunk in chunks:
                process.load(name, chunk)

        binding = Binding(f"{grant.contract_id}\nvault\n{grant.use_id}", ())
        job = Job(
            governed.sql,
            rows_max=grant.rows_max,
            bytes_max=grant.bytes_max,
            careful=governed.careful,
        )
        running = self._pool.run(binding, job, watch, _nothing, load)
        count, parts = IpcCount(), []
        try:
            for part in running:
                count.feed(part)
                parts.append(part)
        finally:
            running.close()
        return parts, Figures(count.rows, count.bytes, count.digest)


def _governed(sql: str, name: str, columns: dict[str, str], terms: Terms) -> Governed:
    """The query as the gate lets it run. Filters, masks and groups were applied at the provider:
    what came is what the contract shows, and every column of it may be read."""
    shown = Terms(terms.purposes, tuple(f"{name}.{column}" for column in columns))
    return govern(sql, {name: TableBinding(columns)}, shown)


def _schema(chunks: Iterator[bytes]) -> tuple[Iterator[bytes], dict[str, str]]:
    """The stream again, and the columns it brings: name -> DuckDB type; raises VaultBroken."""
    held, came = b"", []
    for chunk in chunks:
        came.append(chunk)
        held += chunk
        try:
            schema = pa.ipc.open_stream(pa.BufferReader(held)).schema
        except (pa.ArrowInvalid, OSError):
            continue
        return chain(came, chunks), {field.name: _type(field.type) for field in schema}
    raise VaultBroken(why="it is no Arrow stream", why_zh="不是 Arrow 流")


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return _TYPES.get(kind, "VARCHAR")


def _nothing() -> None:
    """The worker is of this one use; there is nothing else to clear away."""
