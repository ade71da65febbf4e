"""`python -m benchmarks.dataplane.bare_flight SQL`: DuckDB behind Flight SQL, nothing between.

What a result costs on the way to the stock driver where nobody is asked: one process, no worker,
no contract, no bounds, no receipt. Prints its port; serves whatever is asked with rows of SQL.
"""

from __future__ import annotations

import sys
from typing import Any

import duckdb
from pyarrow import flight

from yunhe.kernel import limits
from yunhe.protocols.flight import proto

_QUERIES = (b"CommandStatementQuery", b"CommandPreparedStatementQuery")


class Bare(flight.FlightServerBase):  # type: ignore[misc]  # the library is not typed
    """Only what the driver needs for one query: prepare, ask, read."""

    def __init__(self, sql: str) -> None:
        super().__init__("grpc+tcp://127.0.0.1:0")
        self._sql = sql

    def _reader(self) -> Any:
        con = duckdb.connect()
        con.execute("SET threads = 2")
        return con.sql(self._sql).to_arrow_reader(limits.BATCH_ROWS)

    def do_action(self, context: Any, action: Any) -> list[Any]:
        """Every statement has the same handle."""
        if action.type != "CreatePreparedStatement":
            return []
        body = proto.wrap("ActionCreatePreparedStatementResult", proto.message((1, b"one")))
        return [flight.Result(body)]

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        """One endpoint; the driver's other questions have no answer here."""
        if not any(name in descriptor.command for name in _QUERIES):
            raise NotImplementedError
        ends = [flight.FlightEndpoint(b"one", [])]
        return flight.FlightInfo(self._reader().schema, descriptor, ends, -1, -1)

    def do_get(self, context: Any, ticket: Any) -> Any:
        """The rows, straight from the engine."""
        return flight.RecordBatchStream(self._reader())


if __name__ == "__main__":
    serving = Bare(sys.argv[1])
    print(serving.port, flush=True)
    serving.serve()
