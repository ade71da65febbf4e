"""What one client asks shares a connection, and one that died costs nothing but a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pyarrow as pa
import pytest

from sdk.fake_node import CONTRACT, PROBLEM, FakeNode, arrow_bytes, fake_node, negotiation
from yunhe import sdk
from yunhe.sdk.lines import KEPT_MAX

TABLE = pa.table({"sex": ["f", "m", "f"], "n": [1, 2, 3]})


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as made:
        made.stream = arrow_bytes(TABLE)
        yield made


@pytest.fixture
def space(node: FakeNode) -> Iterator[sdk.Space]:
    with sdk.connect(node.url, "secret") as made:
        yield made


def test_queries_share_a_connection(node: FakeNode, space: sdk.Space) -> None:
    for _ in range(3):
        assert space.sql("SELECT 1", "c-1", "p").num_rows == 3
    assert len(set(node.ports)) == 1


def test_a_refusal_leaves_the_connection_good(node: FakeNode, space: sdk.Space) -> None:
    space.sql("SELECT 1", "c-1", "p")
    node.answers["POST /sql"] = (403, PROBLEM)
    with pytest.raises(sdk.YunheRefused):
        space.sql("SELECT 1", "c-1", "marketing")
    del node.answers["POST /sql"]
    space.sql("SELECT 1", "c-1", "p")
    assert len(set(node.ports)) == 1


def test_a_stream_left_early_is_not_used_again(node: FakeNode, space: sdk.Space) -> None:
    with space.sql_stream("SELECT 1", "c-1", "p") as batches:
        next(iter(batches))
    space.sql("SELECT 1", "c-1", "p")
    assert len(set(node.ports)) == 2


def test_a_broken_stream_is_not_used_again(node: FakeNode, space: sdk.Space) -> None:
    whole = node.stream
    node.stream, node.cut = whole[:-40], True
    with pytest.raises(sdk.StreamBroken):
        space.sql("SELECT 1", "c-1", "p")
    node.stream, node.cut = whole, False
    assert space.sql("SELECT 1", "c-1", "p").num_rows == 3
    assert len(set(node.ports)) == 2


def test_a_connection_that_dies_on_the_query_asks_the_same_use_anew(
    node: FakeNode, space: sdk.Space
) -> None:
    space.sql("SELECT 1", "c-1", "p")
    node.deaf_from = node.ports[0]
    assert space.sql("SELECT 1", "c-1", "p", use_id="u-7").num_rows == 3
    assert [body["use_id"] for _, _, body, _ in node.seen[1:]] == ["u-7"]
    assert node.ports[1] != node.ports[0]


def test_calls_and_queries_share_a_connection(node: FakeNode, space: sdk.Space) -> None:
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    space.contract("c-1")
    space.sql("SELECT 1", "c-1", "p")
    with pytest.raises(sdk.YunheRefused):
        space.contract("c-2")
    space.contract("c-1")
    assert len(set(node.ports)) == 1


def test_a_call_that_only_reads_is_asked_anew_when_its_connection_dies(
    node: FakeNode, space: sdk.Space
) -> None:
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    space.contract("c-1")
    node.deaf_from = node.ports[0]
    assert space.contract("c-1").id == "c-1"
    assert node.ports[1] != node.ports[0]


def test_a_call_that_changes_something_is_never_sent_twice(
    node: FakeNode, space: sdk.Space
) -> None:
    """The node may have done it before the connection died."""
    node.answers["GET /contracts/c-1"] = node.answers["POST /contracts/c-1/terminate"] = (
        200,
        CONTRACT,
    )
    space.contract("c-1")
    node.deaf_from = node.ports[0]
    with pytest.raises(sdk.NodeUnreachable):
        space.terminate("c-1", "done")
    assert [key for key, *_ in node.seen] == ["GET /contracts/c-1"]
    assert len(node.ports) == 1


def test_parameters_are_written_as_the_node_reads_them(node: FakeNode, space: sdk.Space) -> None:
    seen: list[str] = []

    def answer(query: str, _body: object) -> tuple[int, object]:
        seen.append(query)
        return 200, {"items": [], "total": 0}

    node.answers["GET /search"] = answer
    space.search("心电 a&b=1", limit=5)
    node.answers["GET /negotiations/n-1"] = lambda query, _: (
        seen.append(query) or (200, negotiation("REQUESTED", 1, waiting_for="you"))
    )
    space.negotiation("n-1", settled=True)
    assert parse_qs(seen[0])["q"] == ["心电 a&b=1"]
    assert parse_qs(seen[1])["settled"] == ["true"]


def test_a_node_that_is_gone_is_unreachable(node: FakeNode, space: sdk.Space) -> None:
    with fake_node() as other, sdk.connect(other.url, "secret") as there:
        other.stream = node.stream
        there.sql("SELECT 1", "c-1", "p")
        other.deaf_from = other.ports[0]
        gone = there
    with pytest.raises(sdk.NodeUnreachable):
        gone.sql("SELECT 1", "c-1", "p")


def test_kept_connections_are_bounded_and_not_shared_at_once(
    node: FakeNode, space: sdk.Space
) -> None:
    streams = [space.sql_stream("SELECT 1", "c-1", "p") for _ in range(2 * KEPT_MAX)]
    assert len(set(node.ports)) == 2 * KEPT_MAX
    for batches in streams:
        assert batches.read_all().num_rows == 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: space.sql("SELECT 1", "c-1", "p").num_rows, range(40)))
    assert found == [3] * 40


def test_a_closed_client_keeps_nothing(node: FakeNode) -> None:
    space = sdk.connect(node.url, "secret")
    batches = space.sql_stream("SELECT 1", "c-1", "p")
    space.close()
    assert batches.read_all().num_rows == 3
    assert space._lines._idle == []


def test_the_asynchronous_client_keeps_them_too(node: FakeNode) -> None:
    async def twice() -> None:
        async with sdk.connect_async(node.url, "secret") as space:
            for _ in range(2):
                assert (await space.sql("SELECT 1", "c-1", "p")).num_rows == 3

    asyncio.run(twice())
    assert len(set(node.ports)) == 1
