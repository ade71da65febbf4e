"""Abuses of Flight SQL: stolen, spent and forged tickets and handles, bent headers and messages."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Final

from attack.face_flight import REFUSALS, Caller, Headers, code, headers
from attack.world import Target
from yunhe.protocols.flight import proto

SQL: Final = "SELECT age FROM patients LIMIT 3"


def _told(act: Callable[[Target], object]) -> Callable[[Target], str]:
    """What came of it: RUNS, or the refusal's code."""

    @functools.wraps(act)
    def done(aim: Target) -> str:
        try:
            act(aim)
        except REFUSALS as error:
            return code(error)
        return "RUNS"

    return done


def _user(aim: Target, mode: str = "rows", name: str = "") -> Headers:
    """An own user of the consumer's node; `name`: a new one."""
    token = aim.world["r"].token
    if name:
        _, token = aim.world["r"].node.identity.create_token(name, ("user",))
    return [
        ("authorization", f"Bearer {token}"),
        ("x-agreement-id", aim.contracts[mode].id),
    ]


@_told
def honest(aim: Target) -> object:
    shown = headers(aim, aim.contracts["rows"].id)
    with contextlib.closing(Caller(aim)) as caller:
        return caller.read(caller.ticket(SQL, shown), shown)


@_told
def replayed(aim: Target) -> object:
    shown = _user(aim)
    with contextlib.closing(Caller(aim, "r")) as caller:
        ticket = caller.ticket(SQL, shown)
        caller.read(ticket, shown)
        return caller.read(ticket, shown)


@_told
def stolen(aim: Target) -> object:
    with contextlib.closing(Caller(aim, "r")) as caller:
        return caller.read(caller.ticket(SQL, _user(aim)), _user(aim, name="thief"))


@_told
def under_another_contract(aim: Target) -> object:
    with contextlib.closing(Caller(aim, "r")) as caller:
        return caller.read(caller.ticket(SQL, _user(aim)), _user(aim, "groups"))


@_told
def forged(aim: Target) -> object:
    shown = _user(aim)
    with contextlib.closing(Caller(aim, "r")) as caller:
        ticket = caller.ticket(SQL, shown)
        return caller.read(ticket[:-1] + bytes([ticket[-1] ^ 1]), shown)


@_told
def another_nodes_connection(aim: Target) -> object:
    """A peer token that was seen on its way counts for the connection that showed it only."""
    shown = headers(aim, aim.contracts["rows"].id)
    with contextlib.closing(Caller(aim)) as honest, contextlib.closing(Caller(aim)) as thief:
        honest.info(SQL, shown)
        return thief.info(SQL, shown)


@_told
def statement_of_another(aim: Target) -> object:
    request = proto.wrap("ActionCreatePreparedStatementRequest", proto.message((1, SQL.encode())))
    with contextlib.closing(Caller(aim, "r")) as caller:
        (said,) = caller.act("CreatePreparedStatement", request, _user(aim))
        handle = proto.blob(proto.unwrap(said)[1], 1) or b""
        command = proto.wrap("CommandPreparedStatementQuery", proto.message((1, handle)))
        return caller.told(command, _user(aim, name="thief"))


def _twice(name: str) -> Callable[[Target], str]:
    @_told
    def act(aim: Target) -> object:
        shown = _user(aim)
        again = [(key, value) for key, value in shown if key == name]
        with contextlib.closing(Caller(aim, "r")) as caller:
            return caller.info(SQL, shown + again)

    return act


@_told
def contract_named_twice(aim: Target) -> object:
    sql = f'SELECT age FROM "{aim.contracts["groups"].id}".x.patients'
    product = aim.contracts["groups"].product_code
    with contextlib.closing(Caller(aim, "r")) as caller:
        return caller.info(sql.replace(".x.", f'."{product}".'), _user(aim))


def _bytes(body: bytes) -> Callable[[Target], str]:
    @_told
    def act(aim: Target) -> object:
        with contextlib.closing(Caller(aim, "r")) as caller:
            return caller.read(body, _user(aim))

    return act


TICKETS: Final = {
    ("honest", "RUNS"): honest,
    ("replayed", "TICKET_REFUSED"): replayed,
    ("stolen by another user", "TICKET_REFUSED"): stolen,
    ("under another contract", "TICKET_REFUSED"): under_another_contract,
    ("forged", "TICKET_REFUSED"): forged,
    ("prepared by another", "PREPARED_STATEMENT_UNKNOWN"): statement_of_another,
    ("peer token on another connection", "TOKEN_REPLAYED"): another_nodes_connection,
}
MESSAGES: Final = {
    ("token twice", "FLIGHT_MESSAGE_MALFORMED"): _twice("authorization"),
    ("contract twice", "FLIGHT_MESSAGE_MALFORMED"): _twice("x-agreement-id"),
    ("contract of header and catalogue differ", "AGREEMENTS_DIFFER"): contract_named_twice,
    ("no message", "FLIGHT_MESSAGE_MALFORMED"): _bytes(b"\xff" * 40),
    ("length lies", "FLIGHT_MESSAGE_MALFORMED"): _bytes(b"\x0a\xff\xff\xff\xff\x7f"),
    ("too large", "FLIGHT_MESSAGE_MALFORMED"): _bytes(b"\x08\x01" * 40_000),
    ("update", "FLIGHT_CALL_UNKNOWN"): _bytes(proto.wrap("CommandStatementUpdate", b"\x0a\x01x")),
}
