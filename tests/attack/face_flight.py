"""Flight SQL, asked by pyarrow's own client with what a consumer's connector would show."""

from __future__ import annotations

import itertools
from typing import Any, Final

import pyarrow as pa
from pyarrow import flight

from attack.world import Target
from flow.world import PURPOSE
from yunhe.protocols.flight import proto

Headers = list[tuple[str, str]]
_numbers: Final = itertools.count()


def address(aim: Target, key: str = "a") -> str:
    """Where a node's Flight SQL face listens."""
    face = aim.world[key].node.flight
    assert face is not None
    return face.address


def headers(aim: Target, contract_id: str, purpose: str = PURPOSE) -> Headers:
    """What an honest consumer's connector shows at the provider."""
    consumer = aim.world["r"].node
    return [
        ("authorization", f"Bearer {consumer.contracts.access(contract_id).token}"),
        ("x-yunhe-peer", f"Bearer {consumer.identity.mint(aim.world['a'].did)}"),
        ("x-agreement-id", contract_id),
        ("x-purpose", purpose),
    ]


class Caller:
    """One connection; every call with headers of its own."""

    def __init__(self, aim: Target, key: str = "a") -> None:
        # gRPC shares a connection between clients of one address unless they differ.
        apart = [("yunhe.attack", next(_numbers))]
        self._client = flight.FlightClient(address(aim, key), generic_options=apart)

    def info(self, sql: str, shown: Headers) -> Any:
        """The FlightInfo of a query, not run yet."""
        body = proto.message((1, sql.encode("utf-8", "surrogatepass")))
        return self.told(proto.wrap("CommandStatementQuery", body), shown)

    def told(self, command: bytes, shown: Headers) -> Any:
        """The FlightInfo of any command."""
        descriptor = flight.FlightDescriptor.for_command(command)
        return self._client.get_flight_info(descriptor, _options(shown))

    def ticket(self, sql: str, shown: Headers) -> bytes:
        """Its one ticket."""
        found: bytes = self.info(sql, shown).endpoints[0].ticket.ticket
        return found

    def read(self, ticket: bytes, shown: Headers) -> pa.Table:
        """What a ticket gives."""
        return self._client.do_get(flight.Ticket(ticket), _options(shown)).read_all()

    def act(self, kind: str, body: bytes, shown: Headers) -> list[bytes]:
        """One action."""
        found = self._client.do_action(flight.Action(kind, body), _options(shown))
        return [each.body.to_pybytes() for each in found]

    def close(self) -> None:
        """Hang up."""
        self._client.close()


REFUSALS: Final = (flight.FlightError, pa.ArrowException, OSError)


def code(error: BaseException) -> str:
    """The code of a refusal; LEAK where it shows how the node is made."""
    said = str(error)
    if "Traceback" in said or ".py" in said:
        return f"LEAK of a traceback: {said[:200]}"
    return said.partition(":")[0]


def _options(shown: Headers) -> flight.FlightCallOptions:
    pairs = [(name.encode(), value.encode()) for name, value in shown]
    return flight.FlightCallOptions(timeout=60, headers=pairs)
