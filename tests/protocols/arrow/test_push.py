"""A push piece by piece: the guard of its address, the wire, the disk of the provider."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from yunhe.contracts import PUSH, DataAddress, Price, Terms, TransferRequest
from yunhe.dataplane import PushNeedsPurpose, PushNeedsSql, PushTooLarge, SpoolFailed, TableBinding
from yunhe.dataplane.push import count_file, lay_down, one_purpose, whole_product
from yunhe.identity import AddressForbidden
from yunhe.kernel import limits
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.egress import Egress
from yunhe.protocols.arrow.sender import Parcel, ReceiverRefused, ReceiverUnreachable, Sending
from yunhe.protocols.dsp import wire
from yunhe.protocols.dsp.body import Body

ENDS = datetime(2126, 1, 1, tzinfo=UTC)


def stream(rows: int = 1000) -> bytes:
    table, out = pa.table({"id": range(rows)}), io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return out.getvalue()


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    laid = lay_down([stream()], tmp_path / "x.arrow", lambda: None)
    return Parcel(tmp_path / "x.arrow", laid.bytes, laid.digest, "use-1")


def sending(parcel: Parcel, url: str, development: bool = True, ranged: bool = False) -> Sending:
    address = DataAddress(url, "token", ENDS, method="PUT", ranged=ranged)
    return Sending(address, parcel, Egress(local=development), CrashPoints())


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/x", "https://127.0.0.1/x", "https://10.0.0.7/x", "https://[::1]/x"],
)
def test_in_production_no_push_goes_to_an_inner_address(parcel: Parcel, url: str) -> None:
    with pytest.raises(AddressForbidden):
        sending(parcel, url, development=False).probe()
    with pytest.raises(AddressForbidden):
        sending(parcel, url, development=False).run(lambda: None)


def test_nobody_there_is_tried_again(parcel: Parcel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for ranged in (True, False):
        with pytest.raises(ReceiverUnreachable):
            sending(parcel, f"http://127.0.0.1:{port}/x", ranged=ranged).probe()
    with pytest.raises(ReceiverRefused):
        sending(parcel, f"http://a:b@127.0.0.1:{port}/x").probe()


def test_what_is_asked_for_survives_the_wire() -> None:
    address = DataAddress("https://c.example/in?x=1", "token", ENDS, method="PUT", ranged=True)
    asked = TransferRequest(
        consumer_pid="urn:uuid:1",
        contract_id="urn:uuid:2",
        format=PUSH,
        address="https://c.example/dsp",
        data_address=address,
        sql="SELECT id\nFROM t",
        purpose="research",
        principal="li",
        use_id="use-12345",
    )
    body = wire.write(asked)
    read = wire.transfer_request(Body(body), False, datetime.now(UTC))
    assert read == asked
    plain = {**body, "format": "HttpData-PULL"}
    assert wire.transfer_request(Body(plain), False, datetime.now(UTC)).sql == ""


def test_the_words_of_an_eclipse_address_are_read() -> None:
    said = {"baseUrl": "https://c.example/in", "authCode": "Basic eA==", "method": "put"}
    properties = [
        {"@type": "EndpointProperty", "name": f"https://w3id.org/edc/v0.0.1/ns/{name}", "value": v}
        for name, v in said.items()
    ]
    body = {
        "@type": "TransferRequestMessage",
        "consumerPid": "c",
        "agreementId": "a",
        "format": PUSH,
        "callbackAddress": "https://c.example/dsp",
        "dataAddress": {"@type": "DataAddress", "endpointProperties": properties},
    }
    read = wire.transfer_request(Body(body), False, datetime.now(UTC)).data_address
    assert read is not None
    assert (read.endpoint, read.token, read.method, read.ranged) == (
        "https://c.example/in",
        "Basic eA==",
        "PUT",
        False,
    )


def test_the_disk_holds_a_whole_stream_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = tmp_path / "push" / "x.arrow", stream()
    laid = lay_down([data[:700], data[700:]], path, lambda: None)
    assert (laid.rows, laid.bytes) == (1000, len(data))
    assert path.stat().st_mode & 0o777 == 0o600
    begun = [count_file(path, size).rows_begun for size in range(0, len(data), 97)]
    assert begun == sorted(begun)
    assert begun[0] == 0
    assert begun[-1] == 1000

    def ended() -> None:
        raise PushNeedsPurpose

    other = path.with_name("y.arrow")
    with pytest.raises(PushNeedsPurpose):
        lay_down([data], other, ended)
    monkeypatch.setattr(limits, "PUSH_BYTES_MAX", len(data) - 1)
    with pytest.raises(PushTooLarge):
        lay_down([data], other, lambda: None)
    monkeypatch.setattr(limits, "PUSH_BYTES_MAX", len(data))
    monkeypatch.setattr(limits, "SPARE_BYTES", 1 << 62)
    with pytest.raises(SpoolFailed):
        lay_down([data], other, lambda: None)
    assert [each.name for each in path.parent.iterdir()] == ["x.arrow"]


def test_the_whole_product_is_one_table_of_rows() -> None:
    tables = {"a": TableBinding({"id": "BIGINT"}), 'b"c': TableBinding({"id": "BIGINT"})}
    assert whole_product(tables, Terms(("p",), ("a.id",))) == 'SELECT * FROM "a"'
    for terms in (Terms(("p",), ("a.id", 'b"c.id')), Terms(("p",), ("a.id",), minimum_group=5)):
        with pytest.raises(PushNeedsSql):
            whole_product(tables, terms)
    assert one_purpose(Terms(("p",), (), price=Price())) == "p"
    with pytest.raises(PushNeedsPurpose):
        one_purpose(Terms(("p", "q"), ()))


@pytest.mark.parametrize("part", [b"HTTP/1.1 100 Continue\r\n\r\n", b"H"])
def test_an_answer_without_end_holds_no_thread(
    parcel: Parcel, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(limits, "PUSH_ANSWER_S_MAX", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while True:
                    connection.sendall(part)
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        began = time.monotonic()
        with pytest.raises(ReceiverUnreachable):
            sending(parcel, url).run(lambda: None)
    assert time.monotonic() - began < 5
