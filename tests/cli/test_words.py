"""States, money and instants in words; a returned registration; connection errors in words."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from sdk.fake_node import CONTRACT, PROBLEM, FakeNode, fake_node
from yunhe.cli import app
from yunhe.sdk import ArrowMissing
from yunhe.sdk.errors import unreachable


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as found:
        yield found


def run(node: FakeNode, *arguments: str) -> Any:
    environ = {"YUNHE_URL": node.url, "YUNHE_TOKEN": "t", "LC_ALL": "C"}
    return CliRunner().invoke(app, [*arguments], env=environ)


def test_a_contract_is_shown_in_words(node: FakeNode) -> None:
    use = {"use_id": "u", "contract_id": "c-1", "state": "posted", "fee_fen": 1004, "rows": 2}
    node.answers["GET /contracts"] = (200, {"items": [CONTRACT]})
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    node.answers["GET /uses"] = (200, {"items": [{**use, "at": "2026-11-21T09:00:00.123456Z"}]})
    bill = {"contract_id": "c-1", "uses": 1, "rows": 2, "total_fen": 1004}
    node.answers["GET /contracts/c-1/bill"] = (200, bill)
    shown = run(node, "contracts", "show", "c").stdout
    for part in (
        "state: in force",
        "signatures: both parties signed",
        "other side: did:web:hospital",
        "product: P1",
        "uses left: 10",
        "patients.age",
        "1 use, 2 rows, CNY 10.04",
        "2026-11-21T09:00:00Z",
    ):
        assert part in shown
    assert "1004" not in shown
    # What bounds nothing is said in one line.
    assert "all else" in shown
    for silent in ("watermark", "regions", "pause"):
        assert silent not in shown

    zh = run(node, "contracts", "show", "c-1", "--lang", "zh").stdout
    assert "签名：双方已签名" in zh


def test_a_use_that_may_begin_may_begin_now(node: FakeNode) -> None:
    node.answers["GET /contracts"] = (200, {"items": [CONTRACT]})
    left = {"uses_left": 3, "next_at": "2020-01-01T00:00:00Z"}
    node.answers["GET /contracts/c-1/budget"] = (200, left)
    assert "next use from: now" in run(node, "contracts", "budget", "c").stdout
    node.answers["GET /contracts/c-1/budget"] = (200, {**left, "next_at": "2199-01-01T00:00:00Z"})
    assert "next use from: 2199-01-01T00:00:00Z" in run(node, "contracts", "budget", "c").stdout


def test_statements_are_in_yuan_for_people_and_fen_for_programs(node: FakeNode) -> None:
    one = {"id": "s", "contract_id": "c-1", "state": "settled", "uses": 1, "rows": 2}
    one |= {"total_fen": 2077, "issued_at": "2026-11-21T09:00:00.123456Z"}
    node.answers["GET /statements"] = (200, {"items": [one]})
    shown = run(node, "statement", "list").stdout
    assert "20.77" in shown
    assert "2026-11-21T09:00:00Z" in shown
    assert json.loads(run(node, "statement", "list", "--json").stdout)[0]["total_fen"] == 2077


def test_search_shows_the_price_or_that_nothing_was_found(node: FakeNode) -> None:
    node.answers["GET /search"] = (200, {"items": []})
    assert "nothing found" in run(node, "search", "x").stderr
    assert json.loads(run(node, "search", "x", "--json").stdout) == []
    hit = {"code": "P1", "title_zh": "a", "title_en": "b", "provider_did": "did:web:h"}
    hit |= {"price": {"per_use_fen": 1000, "per_row_fen": 2}, "language": "zh"}
    node.answers["GET /search"] = (200, {"items": [hit]})
    assert "CNY 10.00 a use" in run(node, "search", "x").stdout
    found = json.loads(run(node, "search", "x", "--json").stdout)[0]
    assert (found["price"]["per_use_fen"], found["language"]) == (1000, "zh")


def test_a_returned_registration_is_sent_again_only_when_asked(node: FakeNode) -> None:
    returned = {"state": "returned", "step": "subject", "reasons": ["no licence"]}
    returned |= {"last_error": "X: y", "last_contact_at": "2026-11-21T09:00:00Z"}
    node.answers["GET /registration"] = (200, returned)
    node.answers["POST /registration"] = (202, {"state": "submitted"})
    held = run(node, "register", "--wait", "5")
    assert held.exit_code == 1
    assert "no licence" in held.stderr
    assert "--again" in held.stderr
    for part in ("step: subject", "last error: X: y", "last contact: 2026-11-21T09:00:00Z"):
        assert part in held.stdout
    assert [key for key, *_ in node.seen] == ["GET /registration"]
    assert run(node, "register", "--again").exit_code == 0
    assert node.seen[-1][0] == "POST /registration"
    assert run(node, "register", "--show").exit_code == 0


def test_review_shows_everything_and_subjects_have_a_title(node: FakeNode) -> None:
    subject = {"id": "a-1", "kind": "subject", "state": "submitted", "name": "Hospital A"}
    subject |= {"subject_code": "9133", "did": "did:web:a"}
    warning = {"field": "price", "rule": "K9", "en": "price: is high", "zh": "偏高"}
    product = {"id": "r-1", "kind": "product", "state": "submitted", "title_en": "NAFLD"}
    product |= {"provider_name": "B", "warnings": [warning], "reasons": ["see"]}
    node.answers["GET /applications"] = (200, {"items": [subject]})
    node.answers["GET /registrations"] = (200, {"items": [product]})
    assert run(node, "review", "list").stdout.count("Hospital A") == 2  # by whom, and as title
    assert "subject_code: 9133" in run(node, "review", "show", "a").stdout
    assert "warnings: price: is high (K9)" in run(node, "review", "show", "r-1").stdout
    assert json.loads(run(node, "review", "show", "r-1", "--json").stdout)["warnings"]
    assert run(node, "review", "show", "zz").exit_code == 1
    shown = run(node, "review", "show", "a", "--lang", "zh").stdout
    assert "类型：主体" in shown
    assert "状态：待审核" in shown
    assert "kind" not in shown


def test_a_reviewer_reads_whose_connector_it_is(node: FakeNode) -> None:
    known = {"state": "approved", "did": "did:web:a", "subject_code": "9133"}
    subject = {**known, "id": "s", "kind": "subject", "name": "Hospital A"}
    connector = {**known, "id": "c", "kind": "connector", "state": "submitted", "name": "a"}
    resource = {"id": "r", "kind": "resource", "state": "submitted", "title_en": "NAFLD"}
    resource |= {"provider_did": "did:web:a", "provider_name": "a"}
    node.answers["GET /applications"] = [
        (200, {"items": [connector]}),
        (200, {"items": [subject, connector]}),
    ]
    node.answers["GET /registrations"] = (200, {"items": [resource]})
    assert run(node, "review", "list").stdout.count("Hospital A") == 2


@pytest.mark.parametrize(("language", "words"), [("en", "connection refused"), ("zh", "被拒绝")])
def test_a_refused_connection_is_told_in_words(node: FakeNode, language: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for command in (
        ("contracts", "list"),
        ("sql", "urn:uuid:2b6f0cc9-04d5-4c1b-9a55-9f5a1d1f0a11", "SELECT 1", "--purpose", "p"),
    ):
        result = run(node, *command, "--url", url, "--lang", language)
        assert result.exit_code == 3
        assert words in result.stderr


def test_other_causes_have_words_too() -> None:
    assert "no answer in time" in unreachable("u", TimeoutError()).sentence()
    assert "找不到该主机" in unreachable("u", socket.gaierror()).sentence("zh")
    assert "KeyError" in unreachable("u", KeyError()).sentence("zh")


def test_a_missing_library_says_how_to_install_it() -> None:
    assert "pip install 'yunhe[arrow]'" in str(ArrowMissing(package="pyarrow"))


def test_a_broken_bundle_is_named(tmp_path: Path, node: FakeNode) -> None:
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "trust.json").write_text("{}", encoding="utf-8")
    names = [str(tmp_path / name) for name in ("broken.json", "trust.json")]
    for bundle, trust in (names, names[::-1]):
        result = run(node, "verify", bundle, "--trust", trust)
        assert result.exit_code == 2
        assert "broken.json" in result.stderr.replace("\n", "")


def test_a_table_speaks_the_language_of_its_reader(node: FakeNode) -> None:
    node.answers["GET /contracts"] = (200, {"items": [CONTRACT]})
    zh = run(node, "contracts", "list", "--lang", "zh").stdout
    assert "履行中" in zh
    assert "使用方" in zh
    assert "in_force" in run(node, "contracts", "list").stdout
    assert json.loads(run(node, "contracts", "list", "--lang", "zh", "--json").stdout)[0][
        "state"
    ] == "in_force"  # fmt: skip


def test_what_several_hosts_refused_is_said_beside_the_table(node: FakeNode) -> None:
    app_, contract = "a" * 64, {**CONTRACT, "id": "c-1"}
    node.answers["GET /apps"] = (200, {"items": [{"digest": app_, "ours": True}]})
    node.answers["GET /contracts"] = (200, {"items": [contract]})
    node.answers[f"POST /apps/{app_}/deployments"] = (403, PROBLEM)
    done = run(node, "apps", "deploy", app_, "c-1")
    assert done.exit_code == 1
    assert "refused" in done.stdout
    assert "PURPOSE_NOT_AGREED  The purpose was not agreed." in done.stderr
    assert "Remedy: Ask for it in a new contract." in done.stderr
    zh = run(node, "apps", "deploy", app_, "c-1", "--lang", "zh")
    assert "c-1：已拒绝" in zh.stderr
    assert "请签订新合约。" in zh.stderr
    rows = json.loads(run(node, "apps", "deploy", app_, "c-1", "--json").stdout)
    assert rows[0]["problem"]["remedy"] == PROBLEM["remedy"]


def test_a_run_of_several_hosts_takes_the_one_purpose_they_share(node: FakeNode) -> None:
    agreed = {"c-1": ["teaching", "research"], "c-2": ["research", "audit"]}
    for key, purposes in agreed.items():
        found = {**CONTRACT, "id": key, "terms": {**CONTRACT["terms"], "purposes": purposes}}
        node.answers[f"GET /contracts/{key}"] = (200, found)
    held = [{"id": f"d-{at}", "contract_id": f"c-{at}"} for at in (1, 2)]
    node.answers["GET /apps/deployments"] = (200, {"items": held})
    told = run(node, "apps", "run", "d-1", "d-2").stderr
    assert "purpose: research" in told
    assert {body["purpose"] for key, _, body, _ in node.seen if key.startswith("POST")} == {
        "research"
    }
    assert "teaching, research" in run(node, "apps", "run", "d-1").stderr


def test_a_program_is_named_by_its_digest_and_what_waits_or_failed_is_explained(
    node: FakeNode,
) -> None:
    node.answers["GET /contracts/c-1"] = (200, CONTRACT)
    named = run(node, "apps", "deploy", "mean-age", "c-1")
    assert named.exit_code == 2
    assert "named by how its digest begins" in named.stderr
    app_ = "a" * 64
    node.answers["GET /apps"] = (200, {"items": [{"digest": app_, "ours": False}]})
    waits = {"id": "d-1", "contract_id": "c-1", "state": "asked", "digest": app_, "peer": "p"}
    node.answers[f"POST /apps/{app_}/deployments"] = (200, waits)
    assert "waits for the host's consent" in run(node, "apps", "deploy", app_, "c-1").stderr
    zh = run(node, "apps", "deploy", app_, "c-1", "--lang", "zh").stderr
    assert "等待数据方准入" in zh
    held = {"items": [waits | {"state": "deployed", "side": "author"}]}
    node.answers["GET /apps/deployments"] = (200, held)
    assert "deployer" in run(node, "apps", "deployments").stdout
    assert "部署方" in run(node, "apps", "deployments", "--lang", "zh").stdout
    assert '"author"' in run(node, "apps", "deployments", "--json").stdout
    job = {"id": "j-1", "deployment_id": "d-1", "state": "failed", "code": "PURPOSE_NOT_AGREED"}
    node.answers["POST /apps/deployments/d-1/run"] = (200, job)
    done = run(node, "apps", "run", "d-1", "--purpose", "marketing")
    assert done.exit_code == 1
    assert "PURPOSE_NOT_AGREED  What it means: docs/errors.md" in done.stderr
    zh = {"detail": "程序异常结束。", "remedy": "请自行排查。"}
    problem = {
        "code": "APP_FAILED",
        "status": 403,
        "detail": "It ended.",
        "remedy": "Try.",
        "zh": zh,
    }
    ran = {"items": [job | {"code": "APP_FAILED", "problem": problem}] * 2}
    node.answers["GET /apps/jobs"] = (200, ran)
    assert run(node, "apps", "jobs").stderr.count("It ended.") == 1
    told = run(node, "apps", "jobs", "--lang", "zh").stderr
    assert "程序异常结束。" in told
    assert "请自行排查。" in told


def test_what_a_run_gave_is_shown_or_written_as_a_table(node: FakeNode, tmp_path: Path) -> None:
    batch = pa.record_batch({"sex": ["f", "m"], "mean_age": [50.5, 48.0]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    node.answers["GET /apps/jobs"] = (200, {"items": [{"id": "j-1"}]})
    node.answers["GET /apps/jobs/j-1/result"] = (200, sink.getvalue())
    shown = run(node, "apps", "result", "j").stdout
    assert "mean_age" in shown
    assert "50.5" in shown
    out = tmp_path / "r.csv"
    assert run(node, "apps", "result", "j-1", "--out", str(out)).exit_code == 0
    assert out.read_text().splitlines()[1] == '"f",50.5'


def test_states_and_truth_are_said_in_the_readers_language(node: FakeNode) -> None:
    item = {"state": "proved", "verified": True, "due_at": None, "proved_at": "t", "use_id": "u"}
    node.answers["GET /contracts"] = (200, {"items": [CONTRACT]})
    node.answers["GET /contracts/c-1/vault/proofs"] = (200, {"items": [item]})
    assert "yes" in run(node, "vault", "proofs", "c-1").stdout
    zh = run(node, "vault", "proofs", "c-1", "--lang", "zh").stdout
    assert "已证明" in zh
    assert "是" in zh
