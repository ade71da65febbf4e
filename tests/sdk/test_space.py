"""The client against a scripted node: verbs, refusals, waits, streams, on both faces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

import yunhe
from sdk.fake_node import (
    CONTRACT,
    OFFER,
    PROBLEM,
    TERMS,
    FakeNode,
    arrow_bytes,
    fake_node,
    negotiation,
)
from yunhe import sdk
from yunhe.kernel.errors import Invalid, YunheError


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as found:
        yield found


@pytest.fixture
def space(node: FakeNode) -> Iterator[sdk.Space]:
    with yunhe.connect(node.url, "secret") as found:
        yield found


def test_a_verb_sends_the_token_and_reads_a_record(node: FakeNode, space: sdk.Space) -> None:
    node.answers["GET /me"] = (200, {"id": "1", "name": "Li", "roles": ["user"], "new": 1})
    assert space.me() == sdk.Me("1", "Li", ("user",))
    assert node.seen[0][3]["authorization"] == "Bearer secret"


def test_the_token_is_not_shown_in_the_representation(space: sdk.Space) -> None:
    assert "secret" not in repr(space.target)


def test_a_refusal_carries_the_nodes_words_in_both_languages(
    node: FakeNode, space: sdk.Space
) -> None:
    node.answers["GET /contracts/c%2F1"] = (403, PROBLEM)
    with pytest.raises(sdk.YunheRefused) as caught:
        space.contract("c/1")
    refused = caught.value
    assert (refused.code, refused.status) == ("PURPOSE_NOT_AGREED", 403)
    assert refused.sentence() == "The purpose was not agreed."
    assert refused.sentence("zh") == "未约定该用途。"
    assert refused.remedy("zh") == "请签订新合约。"
    assert refused.facts == {"purpose": "marketing"}
    assert isinstance(refused, YunheError)
    assert sdk.YunheRefused.code == "REFUSED_BY_NODE"


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"[]", b'{"code": 5}'])
def test_what_is_no_node_is_said_so(node: FakeNode, space: sdk.Space, body: bytes) -> None:
    node.answers["GET /health"] = (502, body)
    with pytest.raises(sdk.UnexpectedAnswer, match="HTTP 502"):
        space.health()


@pytest.mark.parametrize("body", [b"oops", b"[]", b'{"items": [{"code": 1}]}', b'{"items": 3}'])
def test_an_answer_of_another_shape_is_an_error(
    node: FakeNode, space: sdk.Space, body: bytes
) -> None:
    node.answers["GET /search"] = (200, body)
    with pytest.raises(sdk.UnexpectedAnswer):
        space.search("肝病")


def test_a_node_that_is_down_is_unreachable() -> None:
    with yunhe.connect("http://127.0.0.1:9", "t") as space:
        with pytest.raises(sdk.NodeUnreachable):
            space.health()
        with pytest.raises(sdk.NodeUnreachable):
            space.sql("SELECT 1", "c", "research")


def test_what_the_client_itself_refuses_is_told_whole_in_the_readers_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = sdk.NodeUnreachable("a detail", url="u", why="no such host", why_zh="找不到该主机")
    monkeypatch.setenv("YUNHE_LANG", "zh")
    assert str(gone) == (
        "NODE_UNREACHABLE: 无法连接节点 u：找不到该主机。 请核对地址并确认节点正在运行，然后重试。"
    )
    monkeypatch.setenv("YUNHE_LANG", "en")
    assert str(gone).startswith("NODE_UNREACHABLE: The node at u does not answer: no such host.")
    assert str(gone).endswith("then try again.")


@pytest.mark.parametrize("url", ["", "node", "ftp://node", "http://u:p@127.0.0.1", "https://"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(Invalid):
        yunhe.connect(url, "t")


def test_a_token_does_not_travel_in_clear_text() -> None:
    with pytest.raises(sdk.InsecureUrl):
        yunhe.connect("http://node.example", "t")
    yunhe.connect("http://node.example", "t", insecure=True).close()
    yunhe.connect("http://node.example").close()


def test_search_quotes_words_and_offer_asks_at_the_provider(
    node: FakeNode, space: sdk.Space
) -> None:
    hit = {
        "code": "P1",
        "title_zh": "脂肪肝队列",
        "title_en": "NAFLD cohort",
        "provider_did": "did:web:h",
        "address": "http://h",
    }
    node.answers["GET /search"] = (200, {"items": [hit], "total": 1})
    node.answers["GET /offers/P1"] = (200, OFFER)
    offer = space.offer(space.search("脂肪肝 & liver")[0])
    assert node.seen[0][1] == "q=%E8%84%82%E8%82%AA%E8%82%9D+%26+liver&limit=20&offset=0"
    assert node.seen[1][1] == "provider=did%3Aweb%3Ah&address=http%3A%2F%2Fh"
    assert offer.terms.expires_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert offer.terms.to_json() == TERMS


def test_terms_change_by_the_names_of_the_wire_and_refuse_others() -> None:
    terms = sdk.Terms.from_json(TERMS)
    assert terms.but({"uses_max": 3}).uses_max == 3
    assert terms.but(None) == terms
    with pytest.raises(ValueError, match="no such term: use_max"):
        terms.but({"use_max": 3})


def test_a_negotiation_tells_each_step_and_ends_in_a_contract(
    node: FakeNode, space: sdk.Space
) -> None:
    node.answers["POST /negotiations"] = (202, negotiation("REQUESTED", 1))
    moves = [{"by": "provider", "offer_id": "o2", "terms": TERMS, "at": "x"}]
    node.answers["GET /negotiations/n-1"] = [
        (200, negotiation("REQUESTED", 1)),
        (200, negotiation("OFFERED", 2, offers=moves)),
        (200, negotiation("FINALIZED", 5, contract_id="c-1")),
    ]
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    told: list[sdk.Progress] = []
    offer = sdk.Offer("offer-1", "P1", "did:web:h", "http://h", sdk.Terms.from_json(TERMS))
    contract = space.negotiate(
        offer, ask={"uses_max": 20}, accept={"uses_max": 5}, on_progress=told.append
    )
    assert contract.terms.uses_max == 10
    assert [step.negotiation.state for step in told] == ["REQUESTED", "OFFERED", "FINALIZED"]
    assert told[1].negotiation.offers[0].terms.minimum_group == 5
    sent = node.seen[0][2]
    assert (sent["terms"]["uses_max"], sent["accept"]["uses_max"]) == (20, 5)
    assert "since_version=1" in node.seen[1][1]
    assert "wait_s=20" in node.seen[1][1]


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (negotiation("TERMINATED", 2, error={"code": "NO"}), sdk.NegotiationEnded),
        (negotiation("OFFERED", 2, waiting_for="you"), sdk.NegotiationHeld),
        (negotiation("REQUESTED", 2), sdk.NegotiationTimeout),
    ],
)
def test_a_negotiation_without_a_contract_says_why(
    node: FakeNode, space: sdk.Space, state: dict[str, Any], error: type[YunheError]
) -> None:
    node.answers["POST /negotiations"] = (202, state)
    node.answers["GET /negotiations/n-1"] = (200, state)
    offer = sdk.Offer("offer-1", "P1", "did:web:h", "http://h", sdk.Terms.from_json(TERMS))
    with pytest.raises(error) as caught:
        space.negotiate(offer, timeout_s=0.05)
    assert caught.value.facts["negotiation_id"] == "n-1"
    assert node.seen[0][2]["accept"] is None


TABLE = pa.table({"sex": ["f", "m", "f"], "n": [7, 8, 9]})


def test_sql_returns_the_whole_table_and_its_facts(node: FakeNode, space: sdk.Space) -> None:
    node.stream = arrow_bytes(TABLE)
    found = space.sql("SELECT 1", "c-1", "medical-research", use_id="u-1")
    assert found.to_pydict() == TABLE.to_pydict()
    assert found.schema.metadata[b"yunhe.use_id"] == b"u-1"
    assert found.schema.metadata[b"yunhe.groups_withheld"] == b"true"
    assert node.seen[0][2] == {
        "contract_id": "c-1",
        "sql": "SELECT 1",
        "purpose": "medical-research",
        "use_id": "u-1",
    }
    assert space.sql_pandas("SELECT 1", "c-1", "p").shape == (3, 2)
    assert space.sql_polars("SELECT 1", "c-1", "p").shape == (3, 2)
    assert node.seen[1][2]["use_id"] != node.seen[2][2]["use_id"]


def test_a_table_without_rows_keeps_its_schema(node: FakeNode, space: sdk.Space) -> None:
    node.stream = arrow_bytes(TABLE.slice(0, 0))
    assert space.sql("SELECT 1", "c-1", "p").schema.names == ["sex", "n"]


def test_a_stream_gives_batches_as_they_come(node: FakeNode, space: sdk.Space) -> None:
    node.stream = arrow_bytes(TABLE)
    with space.sql_stream("SELECT 1", "c-1", "p") as batches:
        assert [batch.num_rows for batch in batches] == [2, 1]
        assert batches.groups_withheld


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("missing", [8, 40, 400])
def test_a_stream_that_ends_early_is_no_result(
    node: FakeNode, space: sdk.Space, cut: bool, missing: int
) -> None:
    node.stream, node.cut = arrow_bytes(TABLE)[:-missing], cut
    with pytest.raises(sdk.StreamBroken) as caught:
        space.sql("SELECT 1", "c-1", "p", use_id="u-9")
    assert caught.value.facts["use_id"] == "u-9"


def test_a_refused_query_is_a_refusal(node: FakeNode, space: sdk.Space) -> None:
    node.answers["POST /sql"] = (403, PROBLEM)
    with pytest.raises(sdk.YunheRefused, match="PURPOSE_NOT_AGREED"):
        space.sql("SELECT 1", "c-1", "marketing")


def test_an_answer_that_is_not_arrow_is_an_error(node: FakeNode, space: sdk.Space) -> None:
    node.answers["POST /sql"] = (200, {})
    with pytest.raises(sdk.UnexpectedAnswer):
        space.sql("SELECT 1", "c-1", "p")


def test_without_arrow_nothing_is_sent(
    node: FakeNode, space: sdk.Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.ipc", None)
    with pytest.raises(sdk.ArrowMissing, match=r"pyarrow is not installed"):
        space.sql("SELECT 1", "c-1", "p")
    assert node.seen == []


STATEMENT = {"id": "s", "contract_id": "c-1", "state": "issued", "uses": 1, "rows": 2}
TRANSFER = {
    "id": "t-1",
    "contract_id": "c-1",
    "role": "consumer",
    "peer_did": "did:web:a.example",
    "state": "STARTED",
}
FORM = {"title_zh": "a", "title_en": "b", "state": "draft", "id": "r-1"}


@pytest.mark.parametrize(
    ("verb", "arguments", "request_line", "answer"),
    [
        ("registration", (), "GET /registration", {"state": "approved"}),
        ("register_self", (), "POST /registration", {"state": "submitted"}),
        ("applications", ("submitted",), "GET /applications", {"items": []}),
        ("registrations", (), "GET /registrations", {"items": []}),
        ("resources", (), "GET /resources", {"items": [FORM]}),
        ("add_resource", ({"tables": []},), "POST /resources", FORM),
        ("edit_resource", ("r-1", {"title_en": "c"}), "PATCH /resources/r-1", FORM),
        ("submit_resource", ("r-1",), "POST /resources/r-1/submit", FORM),
        ("add_product", ({"terms": sdk.Terms(("p",), ("t.c",))},), "POST /products", FORM),
        ("submit_product", ("r-1",), "POST /products/r-1/submit", FORM),
        ("list_product", ("r-1",), "POST /products/r-1/list", FORM),
        ("withdraw", ("r-1",), "POST /products/r-1/withdraw", FORM),
        ("product", ("P1",), "GET /catalogue/P1", {**FORM, "code": "P1", "provider_did": "d"}),
        ("contracts", (), "GET /contracts", {"items": [CONTRACT]}),
        ("budget", ("c-1",), "GET /contracts/c-1/budget", {"rows_left": 7}),
        (
            "governed",
            ("c-1", "SELECT 1"),
            "POST /contracts/c-1/explain",
            {
                "contract_id": "c-1",
                "sql": "SELECT 1",
                "groups_sql": None,
                "minimum_group": 0,
                "fields": [],
                "names": ["1"],
                "pushed": [],
            },
        ),
        ("terminate", ("c-1", "over"), "POST /contracts/c-1/terminate", CONTRACT),
        ("transfers", ("c-1",), "GET /contracts/c-1/transfers", {"items": [TRANSFER]}),
        ("suspend_transfer", ("t-1", "why"), "POST /transfers/t-1/suspend", TRANSFER),
        ("resume_transfer", ("t-1",), "POST /transfers/t-1/resume", TRANSFER),
        ("uses", ("c-1",), "GET /uses", {"items": []}),
        (
            "bill",
            ("c-1",),
            "GET /contracts/c-1/bill",
            {"contract_id": "c-1", "uses": 1, "rows": 2, "total_fen": 3},
        ),
        (
            "issue_statement",
            ("c-1",),
            "POST /contracts/c-1/statements",
            {**STATEMENT, "total_fen": 5},
        ),
        (
            "statements",
            ("c-1",),
            "GET /contracts/c-1/statements",
            {"items": [{**STATEMENT, "total_fen": 5}]},
        ),
        ("statement", ("c-1",), "GET /contracts/c-1/statements", {"items": []}),
        ("statements", (), "GET /statements", {"items": []}),
        ("bundle", ("c-1",), "GET /contracts/c-1/bundle", {}),
        ("bundle", ("c-1", "s-1"), "GET /contracts/c-1/bundle", {}),
        ("checkpoint", (), "GET /evidence/checkpoint", {"checkpoint": "note"}),
        ("log_key", (), "GET /evidence/checkpoint", {"vkey": "a+b+c"}),
        ("entries", ("use.posted", 1), "GET /evidence/entries", {"items": []}),
        ("proof", ("e-1",), "GET /evidence/entries/e-1/proof", {}),
        ("revoke_token", ("t",), "DELETE /tokens/t", {}),
    ],
)
def test_each_verb_asks_its_path(
    node: FakeNode,
    space: sdk.Space,
    verb: str,
    arguments: tuple[Any, ...],
    request_line: str,
    answer: Any,
) -> None:
    node.answers[request_line] = (200, answer)
    getattr(space, verb)(*arguments)
    assert node.seen[0][0] == request_line


def test_the_same_verbs_can_be_awaited(node: FakeNode) -> None:
    node.answers["POST /negotiations"] = (202, negotiation("REQUESTED", 1))
    node.answers["GET /negotiations/n-1"] = [
        (200, negotiation("REQUESTED", 1)),
        (200, negotiation("FINALIZED", 5, contract_id="c-1")),
    ]
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    node.answers["GET /me"] = (403, PROBLEM)
    node.stream = arrow_bytes(TABLE)
    offer = sdk.Offer("offer-1", "P1", "did:web:h", "http://h", sdk.Terms.from_json(TERMS))

    async def story() -> None:
        async with sdk.connect_async(node.url, "secret") as space:
            contract = await space.negotiate(offer)
            table = await space.sql("SELECT 1", contract, "p")
            assert table.num_rows == 3
            sizes = [batch.num_rows async for batch in space.sql_stream("SELECT 1", "c-1", "p")]
            assert sizes == [2, 1]
            with pytest.raises(sdk.YunheRefused):
                await space.me()

    asyncio.run(story())


def test_verbs_document_themselves() -> None:
    assert "negotiate until there is a contract" in (sdk.Space.negotiate.__doc__ or "").lower()


def test_who_watches_no_steps_has_one_answer_for_all_of_it(
    node: FakeNode, space: sdk.Space
) -> None:
    done = negotiation("FINALIZED", 5, contract_id="c-1", contract=CONTRACT)
    node.answers["POST /negotiations"] = (202, done)
    offer = sdk.Offer("offer-1", "P1", "did:web:h", "http://h", sdk.Terms.from_json(TERMS))
    assert space.negotiate(offer).terms.uses_max == 10
    [(call, query, _body, _headers)] = node.seen
    assert call == "POST /negotiations"
    assert query == "wait_s=20&settled=true"
