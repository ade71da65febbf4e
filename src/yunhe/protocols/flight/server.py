"""The gRPC server: Flight's calls in, the desk's verbs behind them. No rule stands here.

Every call authenticates anew: headers are those of this call, and nothing is remembered of who
opened the connection but a node's token (see callers). Whatever goes wrong leaves as a refusal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from pyarrow import flight

from yunhe.dataplane import ParameterRefused
from yunhe.kernel import limits
from yunhe.protocols.flight import proto
from yunhe.protocols.flight.callers import Caller, Callers
from yunhe.protocols.flight.desk import Desk, Told
from yunhe.protocols.flight.errors import CallUnknown, MessageMalformed, refusal, told

_HEAD: Final = "head"
_STATEMENT, _PREPARED = "CommandStatementQuery", "CommandPreparedStatementQuery"
_TICKET: Final = "TicketStatementQuery"
_ACTIONS: Final = {
    "CreatePreparedStatement": "Prepare a SELECT; the answer tells its schema.",
    "ClosePreparedStatement": "Forget a prepared statement.",
    "CancelQuery": "Cut the result of a query, or void its ticket.",
    "CancelFlightInfo": "The same, as newer clients ask it.",
    "CloseSession": "Nothing is kept of a session.",
}


class Headers(flight.ServerMiddleware):  # type: ignore[misc]
    """The headers of one call."""

    def __init__(self, headers: Mapping[str, Sequence[str | bytes]]) -> None:
        super().__init__()
        self.headers = headers


class HeadersFactory(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Keeps the headers of a call beside it."""

    def start_call(self, info: Any, headers: Mapping[str, Sequence[str | bytes]]) -> Headers:
        """Called by pyarrow for each call.

        GetSchema ends here: alone of all calls pyarrow (26) sends its refusals with a traceback.
        """
        if info.method == flight.FlightMethod.GET_SCHEMA:
            raise refusal(CallUnknown(what="GetSchema"))
        return Headers(headers)


class Server(flight.FlightServerBase):  # type: ignore[misc]
    """Flight SQL over gRPC. Listens from its construction on."""

    def __init__(self, location: str, callers: Callers, desk: Desk, **tls: Any) -> None:
        """`tls`: what FlightServerBase takes of certificates."""
        self._callers, self._desk = callers, desk
        super().__init__(location, middleware={_HEAD: HeadersFactory()}, **tls)

    def _caller(self, context: Any) -> Caller:
        certificate = context.peer_identity()
        name = certificate.decode("utf-8", "replace") if certificate else ""
        headers = context.get_middleware(_HEAD).headers
        return self._callers.caller(headers, context.peer(), name)

    # -- what clients call ------------------------------------------------------------------------

    @told
    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        """The schema and the tickets of a query, or of a question about the server."""
        caller = self._caller(context)
        name, fields = _command(descriptor)
        if name in (_STATEMENT, _PREPARED):
            schema, handles, use_id = self._asked(caller, name, fields)
            tickets = [proto.wrap(_TICKET, proto.message((1, handle))) for handle in handles]
            said = json.dumps({"use_id": use_id}).encode()
        else:
            schema, tickets, said = self._desk.shape(name, fields), [descriptor.command], b""
        endpoints = [flight.FlightEndpoint(ticket, []) for ticket in tickets]
        return flight.FlightInfo(schema, descriptor, endpoints, -1, -1, False, said)

    @told
    def do_get(self, context: Any, ticket: Any) -> Any:
        """A governed result, or the answer to a question about the server."""
        caller = self._caller(context)
        name, fields = proto.unwrap(ticket.ticket)
        if name == _TICKET:
            reading = self._desk.redeem(caller, proto.blob(fields, 1) or b"", context)
            return flight.GeneratorStream(reading.schema, reading)
        return flight.RecordBatchStream(self._desk.table(caller, name, fields))

    @told
    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """The parameters of a prepared statement; nothing else can be put."""
        caller = self._caller(context)
        name, fields = _command(descriptor)
        if name != _PREPARED:
            raise CallUnknown(what=name[:80])
        handle = proto.blob(fields, 1) or b""
        self._desk.parameters(caller, handle, _one_row(reader))
        writer.write(pa.py_buffer(proto.message((1, handle))))

    @told
    def do_action(self, context: Any, action: Any) -> list[Any]:
        """Prepare, close, cancel."""
        caller = self._caller(context)
        body = action.body.to_pybytes() if action.body is not None else b""
        if action.type == "CreatePreparedStatement":
            _, fields = proto.unwrap(body)
            found = self._desk.prepare(caller, proto.text(fields, 1) or "")
            parts = proto.message(*enumerate(found, 1))
            return [flight.Result(proto.wrap("ActionCreatePreparedStatementResult", parts))]
        if action.type == "ClosePreparedStatement":
            _, fields = proto.unwrap(body)
            self._desk.close(caller, proto.blob(fields, 1) or b"")
            return []
        if action.type in ("CancelQuery", "CancelFlightInfo"):
            wrapped = action.type == "CancelQuery"
            fields = proto.unwrap(body)[1] if wrapped else proto.fields(body)
            done = self._desk.cancel(caller, _handles(proto.blob(fields, 1) or b""))
            said = proto.message((1, 1 if done else 3))
            return [flight.Result(proto.wrap("ActionCancelQueryResult", said) if wrapped else said)]
        if action.type == "CloseSession":
            return [flight.Result(proto.message((1, 1)))]
        raise CallUnknown(what=action.type[:80])

    def _asked(self, caller: Caller, name: str, fields: proto.Fields) -> Told:
        if name == _STATEMENT:
            return self._desk.ask(caller, proto.text(fields, 1) or "")
        return self._desk.ask_prepared(caller, proto.blob(fields, 1) or b"")

    # -- what is not served, said without a traceback ---------------------------------------------

    @told
    def list_actions(self, context: Any) -> list[Any]:
        """What `do_action` does."""
        self._caller(context)
        return list(_ACTIONS.items())

    @told
    def list_flights(self, context: Any, criteria: Any) -> Any:
        """Not served: tables are listed by their own command."""
        self._caller(context)
        raise CallUnknown(what="ListFlights")

    @told
    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Not served."""
        self._caller(context)
        raise CallUnknown(what="DoExchange")


def _command(descriptor: Any) -> tuple[str, proto.Fields]:
    if descriptor.descriptor_type != flight.DescriptorType.CMD:
        raise MessageMalformed(why="it is a path, no command", why_zh="是路径而非命令")
    return proto.unwrap(descriptor.command)


def _one_row(reader: Any) -> list[object]:
    """The values of exactly one row; raises ParameterRefused."""
    values: list[object] | None = None
    for chunk in reader:
        batch = chunk.data
        if batch is None or not batch.num_rows:
            continue
        if values is not None or batch.num_rows > 1:
            raise ParameterRefused(at=1, why="there is more than one row of them")
        if batch.num_columns > limits.FLIGHT_PARAMETERS_MAX:
            raise ParameterRefused(at=1, why="there are too many of them")
        batch.validate(full=True)
        values = [column[0].as_py() for column in batch.columns]
    return values or []


def _handles(info: bytes) -> list[bytes]:
    """The handles in the tickets of a FlightInfo; raises MessageMalformed."""
    found = []
    for endpoint in proto.fields(info).get(3, ()):
        inner = proto.fields(endpoint) if isinstance(endpoint, bytes) else {}
        ticket = proto.blob(proto.fields(proto.blob(inner, 1) or b""), 1) or b""
        name, fields = proto.unwrap(ticket)
        if name == _TICKET:
            found.append(proto.blob(fields, 1) or b"")
    return found
