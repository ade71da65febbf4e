"""The commands against a scripted node: what they send, what they show, how they end."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from sdk.fake_node import (
    CONTRACT,
    OFFER,
    PROBLEM,
    FakeNode,
    arrow_bytes,
    fake_node,
    negotiation,
)
from yunhe.cli import app
from yunhe.kernel import settings


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as found:
        yield found


def run(node: FakeNode | None, *arguments: str) -> Any:
    environ = {"YUNHE_URL": node.url, "YUNHE_TOKEN": "t"} if node else {"YUNHE_URL": ""}
    return CliRunner().invoke(app, [*arguments], env={**environ, "LC_ALL": "C", "COLUMNS": "200"})


HIT = {
    "code": "P1",
    "title_zh": "脂肪肝队列",
    "title_en": "NAFLD cohort",
    "provider_did": "did:web:h",
    "provider_name": "甲医院",
}


def test_search_shows_a_table_and_json(node: FakeNode) -> None:
    node.answers["GET /search"] = (200, {"items": [HIT]})
    shown = run(node, "search", "脂肪肝", "cohort")
    assert shown.exit_code == 0
    assert "NAFLD cohort" in shown.stdout
    assert "脂肪肝队列" in run(node, "search", "x", "--lang", "zh").stdout
    found = json.loads(run(node, "search", "x", "--json").stdout)
    assert found[0]["code"] == "P1"


def test_without_an_address_it_says_how_to_give_one() -> None:
    result = run(None, "search", "x")
    assert result.exit_code == 2
    assert "YUNHE_URL" in result.stderr


def test_a_node_that_is_down_gives_three() -> None:
    result = run(None, "contracts", "list", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "NODE_UNREACHABLE" in result.stderr


def test_negotiate_sends_what_was_asked_and_tells_the_steps(node: FakeNode) -> None:
    node.answers["GET /offers/P1"] = (200, OFFER)
    node.answers["POST /negotiations"] = (202, negotiation("REQUESTED", 1))
    node.answers["GET /negotiations/n-1"] = (200, negotiation("FINALIZED", 2, contract_id="c-1"))
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    arguments = ("negotiate", "P1", "--ask", "uses_max=20", "--accept", "uses_max=5")
    result = run(node, *arguments)
    assert result.exit_code == 0, result.output
    assert "c-1" in result.stdout
    assert "FINALIZED" in result.stderr
    assert node.seen[1][2]["accept"]["uses_max"] == 5
    assert json.loads(run(node, *arguments, "--json").stdout)["id"] == "c-1"


@pytest.mark.parametrize("pair", ["use_max=2", "=1", "uses_max", 'price={"x"', "columns=a.b"])
def test_a_wrong_term_is_a_usage_error(node: FakeNode, pair: str) -> None:
    node.answers["GET /offers/P1"] = (200, OFFER)
    result = run(node, "negotiate", "P1", "--ask", pair)
    assert result.exit_code == 2, result.output
    assert "BAD_ARGUMENT" in result.stderr


def test_held_negotiations_are_decided(node: FakeNode) -> None:
    offers = [{"by": "provider", "terms": OFFER["terms"], "offer_id": "o"}]
    held = negotiation("OFFERED", 2, waiting_for="you", offers=offers)
    node.answers["GET /negotiations"] = (200, {"items": [held]})
    node.answers["GET /negotiations/n-1"] = (200, held)
    for verb in ("accept", "counter", "terminate"):
        node.answers[f"POST /negotiations/n-1/{verb}"] = (200, held)
    signed = negotiation("FINALIZED", 3, contract_id="c-1")
    node.answers["POST /negotiations/n-1/accept"] = (200, signed)
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    assert "you" in run(node, "negotiations", "list").stdout
    accepted = run(node, "negotiations", "accept", "n-1")
    assert accepted.exit_code == 0
    assert "c-1" in accepted.stdout
    assert "both parties signed" in accepted.stdout
    counter = ("negotiations", "counter", "n-1", "--ask", "uses_max=4")
    assert run(node, *counter, "--timeout", "0").exit_code == 0
    assert node.seen[-1][2]["terms"]["uses_max"] == 4
    assert run(node, *counter).exit_code == 1  # held again
    for verb in ("end", "terminate"):
        assert run(node, "negotiations", verb, "n-1", "--reason", "no").exit_code == 0


TABLE = pa.table({"sex": ["f", "m", "f"], "n": [7, 8, 9]})


def test_sql_shows_rows_and_what_was_withheld(node: FakeNode) -> None:
    node.stream = arrow_bytes(TABLE)
    result = run(node, "sql", "c-1", "SELECT 1", "--purpose", "p", "--use-id", "u-1")
    assert result.exit_code == 0, result.output
    assert "sex" in result.stdout
    assert "groups withheld" in result.stderr
    found = json.loads(run(node, "sql", "c-1", "SELECT 1", "--purpose", "p", "--json").stdout)
    assert found["data"] == [["f", 7], ["m", 8], ["f", 9]]
    assert found["groups_withheld"] is True


def test_the_only_purpose_agreed_is_taken_and_said(node: FakeNode) -> None:
    node.stream = arrow_bytes(TABLE)
    node.answers["GET /contracts"] = (200, {"items": [CONTRACT]})
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    result = run(node, "sql", "c-1", "SELECT 1")
    assert (result.exit_code, node.seen[-1][2]["purpose"]) == (0, "medical-research")
    assert "purpose: medical-research" in result.stderr
    several = {**CONTRACT, "terms": {**CONTRACT["terms"], "purposes": ["a", "b"]}}
    node.answers["GET /contracts/c-1"] = (200, several)
    refused = run(node, "sql", "c-1", "SELECT 1")
    assert refused.exit_code == 2
    assert "choose one of the purposes agreed: a, b" in refused.stderr
    assert node.seen[-1][0] == "GET /contracts/c-1"  # nothing was asked, nothing is charged


def test_what_was_withdrawn_is_listed_only_when_asked_for(node: FakeNode) -> None:
    titles = {"title_zh": "队列", "title_en": "cohort"}
    found = [{"id": "r-1", "state": "registered", **titles}]
    found.append({"id": "r-2", "state": "withdrawn", **titles})
    for noun in ("resources", "products"):
        node.answers[f"GET /{noun}"] = (200, {"items": found})
        assert "r-2" not in run(node, noun, "list").stdout
        assert "r-2" in run(node, noun, "list", "--all").stdout
        shown = json.loads(run(node, noun, "list", "--json").stdout)
        assert [each["id"] for each in shown] == ["r-1"]


@pytest.mark.parametrize("ending", ["csv", "arrow", "parquet"])
def test_sql_writes_a_file(node: FakeNode, ending: str, tmp_path: Path) -> None:
    node.stream = arrow_bytes(TABLE)
    out = tmp_path / f"out.{ending}"
    assert run(node, "sql", "c", "SELECT 1", "--purpose", "p", "--out", str(out)).exit_code == 0
    assert out.stat().st_size > 0


def test_sql_to_an_unknown_file_kind_costs_nothing(node: FakeNode) -> None:
    result = run(node, "sql", "c", "SELECT 1", "--purpose", "p", "--out", "x.xlsx")
    assert result.exit_code == 2
    assert node.seen == []


@pytest.mark.parametrize("out", ["absent/x.parquet", "folder.csv"])
def test_sql_to_a_place_that_cannot_be_written_costs_nothing(
    node: FakeNode, tmp_path: Path, out: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    result = run(node, "sql", "c", "SELECT 1", "--purpose", "p", "--out", str(tmp_path / out))
    assert result.exit_code == 2, result.output
    assert "BAD_ARGUMENT" in result.stderr
    assert node.seen == []


def test_a_refused_sql_leaves_the_old_file_and_no_other(node: FakeNode, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("old", encoding="utf-8")
    node.answers["POST /sql"] = (403, PROBLEM)
    assert run(node, "sql", "c", "SELECT 1", "--purpose", "p", "--out", str(out)).exit_code == 1
    assert out.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_refused_query_says_code_sentence_remedy(node: FakeNode) -> None:
    node.answers["POST /sql"] = (403, PROBLEM)
    result = run(node, "sql", "c", "SELECT 1", "--purpose", "p", "--lang", "zh")
    assert result.exit_code == 1
    for part in ("PURPOSE_NOT_AGREED", "未约定该用途。", "请签订新合约。"):
        assert part in result.stderr


def test_contracts_list_show_terminate_and_bundle(node: FakeNode, tmp_path: Path) -> None:
    node.answers["GET /contracts"] = (200, {"items": [CONTRACT]})
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    node.answers["GET /uses"] = (
        200,
        {"items": [{"use_id": "u", "contract_id": "c-1", "state": "posted", "fee_fen": 5}]},
    )
    node.answers["GET /contracts/c-1/bill"] = (
        200,
        {"contract_id": "c-1", "uses": 1, "rows": 2, "total_fen": 1004},
    )
    node.answers["POST /contracts/c-1/terminate"] = (200, {**CONTRACT, "state": "terminated"})
    node.answers["GET /contracts/c-1/bundle"] = (200, {"b": 1, "a": [2]})
    assert "in_force" in run(node, "contracts", "list").stdout
    assert "10.04" in run(node, "contracts", "show", "c-1").stdout
    ended = run(node, "contracts", "terminate", "c-1", "--reason", "over")
    assert "terminated" in ended.stdout
    out = tmp_path / "bundle.json"
    assert run(node, "contracts", "bundle", "c-1", "--out", str(out)).exit_code == 0
    assert out.read_bytes() == b'{"a":[2],"b":1}'


def test_what_is_stuck_says_why_and_when_it_is_tried_again(node: FakeNode) -> None:
    waits = {"stuck_because": "ConnectError: refused", "next_retry_at": "2026-11-21T09:00:00Z"}
    node.answers["GET /negotiations/n-1"] = (200, {**negotiation("AGREED", 3), **waits})
    node.answers["GET /contracts/c-1"] = (200, {**CONTRACT, **waits, "ended_reason": "GONE; no"})
    node.answers["GET /uses"] = (200, {"items": []})
    bill = {"contract_id": "c-1", "uses": 0, "rows": 0, "total_fen": 0}
    node.answers["GET /contracts/c-1/bill"] = (200, bill)
    for command in (("negotiations", "show", "n-1"), ("contracts", "show", "c-1")):
        shown = run(node, *command).stdout
        assert "waiting for the other side: ConnectError: refused" in shown
        assert "2026-11-21T09:00:00Z" in shown
        assert json.loads(run(node, *command, "--json").stdout)
    assert "GONE; no" in run(node, "contracts", "show", "c-1").stdout


def test_what_is_no_contract_yet_is_shown_as_its_negotiation(node: FakeNode) -> None:
    waits = {"stuck_because": "ConnectError: refused", "next_retry_at": "2026-11-21T09:00:00Z"}
    unknown = {"code": "CONTRACT_UNKNOWN", "status": 404, "detail": "no such contract"}
    node.answers["GET /contracts"] = (200, {"items": []})
    node.answers["GET /negotiations"] = (200, {"items": [negotiation("REQUESTED", 1)]})
    node.answers["GET /contracts/n-1"] = (404, unknown)
    node.answers["GET /negotiations/n-1"] = (200, {**negotiation("REQUESTED", 1), **waits})
    shown = run(node, "contracts", "show", "n-1").stdout
    assert "REQUESTED" in shown
    assert "waiting for the other side: ConnectError: refused" in shown
    node.answers["GET /negotiations/n-1"] = (404, {**unknown, "code": "NEGOTIATION_UNKNOWN"})
    refused = run(node, "contracts", "show", "n-1")
    assert refused.exit_code != 0
    assert "CONTRACT_UNKNOWN" in refused.output


def test_why_it_ended_is_said_in_the_language_of_the_reader(node: FakeNode) -> None:
    error = {"code": "GONE", "detail": "too dear", "zh": {"detail": "过高"}, "reasons": []}
    node.answers["GET /negotiations/n-1"] = (200, negotiation("TERMINATED", 3, error=error))
    node.answers["GET /offers/P1"] = (200, OFFER)
    node.answers["POST /negotiations"] = (202, negotiation("TERMINATED", 3, error=error))
    ended = {**CONTRACT, "ended_reason": "GONE; too dear", "ended_reason_zh": "GONE; 过高"}
    node.answers["GET /contracts/c-1"] = (200, ended)
    node.answers["GET /uses"] = (200, {"items": []})
    bill = {"contract_id": "c-1", "uses": 0, "rows": 0, "total_fen": 0}
    node.answers["GET /contracts/c-1/bill"] = (200, bill)
    shows = (("negotiations", "show", "n-1"), ("contracts", "show", "c-1"), ("negotiate", "P1"))
    for command in shows:
        for lang, said, other in (("en", "too dear", "过高"), ("zh", "过高", "too dear")):
            shown = run(node, *command, "--lang", lang).output
            assert said in shown, shown
            assert other not in shown


def test_statements_are_listed_and_issued(node: FakeNode) -> None:
    one = {"id": "s", "contract_id": "c-1", "state": "settled", "uses": 1, "rows": 2}
    one["total_fen"] = 77
    node.answers["GET /statements"] = (200, {"items": [one]})
    node.answers["POST /contracts/c-1/statements"] = (201, one)
    assert "0.77" in run(node, "statement", "list").stdout
    assert "settled" in run(node, "statement", "issue", "c-1").stdout


def test_tokens_are_made_listed_and_revoked(node: FakeNode) -> None:
    made = {"token_id": "1", "token": "yh_secret", "name": "li", "roles": ["user"]}
    node.answers["POST /tokens"] = (201, made)
    node.answers["GET /tokens"] = (200, {"items": [{"token_id": "1", "name": "li"}]})
    node.answers["DELETE /tokens/1"] = (204, b"")
    result = run(node, "tokens", "create", "li", "--role", "user", "--ttl", "3600")
    assert result.stdout.strip() == "yh_secret"
    assert node.seen[0][2] == {"name": "li", "roles": ["user"], "ttl_s": 3600}
    assert "li" in run(node, "tokens", "list").stdout
    assert run(node, "tokens", "revoke", "1").exit_code == 0


def test_a_token_is_revoked_by_the_beginning_of_its_id(node: FakeNode) -> None:
    known = [{"token_id": each, "name": "n", "roles": ["user"]} for each in ("ab12", "ab34")]
    known.append({"token_id": "ab99", "name": "old", "roles": ["user"], "revoked": True})
    node.answers["GET /tokens"] = (200, {"items": known})
    node.answers["DELETE /tokens/ab12"] = (204, b"")
    assert "ab12  revoked" in run(node, "tokens", "revoke", "ab1").stdout
    both = run(node, "tokens", "revoke", "ab")
    assert both.exit_code == 2
    assert "ab12, ab34" in both.stderr
    assert ["ab99", "old", "user", "–", "yes"] in [
        line.split() for line in run(node, "tokens", "list").stdout.splitlines()
    ]


def test_review_lists_both_queues_and_decides_in_the_right_one(node: FakeNode) -> None:
    apply = {"id": "a-1", "kind": "subject", "state": "submitted", "name": "甲医院"}
    product = {"id": "r-1", "kind": "product", "state": "submitted", "title_en": "NAFLD"}
    node.answers["GET /applications"] = (200, {"items": [apply]})
    node.answers["GET /registrations"] = (200, {"items": [product]})
    node.answers["POST /applications/a-1/review"] = (200, apply)
    node.answers["POST /registrations/r-1/review"] = (200, product)
    listed = run(node, "review", "list").stdout
    assert "a-1" in listed
    assert "r-1" in listed
    assert run(node, "review", "decide", "a-1", "approve").exit_code == 0
    assert run(node, "review", "decide", "r-1", "return", "--reason", "title").exit_code == 0
    assert node.seen[-1][2] == {"decision": "return", "reasons": ["title"]}
    assert run(node, "review", "decide", "r-1", "maybe").exit_code == 2


def test_register_waits_for_the_review(node: FakeNode) -> None:
    node.answers["POST /registration"] = (202, {"state": "submitted"})
    node.answers["GET /registration"] = (200, {"state": "active", "connector_code": "C1"})
    assert "C1" in run(node, "register", "--wait", "5").stdout
    assert run(node, "register", "--show").exit_code == 0
    node.answers["GET /registration"] = (200, {"state": "submitted"})
    late = run(node, "register", "--wait", "0.01")
    assert late.exit_code == 3
    assert "WAITED_TOO_LONG" in late.stderr
    assert "a person may have to decide" in late.stderr
    assert "“待审核”" in run(node, "register", "--wait", "0.01", "--lang", "zh").stderr


FORM = """
[resource]
title_zh = "脂肪肝"
title_en = "NAFLD"
tables = [{ name = "patients", paths = ["p.parquet"], entity_key = "id" }]
[product]
title_zh = "脂肪肝队列"
title_en = "NAFLD cohort"
[product.terms]
purposes = ["medical-research"]
columns = ["patients.age"]
expires_at = 2027-01-01T00:00:00Z
"""


def _supply(node: FakeNode, resource: str, product: str) -> None:
    texts = {"title_zh": "a", "title_en": "b"}
    res = {"id": "r", "state": "submitted", **texts}
    pro = {"id": "p", "state": "submitted", **texts}
    node.answers["GET /resources"] = (200, {"items": []})
    node.answers["POST /resources"] = (200, {**res, "state": "draft"})
    node.answers["POST /resources/r/submit"] = (200, res)
    node.answers["GET /resources/r"] = (200, {**res, "state": resource, "reasons": ["no title"]})
    node.answers["POST /products"] = node.answers["POST /products/p/submit"] = (200, pro)
    done = {**pro, "state": product, "code": "P1"}
    node.answers["POST /products/p/list"] = (200, pro)
    node.answers["GET /products/p"] = [(200, done), (200, {**done, "state": "listed"})]


def test_publish_goes_from_a_form_to_a_listing(node: FakeNode, tmp_path: Path) -> None:
    form = tmp_path / "form.toml"
    form.write_text(FORM, encoding="utf-8")
    _supply(node, "registered", "registered")
    result = run(node, "publish", str(form))
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["P1", "listed"]
    sent = next(body for key, _, body, _ in node.seen if key == "POST /products")
    assert sent["resource_ids"] == ["r"]
    assert sent["terms"]["expires_at"] == "2027-01-01T00:00:00.000000Z"


def test_publish_stops_at_a_return_and_says_why(node: FakeNode, tmp_path: Path) -> None:
    form = tmp_path / "form.toml"
    form.write_text(FORM, encoding="utf-8")
    _supply(node, "returned", "registered")
    result = run(node, "publish", str(form))
    assert result.exit_code == 1
    assert "no title" in result.stderr


@pytest.mark.parametrize("text", ["[resource]\n", "x", "[resource]\nt = 2027-01-01T00:00:00\n"])
def test_a_form_that_is_none_is_a_usage_error(node: FakeNode, tmp_path: Path, text: str) -> None:
    form = tmp_path / "form.toml"
    form.write_text(text, encoding="utf-8")
    assert run(node, "publish", str(form)).exit_code == 2


def test_products_are_listed_and_withdrawn(node: FakeNode) -> None:
    one = {"id": "p", "state": "registered", "title_zh": "a", "title_en": "b", "code": "P1"}
    node.answers["GET /products"] = (200, {"items": [one]})
    node.answers["POST /products/p/withdraw"] = (200, {**one, "state": "delisted"})
    assert "P1" in run(node, "products", "list").stdout
    assert "delisted" in run(node, "products", "withdraw", "p").stdout


INIT = (
    *("--name", 'hospital "a"', "--subject-code", "91330100MA00000665"),
    *("--subject-name", "甲医院", "--subject-name-en", "Hospital A"),
    *("--address", "https://a.example:8443", "--trust-root", "did:web:fn.example"),
)


def test_init_writes_settings_and_private_keys(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    result = run(None, "init", str(folder), *INIT, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["did"] == "did:web:a.example%3A8443"
    config = settings.load(folder / "node.toml", {})
    assert config.name == 'hospital "a"'
    assert config.trust_roots[0].did == "did:web:fn.example"
    keys = list((folder / "data" / "keys").glob("*.pem"))
    assert len(keys) == 4
    for path in [folder / "node.toml", *keys]:
        assert path.stat().st_mode & 0o077 == 0


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    first = json.loads(run(None, "init", str(folder), *INIT, "--json").stdout)
    assert run(None, "init", str(folder), *INIT).exit_code == 2
    again = json.loads(run(None, "init", str(folder), *INIT, "--force", "--json").stdout)
    assert again["keys"] == first["keys"]


def test_init_names_the_wrong_or_missing_setting(tmp_path: Path) -> None:
    missing = run(None, "init", str(tmp_path / "n"), *INIT[:-4])
    assert missing.exit_code == 2
    assert "--address" in missing.stderr
    plain_http = run(None, "init", str(tmp_path / "n"), *INIT, "--address", "http://a.example")
    assert "BAD_SETTING" in plain_http.stderr
    assert not (tmp_path / "n" / "node.toml").exists()


def test_what_init_writes_is_toml(tmp_path: Path) -> None:
    folder = tmp_path / "n"
    run(None, "init", str(folder), *INIT, "--name", "a\x7fb\\c")
    assert tomllib.loads((folder / "node.toml").read_text())["name"] == "a\x7fb\\c"


def test_serve_says_which_setting_is_wrong(tmp_path: Path) -> None:
    result = run(None, "serve", str(tmp_path / "absent.toml"))
    assert result.exit_code == 2
    assert "BAD_SETTING" in result.stderr


def test_the_version_is_shown() -> None:
    assert run(None, "--version").stdout.startswith("yunhe ")
