"""Figures: counted while the node works, read as Prometheus reads them, and nobody's data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flow.world import BY_SEX, PURPOSE, Served, World, three, until
from yunhe.kernel import limits
from yunhe.kernel.db import DatabaseBusy
from yunhe.monitor import Figures
from yunhe.sdk import YunheRefused

ASKED, BILLED = "/sql", "/contracts/{key}/statements"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(limits, "FIGURES_KEPT_S", 0.0)
    with three(tmp_path) as made:
        yield made


def parsed(text: str) -> Samples:
    """Every sample of a text, as a Prometheus would store it; a family stands once."""
    families = list(text_string_to_metric_families(text))
    names = [each.name for each in families]
    assert len(set(names)) == len(names)
    assert all(each.documentation for each in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for each in families
        for sample in each.samples
    }


def read(served: Served) -> Samples:
    """The node's figures, over its socket."""
    headers = {"Authorization": f"Bearer {served.token}"}
    url = f"{served.config.address}/api/v1/metrics"
    answer = httpx.get(url, headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


def of(found: Samples, name: str, **labels: str) -> float:
    """One sample; 0 where there is none yet."""
    return found.get((f"yunhe_{name}", tuple(sorted(labels.items()))), 0.0)


def test_a_life_is_seen_in_the_figures(world: World) -> None:
    a, r = world["a"], world["r"]
    contract = world.agree(world.product())
    before = read(a)
    assert of(before, "database_up") == 1
    assert of(before, "workers", state="most") == 1
    assert 0 < of(before, "credential_expires_in_seconds") <= limits.CREDENTIAL_DAYS * 86_400
    assert of(before, "parent_up") == 1
    assert of(before, "disk_free_bytes") > 0
    assert before["process_resident_memory_bytes", ()] > 0

    world.ask(contract)
    with pytest.raises(YunheRefused) as hidden:
        r.space.sql("SELECT name FROM patients", contract, PURPOSE)
    with pytest.raises(YunheRefused) as denied:
        r.space.sql(BY_SEX, contract, "another-purpose")
    a.space.issue_statement(contract.id)
    after = read(a)
    for code in ("OK", hidden.value.code, denied.value.code):
        assert of(after, "queries_total", code=code) == 1, code
    assert of(after, "uses_denied_total", code=denied.value.code) == 1
    assert of(after, "query_seconds_count") == 1
    assert of(after, "uses_posted_total", complete="true") == 1
    assert of(after, "use_rows_total") == 2
    assert of(after, "use_bytes_total") > 0
    assert of(after, "verbs_total", verb=f"POST {BILLED}", code="OK") == 1
    assert of(read(r), "verbs_total", verb=f"POST {ASKED}", code=denied.value.code) == 1
    entries = of(after, "evidence_entries_total") - of(before, "evidence_entries_total")
    commits = of(after, "database_commits_total") - of(before, "database_commits_total")
    assert entries > 0
    assert commits > 0
    until("settled", lambda: [s.state for s in a.space.statements(contract.id)] == ["settled"])
    settled = read(a)
    assert of(settled, "statements", role="provider", state="issued") == 0
    assert of(settled, "evidence_entries_total") == a.node.evidence.standing().size
    # Nobody's: not who, not under what contract, not what was asked.
    text = a.node.figures.text().decode()
    for theirs in (contract.id, r.did, "sex", PURPOSE, a.token, contract.product_code):
        assert theirs not in text


def test_a_parent_that_is_away_is_seen(world: World) -> None:
    a, fn = world["a"], world["fn"]
    fn.close()
    del world.nodes["fn"]
    texts = {"title_zh": "患者", "title_en": "Patients", "description_zh": "-"}
    table = {"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"}
    form = {**texts, "description_en": "-", "tables": [table]}
    a.space.submit_resource(a.space.add_resource(form))
    until("a try", lambda: of(read(a), "parent_up") == 0)
    found = read(a)
    assert of(found, "outbox_messages") > 0
    assert of(found, "outbox_oldest_seconds") > 0
    assert of(found, "parent_contact_age_seconds") > 0


def test_strangers_add_no_series(world: World) -> None:
    a = world["a"]
    with httpx.Client(base_url=a.config.address, trust_env=False) as stranger:
        for path in ("/", "//", "/api/v1/none", "/dsp/x", "/robots.txt", "/api/v1/me"):
            stranger.get(path)
        before = len(read(a))
        for number in range(200):
            stranger.get(f"/{number}/api")
            stranger.get(f"/api/v1/n{number}")
            stranger.get(f"/api/v1/contracts/{number}")
            token = {"Authorization": f"Bearer yn_{number}_{number}"}
            stranger.get("/api/v1/me", headers=token)
        assert len(read(a)) <= before + 3  # of each, one code more


def test_two_nodes_of_one_process_never_see_each_other() -> None:
    one, other = Figures(), Figures()
    one.verb("GET /me", "OK")
    assert b'verb="GET /me"' in one.text()
    assert b'verb="GET /me"' not in other.text()


def test_however_often_they_are_read_the_database_is_asked_now_and_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIGURES_KEPT_S", 3600.0)
    a = world["a"].node
    a.figures.text()
    monkeypatch.setattr(a.db, "read", None)  # whoever asks now fails
    for _ in range(20):
        assert of(parsed(a.figures.text().decode()), "database_up") == 1


def test_where_the_database_refuses_its_figures_are_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = world["a"].node
    whole = parsed(a.figures.text().decode())

    def gone() -> None:
        raise DatabaseBusy

    with monkeypatch.context() as patched:
        patched.setattr(a.db, "_take_reader", gone)
        found = parsed(a.figures.text().decode())
    assert of(found, "database_up") == 0
    assert ("yunhe_outbox_messages", ()) in whole
    assert ("yunhe_outbox_messages", ()) not in found
    assert of(found, "workers", state="most") == 1
