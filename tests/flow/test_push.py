"""The life of a pushed transfer, between whole nodes in one process."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from examples import example
from flow.sinks import LyingSink, PlainSink
from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until
from yunhe.cli import app
from yunhe.contracts import PUSH, DataAddress, Side, Wish, transfers
from yunhe.identity import DidUnreachable
from yunhe.kernel import limits
from yunhe.sdk import BadTarget, Contract, PushEnded, Terms, Transfer, YunheRefused

PLAIN = Terms(
    purposes=TERMS.purposes,
    columns=TERMS.columns,
    uses_max=20,
    row_filters=TERMS.row_filters,
    masks=TERMS.masks,
    per_use_fen=100,
    per_row_fen=7,
)
WIDE = Terms(
    purposes=TERMS.purposes,
    columns=("notes.id", "notes.text"),
    uses_max=20,
    per_use_fen=100,
    per_row_fen=1,
)
ROWS = 200_000  # some forty megabytes: more than the buffers between two sockets hold


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("world")) as found:
        notes = pa.table({"id": range(ROWS), "text": [f"{i:0200d}" for i in range(ROWS)]})
        pq.write_table(notes, found["a"].config.data_roots[0] / "notes.parquet")
        yield found


def test_a_whole_product_comes_into_a_file_and_is_settled(world: World, tmp_path: Path) -> None:
    a, r = (world.nodes[key].space for key in ("a", "r"))
    contract = world.agree(world.product(PLAIN))
    got = r.receive(contract, tmp_path / "patients.parquet")
    table = pq.read_table(got.path)
    assert table.num_rows == got.rows == 360
    assert table.schema.names == ["id", "age", "sex"]
    assert set(table["age"].to_pylist()) <= {20, 30, 40, 50, 60, 70, 80, 90}
    until(
        "both complete", lambda: all(s.transfers(contract)[0].state == "COMPLETED" for s in (a, r))
    )
    assert [use.use_id for use in a.uses(contract)] == [got.use_id]
    until("the receipt", lambda: len(world["a"].node.exchange.receipts(contract.id)) == 1)
    a.issue_statement(contract)
    until("settled", lambda: [s.state for s in a.statements(contract)] == ["settled"])
    assert a.statements(contract)[0].total_fen == 100 + 7 * 360
    again = r.fetch(got.transfer_id, tmp_path)
    with pa.ipc.open_file(again.path) as reader:
        assert reader.read_all().equals(table)
    r.discard(got.transfer_id)
    with pytest.raises(YunheRefused, match="NOTHING_RECEIVED"):
        r.fetch(got.transfer_id, tmp_path)


def test_the_example_of_the_page_runs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    contract = world.agree(world.product(PLAIN))
    known: dict[str, Any] = {"space": world["r"].space, "contract": contract}
    exec(example("transfers", "space.receive"), known)  # noqa: S102  that is the test
    assert pq.read_table("patients.parquet").num_rows == 360
    with pa.ipc.open_file("by_sex.arrow") as reader:
        assert sum(reader.read_all()["n"].to_pylist()) == 360


@pytest.fixture
def sink() -> Iterator[PlainSink]:
    found = PlainSink()
    try:
        yield found
    finally:
        found.close()


def push_to(
    world: World,
    contract: Contract,
    url: str,
    wish: Wish | None = None,
    ranged: bool = False,
) -> Transfer:
    """The researcher has the provider push to a third party's address."""
    node = world["r"].node
    ends = node.clock.now() + timedelta(hours=1)
    asked = node.db.write(
        lambda tx: transfers.request(
            node.contracts._desk,
            tx,
            contract.id,
            PUSH,
            DataAddress(url, "third-party-secret", ends, ranged=ranged),
            wish or Wish(PURPOSE, f"use-{uuid.uuid4()}"),
        )
    )
    return world["r"].space.transfer(asked.id)


def provider_of(world: World, contract: Contract) -> Transfer:
    return until("the request", lambda: world["a"].space.transfers(contract))[0]


def test_a_third_partys_address_takes_a_push(world: World, sink: PlainSink) -> None:
    contract = world.agree(world.product(PLAIN))
    sink.statuses = [503, 200]
    push_to(world, contract, sink.url)
    until("completion", lambda: provider_of(world, contract).state == "COMPLETED")
    head, again = sink.heads
    assert head == again
    assert head["authorization"] == "Bearer third-party-secret"
    assert head["content-type"] == "application/vnd.apache.arrow.stream"
    assert "content-range" not in head
    assert sink.bodies[0] == sink.bodies[1]
    digest = base64.b64encode(hashlib.sha256(sink.bodies[0]).digest()).decode()
    assert head["repr-digest"] == f"sha-256=:{digest}:"
    assert pa.ipc.open_stream(sink.bodies[0]).read_all().num_rows == 360
    (use,) = world["a"].space.uses(contract)
    assert (use.state, use.rows, use.bytes) == ("posted", 360, len(sink.bodies[0]))
    push = provider_of(world, contract).push
    assert push is not None
    assert (push["state"], push["failures"]) == ("done", 1)


def test_suspended_it_sends_nothing_and_resumed_it_goes_on(world: World, sink: PlainSink) -> None:
    a = world["a"].space
    contract = world.agree(world.product(WIDE, table="notes"))
    sink.gate.clear()
    push_to(world, contract, sink.url)
    until("the first bytes", lambda: len(sink.heads) == 1)
    a.suspend_transfer(provider_of(world, contract), "Tonight is maintenance.")
    began = time.monotonic()
    until("silence", lambda: world["a"].node.pusher.sent(provider_of(world, contract).id) is None)
    assert time.monotonic() - began < 1.5
    sink.gate.set()
    time.sleep(1.2)
    assert not sink.bodies
    assert len(sink.heads) == 1
    world["r"].space.resume_transfer(world["r"].space.transfers(contract)[0])
    # Forty megabytes through one interpreter: a busy machine takes its time.
    until("completion", lambda: provider_of(world, contract).state == "COMPLETED", 90)
    (use,) = a.uses(contract)
    assert (use.state, use.bytes) == ("posted", len(sink.bodies[0]))
    assert use.rows == pa.ipc.open_stream(sink.bodies[0]).read_all().num_rows


@pytest.mark.parametrize("ended", ["contract", "transfer"])
def test_an_end_cuts_a_running_push_and_bills_what_left(
    world: World, sink: PlainSink, ended: str
) -> None:
    a, r = (world.nodes[key].space for key in ("a", "r"))
    contract = world.agree(world.product(WIDE, table="notes"))
    sink.gate.clear()
    push_to(world, contract, sink.url)
    until("the first bytes", lambda: len(sink.heads) == 1)
    time.sleep(0.6)
    if ended == "contract":
        a.terminate(contract, "No longer.")
    else:
        r.terminate_transfer(r.transfers(contract)[0], "No longer.")
    began = time.monotonic()
    until("the end", lambda: (provider_of(world, contract).push or {})["state"] == "cut")
    if ended == "contract":
        assert time.monotonic() - began < 1.5
    (use,) = a.uses(contract)
    assert use.state == "posted"
    assert 0 < use.rows < ROWS
    until("no file", lambda: not [*(world["a"].config.data_dir / "push").iterdir()])
    sink.gate.set()
    time.sleep(0.5)
    assert not sink.bodies


def test_a_receiver_that_denies_what_came_pays_for_it(world: World) -> None:
    a = world["a"].space
    contract = world.agree(world.product(WIDE, table="notes"))
    with LyingSink() as sink:
        push_to(world, contract, sink.url, ranged=True)
        until("the lie", lambda: sink.lied)
        assert sink.come > 20_000_000
        until("the wait", lambda: (provider_of(world, contract).push or {})["failures"] > 1)
        r = world["r"].space
        r.terminate_transfer(r.transfers(contract)[0], "No longer.")
        until("the end", lambda: (provider_of(world, contract).push or {})["state"] == "cut")
    (use,) = a.uses(contract)
    assert use.state == "posted"
    assert use.rows > ROWS * 0.4


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data", "ADDRESS_FORBIDDEN"),
        ("http://user:secret@127.0.0.1/x", "RECEIVER_REFUSED"),
        ("ftp://127.0.0.1/x", "ADDRESS_FORBIDDEN"),
    ],
)
def test_an_address_that_none_may_name_costs_nothing(world: World, url: str, code: str) -> None:
    contract = world.agree(world.product(PLAIN))
    push_to(world, contract, url)
    until("the end", lambda: provider_of(world, contract).state == "TERMINATED")
    until("the news", lambda: world["r"].space.transfers(contract)[0].state == "TERMINATED")
    for key in ("a", "r"):
        assert (world[key].space.transfers(contract)[0].error or {})["code"] == code
    assert world["a"].space.uses(contract) == []
    assert world["a"].space.contract(contract.id).uses_left == 20


def test_no_whole_product_where_only_aggregates_are_allowed(world: World, tmp_path: Path) -> None:
    contract = world.agree(world.product())
    r = world["r"].space
    with pytest.raises(YunheRefused, match="PUSH_NEEDS_SQL"):
        r.receive(contract, tmp_path)
    got = r.receive(contract, tmp_path / "by_sex.arrows", sql=BY_SEX)
    assert got.rows == 2
    with pytest.raises(PushEnded, match="entity key"):
        r.receive(contract, tmp_path, sql="SELECT id FROM patients")
    with pytest.raises(BadTarget):
        r.receive(contract, tmp_path / "x.exe")


@pytest.fixture
def nobody_sends(world: World) -> Iterator[None]:
    """The provider sends nothing of its own: the test is its sender, or there is none."""
    watch = world["a"].node.pusher._watch
    watch.stop()
    yield
    watch.start()


@pytest.mark.usefixtures("nobody_sends")
def test_the_inbox_takes_one_transfer_once_and_nothing_else(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    r, node = world["r"].space, world["r"].node
    contract = world.agree(world.product(PLAIN))
    asked = r.push(contract)
    until("the start", lambda: r.transfer(asked.id).state == "STARTED")
    address = node.contracts.transfer(asked.id).data_address
    assert address is not None
    good = {"authorization": f"Bearer {address.token}"}
    stream = io.BytesIO()
    table = pa.table({"id": range(100)})
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    data = stream.getvalue()
    half = len(data) // 2

    def ranged(first: int, last: int, of: int = len(data)) -> dict[str, str]:
        return {**good, "content-range": f"bytes {first}-{last}/{of}"}

    with httpx.Client(trust_env=False) as http:

        def put(headers: dict[str, str], content: Any = data, url: str = address.endpoint) -> str:
            got = http.put(url, headers=headers, content=content)
            return str(got.json()["code"]) if got.status_code >= 400 else str(got.status_code)

        assert put({}) == "INBOX_CLOSED"
        assert put({"authorization": "Bearer wrong"}) == "INBOX_CLOSED"
        other = address.endpoint.rpartition("/")[0]
        assert put(good, url=f"{other}/{uuid.uuid4()}") == "INBOX_CLOSED"
        assert put(good, url=f"{other}/..%2f..%2fnode.db") in ("INBOX_CLOSED", "NOT_FOUND")
        assert put({**good, "x-yunhe-use-id": "another"}) == "INBOX_MALFORMED"
        huge = limits.PUSH_BYTES_MAX + 1
        assert put(ranged(0, huge - 1, huge)) == "INBOX_TOO_LARGE"
        assert put(ranged(0, 9, 10), data) == "INBOX_TOO_LARGE"
        assert put(good, b"not arrow at all, whatever it says") == "INBOX_MALFORMED"
        assert put(good, data[:-8]) == "INBOX_MALFORMED"
        free = iter([limits.SPARE_BYTES, limits.SPARE_BYTES - 1])
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
            # A body that does not say how long it is.
            assert put(good, iter([data])) == "INBOX_FULL"
        wrong = base64.b64encode(bytes(32)).decode()
        assert put({**good, "repr-digest": f"sha-256=:{wrong}:"}) == "INBOX_MALFORMED"
        assert put(ranged(half, len(data) - 1), data[half:]) == "INBOX_HALTED"
        assert put(ranged(0, half - 1), data[:half]) == "202"
        head = http.head(address.endpoint, headers=good)
        assert (head.status_code, head.headers["upload-offset"]) == (204, str(half))
        assert http.head(address.endpoint).status_code == 401
        r.suspend_transfer(asked, "Wait.")
        assert put(ranged(half, len(data) - 1), data[half:]) == "INBOX_HALTED"
        r.resume_transfer(asked)
        assert put(ranged(half, len(data) - 1), data[half:]) == "204"
        assert put(good) == "INBOX_TAKEN"
        assert http.head(address.endpoint, headers=good).headers["upload-complete"] == "?1"
        push = r.transfer(asked.id).push
        assert push is not None
        assert (push["state"], push["rows"], push["bytes"]) == ("done", 100, len(data))
        assert r.fetch(asked, tmp_path / "x.arrows").path.read_bytes() == data
        r.terminate_transfer(asked, "All is here.")
        assert put(good) == "INBOX_CLOSED"
    key = asked.id.rpartition(":")[2]
    files = [each.name for each in (world["r"].config.data_dir / "inbox").glob(f"*{key}*")]
    assert files == [f"{key}.arrow"]


@pytest.mark.usefixtures("nobody_sends")
def test_a_push_that_ended_early_is_settled_with_the_provider(world: World) -> None:
    r, a = world["r"].space, world["a"].space
    contract = world.agree(world.product(PLAIN))
    asked = r.push(contract)
    until("the start", lambda: r.transfer(asked.id).state == "STARTED")
    a.terminate_transfer(provider_of(world, contract), "Not today.")
    until("the end", lambda: r.transfer(asked.id).state == "TERMINATED")
    until("the books", lambda: not world["r"].node.exchange.open_uses(), 30)
    assert (r.transfer(asked.id).push or {})["state"] == "cut"
    assert r.uses(contract) == []


def test_a_round_that_fails_unforeseen_is_told_and_the_next_one_sends(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pushes = world["a"].node.contracts.pushes
    unfinished, failures = pushes.unfinished, iter([ZeroDivisionError("unforeseen")])

    def failing(side: Side) -> list[tuple[Any, Any]]:
        if (error := next(failures, None)) is not None:
            raise error
        return unfinished(side)

    monkeypatch.setattr(pushes, "unfinished", failing)
    assert world["r"].space.receive(world.agree(world.product(PLAIN)), tmp_path).rows == 360
    assert any("unforeseen" in (each.exc_text or "") for each in caplog.records)


def test_a_push_that_fails_unforeseen_waits_for_the_next_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher, rings = world["a"].node.pusher, list[threading.Thread]()
    monkeypatch.setattr(pusher._pushes, "claim", lambda *_: 1 // 0)
    monkeypatch.setattr(pusher._watch, "ring", lambda: rings.append(threading.current_thread()))
    pusher._one("urn:uuid:any")
    assert threading.current_thread() not in rings
    monkeypatch.setattr(pusher._pushes, "claim", lambda *_: False)
    pusher._one("urn:uuid:any")
    assert threading.current_thread() in rings


def test_a_registrar_that_is_away_delays_a_push_and_ends_none(
    world: World, sink: PlainSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart, when the registrar's key is asked for anew."""
    contract = world.agree(world.product(PLAIN))
    pusher, away = world["a"].node.pusher, iter([DidUnreachable(why="it does not answer")])
    standing = pusher._standing

    def asked(did: str) -> None:
        if (error := next(away, None)) is not None:
            raise error
        standing(did)

    monkeypatch.setattr(pusher, "_standing", asked)
    push_to(world, contract, sink.url)
    until("the end", lambda: provider_of(world, contract).state in ("COMPLETED", "TERMINATED"))
    assert provider_of(world, contract).state == "COMPLETED"
    assert next(away, None) is None  # it was met


def test_the_command_line_has_it_pushed(world: World, tmp_path: Path) -> None:
    contract = world.agree(world.product(PLAIN))
    served = world["r"]
    env = {"YUNHE_URL": served.config.address, "YUNHE_TOKEN": served.token}

    def yunhe(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["transfers", *words, "--json"], env=env)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    file = tmp_path / "p.arrow"
    got = yunhe("push", contract.id, "--to", str(file))
    assert (got["rows"], got["path"]) == (360, str(file))
    key = got["transfer_id"]
    assert yunhe("show", key)["push"]["state"] == "done"
    assert yunhe("fetch", key, "--to", str(tmp_path / "q.parquet"))["sha256"] == got["sha256"]
    for words in (("list", contract.id), ("show", key)):
        result = CliRunner().invoke(app, ["transfers", *words], env=env)
        assert result.exit_code == 0
        assert key[9:17] in result.output


def test_a_revoked_member_gets_no_further_byte(world: World, sink: PlainSink) -> None:
    """Last in this file: the researcher is out."""
    contract = world.agree(world.product(WIDE, table="notes"))
    sink.gate.clear()
    push_to(world, contract, sink.url)
    until("the first bytes", lambda: len(sink.heads) == 1)
    code = world["r"].space.registration().connector_code
    assert code is not None
    world["fn"].space.change_standing(code, "revoke", ["misuse"])
    until("the end", lambda: provider_of(world, contract).state == "TERMINATED", 8)
    assert (provider_of(world, contract).error or {})["code"] == "CREDENTIAL_REVOKED"
    (use,) = world["a"].space.uses(contract)
    assert 0 < use.rows < ROWS
    sink.gate.set()
    time.sleep(0.3)
    assert not sink.bodies
