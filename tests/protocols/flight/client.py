"""Stock clients of the tests: the ADBC driver, and pyarrow's own where one call is to be bent."""

from __future__ import annotations

from typing import Any

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa
from pyarrow import flight

from flow.world import Served
from yunhe.protocols.flight import proto

HEADER = "adbc.flight.sql.rpc.call_header."


def connect(node: Served, contract: str = "", token: str | None = None, **more: str) -> Any:
    """A stock ADBC connection to a node's Flight SQL face."""
    options = {"adbc.flight.sql.authorization_header": f"Bearer {token or node.token}"}
    if contract:
        options[f"{HEADER}x-agreement-id"] = contract
    options |= {f"{HEADER}{name.replace('_', '-')}": value for name, value in more.items()}
    assert node.node.flight is not None
    address = node.node.flight.address.replace("grpc://", "grpc+tcp://")
    return flightsql.connect(address, db_kwargs=options, autocommit=True)


def table(node: Served, contract: str, sql: str, parameters: Any = None, **more: str) -> pa.Table:
    """One query by the stock driver."""
    with connect(node, contract, **more) as connection, connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


class Raw:
    """pyarrow's Flight client with headers of the test's choice."""

    def __init__(self, node: Served, *headers: tuple[str, str]) -> None:
        assert node.node.flight is not None
        self.client = flight.FlightClient(node.node.flight.address)
        self.options = flight.FlightCallOptions(
            headers=[(name.encode(), value.encode()) for name, value in headers], timeout=20
        )

    def info(self, command: bytes) -> Any:
        return self.client.get_flight_info(
            flight.FlightDescriptor.for_command(command), self.options
        )

    def statement(self, sql: str) -> Any:
        """The FlightInfo of a query, not run yet."""
        return self.info(proto.wrap("CommandStatementQuery", proto.message((1, sql.encode()))))

    def get(self, ticket: bytes) -> Any:
        return self.client.do_get(flight.Ticket(ticket), self.options)

    def read(self, ticket: bytes) -> pa.Table:
        return self.get(ticket).read_all()

    def act(self, kind: str, body: bytes) -> list[bytes]:
        found = self.client.do_action(flight.Action(kind, body), self.options)
        return [each.body.to_pybytes() for each in found]

    def refused(self, call: Any, *args: Any) -> str:
        """The code of a refusal, which has both languages and no traceback."""
        try:
            call(*args)
        except (flight.FlightError, pa.ArrowException, OSError) as error:
            said = str(error)
            assert "Traceback" not in said, said
            assert ".py" not in said, said
            assert any("\u4e00" <= char <= "\u9fff" for char in said), said
            return said.partition(":")[0]
        raise AssertionError("it was not refused")


def user(node: Served, contract: str) -> Raw:
    """Our own user, by token and header."""
    return Raw(node, ("authorization", f"Bearer {node.token}"), ("x-agreement-id", contract))
