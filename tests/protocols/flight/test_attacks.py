"""What the Flight face refuses: strangers, bent headers, stolen, spent and forged tickets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import flight

from flow.world import PURPOSE, TERMS, World, hospital, three, until
from protocols.flight.client import Raw, connect, table, user
from yunhe.kernel import limits
from yunhe.protocols.flight import proto
from yunhe.sdk import Contract

ROWS = 1_000_000
ROWWISE = replace(TERMS, minimum_group=0, uses_max=None, rows_max=None)
ALL = "SELECT id, age, sex FROM patients"
# More than the buffers of a busy machine between the provider and a reader hold.
WIDE = "SELECT id, age, sex, id AS b, id AS c, id AS d, id AS e, id AS f, id AS g FROM patients"
ONE = "SELECT count(*) AS n FROM patients"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three nodes, provider and consumer with a Flight face; more rows than buffers hold."""
    listen = {"flight_listen": "127.0.0.1:0"}
    with three(tmp_path_factory.mktemp("flight"), a=listen, r=listen) as made:
        hospital(made["a"].config.data_roots[0], ROWS)
        yield made


@pytest.fixture(scope="module")
def code(world: World) -> str:
    return world.product(ROWWISE)


@pytest.fixture
def contract(world: World, code: str) -> Contract:
    return world.agree(code)


def uses(world: World, contract: Contract) -> list[tuple[str, int | None]]:
    found = world["a"].node.control.uses(contract.id)
    return [(use.state, use.rows) for use in found]


def ticket_of(info: flight.FlightInfo) -> bytes:
    (endpoint,) = info.endpoints
    return endpoint.ticket.ticket


def test_who_has_no_token_learns_nothing(world: World, contract: Contract) -> None:
    command = proto.wrap("CommandGetCatalogs")
    node = world["r"]
    bad: tuple[tuple[tuple[str, str], ...], ...] = (
        (),
        (("authorization", "Bearer yh_no_such"),),
        (("authorization", "Basic YTpi"),),
        (("authorization", f"Bearer {world['a'].token}"),),
    )
    for headers in bad:
        raw = Raw(node, *headers)
        codes = {
            raw.refused(raw.info, command),
            raw.refused(raw.statement, ALL),
            raw.refused(raw.read, command),
            raw.refused(raw.act, "CreatePreparedStatement", b""),
            raw.refused(lambda raw=raw: list(raw.client.list_actions(raw.options))),
            raw.refused(lambda raw=raw: list(raw.client.list_flights(options=raw.options))),
        }
        assert len(codes) == 1, codes
        assert codes.pop().startswith("TOKEN_"), headers
    assert uses(world, contract) == []


def test_a_provider_token_is_no_user(world: World, contract: Contract) -> None:
    token_id, token = world["r"].node.identity.create_token("p", ("provider",))
    raw = Raw(world["r"], ("authorization", f"Bearer {token}"), ("x-agreement-id", contract.id))
    assert raw.refused(raw.statement, ALL) == "ROLE_MISSING"
    (entry, *_) = world["r"].node.evidence.find("identity.refused")
    said = {"token_id": token_id, "name": "p", "what": "Flight SQL", "code": "ROLE_MISSING"}
    assert entry.body == said


def test_headers_that_stand_twice_are_refused(world: World, contract: Contract) -> None:
    bearer = ("authorization", f"Bearer {world['r'].token}")
    for twice in (bearer, ("x-agreement-id", contract.id), ("x-purpose", PURPOSE)):
        raw = Raw(world["r"], bearer, twice, twice)
        assert raw.refused(raw.statement, ALL) == "FLIGHT_MESSAGE_MALFORMED"


def test_another_agreement_and_none(world: World, code: str, contract: Contract) -> None:
    other = world.agree(code)
    node = world["r"]
    bare = Raw(node, ("authorization", f"Bearer {node.token}"))
    assert bare.refused(bare.statement, ALL) == "AGREEMENT_NEEDED"
    raw = user(node, contract.id)
    named = f'SELECT count(*) FROM "{other.id}"."{code}".patients'
    assert raw.refused(raw.statement, named) == "AGREEMENTS_DIFFER"
    assert bare.read(ticket_of(bare.statement(named))).num_rows == 1
    # Both contracts are of the one product: its code alone names neither.
    assert bare.refused(bare.statement, f'SELECT 1 FROM "{code}".patients') == "AGREEMENT_NEEDED"
    assert user(node, "urn:uuid:none").refused(raw.statement, ALL + " WHERE nope") != ""
    stranger = user(node, "urn:uuid:00000000-0000-0000-0000-000000000000")
    assert stranger.refused(stranger.statement, ALL) == "CONTRACT_UNKNOWN"


def test_a_ticket_counts_once(world: World, contract: Contract) -> None:
    raw = user(world["r"], contract.id)
    info = raw.statement(ONE)
    assert uses(world, contract) == [], "asking is no use"
    ticket = ticket_of(info)
    answer = raw.read(ticket)
    assert answer.schema.equals(info.schema)
    assert raw.refused(raw.read, ticket) == "TICKET_REFUSED"
    until("the post", lambda: uses(world, contract) == [("posted", 1)])


def test_a_stolen_ticket_is_no_use_and_stays_its_owners(
    world: World, code: str, contract: Contract
) -> None:
    other = world.agree(code)
    raw = user(world["r"], contract.id)
    ticket = ticket_of(raw.statement(ONE))
    _, token = world["r"].node.identity.create_token("thief", ("user",))
    thief = Raw(world["r"], ("authorization", f"Bearer {token}"), ("x-agreement-id", contract.id))
    assert thief.refused(thief.read, ticket) == "TICKET_REFUSED"
    elsewhere = user(world["r"], other.id)
    assert elsewhere.refused(elsewhere.read, ticket) == "TICKET_REFUSED"
    at_provider = Raw(world["a"], ("authorization", f"Bearer {world['a'].token}"))
    assert at_provider.refused(at_provider.read, ticket) == "TICKET_REFUSED"
    flipped = ticket[:-1] + bytes([ticket[-1] ^ 1])
    assert raw.refused(raw.read, flipped) == "TICKET_REFUSED"
    assert raw.read(ticket).num_rows == 1


def test_a_prepared_statement_is_its_owners(world: World, code: str, contract: Contract) -> None:
    raw = user(world["r"], contract.id)
    request = proto.wrap("ActionCreatePreparedStatementRequest", proto.message((1, ALL.encode())))
    (said,) = raw.act("CreatePreparedStatement", request)
    handle = proto.blob(proto.unwrap(said)[1], 1) or b""
    command = proto.wrap("CommandPreparedStatementQuery", proto.message((1, handle)))
    _, token = world["r"].node.identity.create_token("thief", ("user",))
    thief = Raw(world["r"], ("authorization", f"Bearer {token}"), ("x-agreement-id", contract.id))
    assert thief.refused(thief.info, command) == "PREPARED_STATEMENT_UNKNOWN"
    elsewhere = user(world["r"], world.agree(code).id)
    assert elsewhere.refused(elsewhere.info, command) == "AGREEMENTS_DIFFER"
    close = proto.wrap("ActionClosePreparedStatementRequest", proto.message((1, handle)))
    assert thief.act("ClosePreparedStatement", close) == []
    assert raw.info(command).schema.names == ["id", "age", "sex"]
    assert raw.act("ClosePreparedStatement", close) == []
    assert raw.refused(raw.info, command) == "PREPARED_STATEMENT_UNKNOWN"


def test_tickets_end_with_their_time(
    world: World, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = user(world["r"], contract.id)
    ticket = ticket_of(raw.statement(ONE))
    late = time.monotonic() + limits.FLIGHT_TICKET_S + 1
    monkeypatch.setattr("yunhe.protocols.flight.kept.monotonic", lambda: late)
    assert raw.refused(raw.read, ticket) == "TICKET_REFUSED"


def test_a_contract_that_ended_between_ticket_and_get(world: World, contract: Contract) -> None:
    raw = user(world["r"], contract.id)
    ticket = ticket_of(raw.statement(ONE))
    world["a"].space.terminate(contract.id, "enough")
    assert raw.refused(raw.read, ticket) == "CONTRACT_TERMINATED"
    until("the news", lambda: world["r"].space.contract(contract.id).state != "in_force")
    assert raw.refused(raw.statement, ONE) == "CONTRACT_TERMINATED"
    assert uses(world, contract) == []


def test_a_running_stream_is_cut_within_a_second(world: World, contract: Contract) -> None:
    raw = user(world["r"], contract.id)
    reader = raw.get(ticket_of(raw.statement(ALL)))
    reader.read_chunk()
    world["a"].space.terminate(contract.id, "enough")
    time.sleep(limits.STREAM_CHECK_S)
    started = time.monotonic()
    assert raw.refused(reader.read_all) in ("STREAM_CUT", "CONTRACT_TERMINATED")
    assert time.monotonic() - started < 1
    until("the post", lambda: [state for state, _ in uses(world, contract)] == ["posted"])
    ((_, rows),) = uses(world, contract)
    assert 0 < (rows or 0) < ROWS


def test_a_stream_whose_reader_takes_nothing_is_cut_too(world: World, contract: Contract) -> None:
    node = world["r"].node
    raw = Raw(
        world["a"],
        ("authorization", f"Bearer {node.contracts.access(contract.id).token}"),
        ("x-yunhe-peer", f"Bearer {node.identity.mint(world['a'].did)}"),
    )
    reader = raw.get(ticket_of(raw.statement(ALL)))
    reader.read_chunk()
    world["a"].space.terminate(contract.id, "enough")
    started = time.monotonic()
    until("the post", lambda: [state for state, _ in uses(world, contract)] == ["posted"])
    assert time.monotonic() - started < 1.5
    assert raw.refused(reader.read_all) == "CONTRACT_TERMINATED"


@pytest.fixture
def second(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Another face of the consumer's node, which the test may stop."""
    node = world["r"].node
    face = node._flight()
    face.start()
    monkeypatch.setattr(node, "flight", face)
    yield face
    face.stop()


def test_a_stop_waits_for_nobody_who_takes_nothing(
    world: World, contract: Contract, second: Any
) -> None:
    raw = user(world["r"], contract.id)
    reader = raw.get(ticket_of(raw.statement(ALL)))
    reader.read_chunk()
    started = time.monotonic()
    second.stop()
    assert time.monotonic() - started < 5
    with pytest.raises((flight.FlightError, pa.ArrowException)):
        reader.read_all()
    until("the post", lambda: [state for state, _ in uses(world, contract)] == ["posted"])


def test_a_client_that_takes_nothing_is_hung_up_on(
    world: World, contract: Contract, second: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = user(world["r"], contract.id)
    other = user(world["r"], contract.id)
    reader = raw.get(ticket_of(raw.statement(WIDE)))
    reader.read_chunk()
    monkeypatch.setattr(limits, "STALL_S_MAX", 0.5)
    until("the post", lambda: [state for state, _ in uses(world, contract)] == ["posted"])
    time.sleep(1.5)  # the provider may be the first of the two to lose patience with the reader
    with pytest.raises((flight.FlightError, pa.ArrowException)):
        reader.read_all()
    monkeypatch.undo()
    assert other.refused(other.read, b"x") == "FLIGHT_MESSAGE_MALFORMED"


def test_a_client_that_cancels_is_posted_and_frees_the_worker(
    world: World, contract: Contract
) -> None:
    for _ in range(3):
        with connect(world["r"], contract.id) as connection, connection.cursor() as cursor:
            cursor.execute(ALL)
            reader = cursor.fetch_record_batch()
            next(reader)
            cursor.adbc_cancel()
            with contextlib.suppress(OSError, pa.ArrowException):
                reader.read_all()
    until("the posts", lambda: [s for s, _ in uses(world, contract)] == ["posted"] * 3)
    assert all(0 < (rows or 0) < ROWS for _, rows in uses(world, contract))
    assert table(world["r"], contract.id, ONE).num_rows == 1


def test_cancel_flight_info_voids_the_ticket(world: World, contract: Contract) -> None:
    raw = user(world["r"], contract.id)
    info = raw.statement(ONE)
    assert raw.act("CancelFlightInfo", proto.message((1, info.serialize()))) == [b"\x08\x01"]
    assert raw.refused(raw.read, ticket_of(info)) == "TICKET_REFUSED"
    assert raw.act("CancelFlightInfo", proto.message((1, info.serialize()))) == [b"\x08\x03"]
    assert uses(world, contract) == []


@pytest.mark.parametrize(
    "command",
    [
        "CommandStatementUpdate",
        "CommandPreparedStatementUpdate",
        "CommandStatementIngest",
        "CommandStatementSubstraitPlan",
        "TicketStatementQuery",
        "CommandNoSuch",
    ],
)
def test_what_is_not_served(world: World, contract: Contract, command: str) -> None:
    raw = user(world["r"], contract.id)
    assert raw.refused(raw.info, proto.wrap(command, b"\x0a\x01x")) == "FLIGHT_CALL_UNKNOWN"
    descriptor = flight.FlightDescriptor.for_command(proto.wrap(command, b"\x0a\x01x"))

    def put() -> None:
        writer, _ = raw.client.do_put(descriptor, pa.schema([]), raw.options)
        writer.done_writing()
        writer.close()

    assert raw.refused(put) == "FLIGHT_CALL_UNKNOWN"
    path = flight.FlightDescriptor.for_path("etc", "passwd")
    call = raw.client.get_flight_info
    assert raw.refused(call, path, raw.options) == "FLIGHT_MESSAGE_MALFORMED"
    for bent in (path, descriptor):
        call = raw.client.get_schema
        assert raw.refused(call, bent, raw.options) == "FLIGHT_CALL_UNKNOWN"
    assert raw.refused(raw.act, "SetSessionOptions", b"") == "FLIGHT_CALL_UNKNOWN"


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=64), st.sampled_from(["", "CommandStatementQuery", "CommandGetTables"]))
def test_any_bytes_are_answered_or_refused(world: World, body: bytes, name: str) -> None:
    node = world["r"]
    raw = Raw(node, ("authorization", f"Bearer {node.token}"))
    command = proto.wrap(name, body) if name else body
    for call in (
        lambda: raw.info(command),
        lambda: raw.read(command),
        lambda: raw.act("CreatePreparedStatement", command),
        lambda: raw.act("CancelFlightInfo", body),
    ):
        with contextlib.suppress(flight.FlightError, pa.ArrowException, OSError):
            call()
            continue
        raw.refused(call)
