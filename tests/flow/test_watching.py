"""What an operator watches, on real processes: ready and not, figures, and their page."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import postgres
from examples import blocks
from flow.crash_world import until
from yunhe.cli import app
from yunhe.demo.nodes import FUNCTIONAL, HOSPITAL_A, NodeProcess, free_ports

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
WORDS = r"\b(?:yunhe|process)_[a-z0-9_]+"


@contextmanager
def running(home: Path, port: int, more: str = "") -> Iterator[NodeProcess]:
    """One connector as a process; its parent does not answer."""
    node = NodeProcess(HOSPITAL_A, port, home, free_ports(1)[0])
    file = node.home / "node.toml"
    file.write_text(more + file.read_text("utf-8"), "utf-8")
    node.start()
    try:
        node.wait_up()
        yield node
    finally:
        node.stop()


def ready(node: NodeProcess) -> tuple[int, Any]:
    """The status and the body of its readiness, asked without a token."""
    url = f"{node.address}/api/v1/health/ready"
    answer = httpx.get(url, trust_env=False, timeout=60)
    return answer.status_code, answer.json()


def becomes(node: NodeProcess, status: int) -> Any:
    """The body, once the node answers with `status`."""
    return until(f"{status}", lambda: (found := ready(node))[0] == status and found[1], 120)


def refused(body: Any) -> None:
    """What 503 says: the part, two languages, and nothing of the machine or of anybody."""
    assert (body["code"], body["facts"]["parts"]) == ("NOT_READY", ["database"])
    assert "数据库" in body["zh"]["detail"]
    assert "database" in body["detail"]
    text = str(body)
    for secret in ("/", "var", "node.db", "postgres", "did:", "psycopg", "sqlite"):
        assert secret not in text.replace("docs/operating.md", "").replace("urn:yunhe", ""), secret


@pytest.mark.timeout(300)
def test_a_locked_file_turns_ready_off_and_on_again(tmp_path: Path) -> None:
    with running(tmp_path / "a", free_ports(1)[0]) as node:
        assert becomes(node, 200) == {"status": "ready"}
        with closing(sqlite3.connect(node.home / "var" / "node.db", timeout=10)) as other:
            other.isolation_level = None
            other.execute("BEGIN IMMEDIATE")
            refused(becomes(node, 503))
            health = httpx.get(f"{node.address}/api/v1/health", trust_env=False)
            assert health.status_code == 200  # it lives: nobody is to kill it for this
            for _ in range(200):
                assert ready(node)[0] == 503
            other.execute("ROLLBACK")
        becomes(node, 200)
        log = node.log.read_text("utf-8", "replace")
        assert "Traceback" not in log
        assert log.count("NOT_READY") == 1  # however often it was asked
        assert log.count("the node is ready again") == 1


@pytest.mark.timeout(300)
def test_a_stopped_server_turns_ready_off_and_on_again(tmp_path: Path) -> None:
    folder = postgres.binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed; .ci/run installs it")
    server = postgres.Postgres(folder)
    server.start()
    try:
        more = f'database_url = "{server.url}"\nworkers = 1\n'
        with running(tmp_path / "a", free_ports(1)[0], more) as node:
            becomes(node, 200)
            token = node.space().target.token
            server.stop()
            refused(becomes(node, 503))
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{node.address}/api/v1/metrics"
            answer = httpx.get(url, headers=headers, trust_env=False, timeout=60)
            assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_BUSY")
            server.start()
            becomes(node, 200)
            answer = httpx.get(url, headers=headers, trust_env=False, timeout=60)
            assert "yunhe_database_up 1.0" in answer.text
    finally:
        server.close()


# -- the page ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The names of all samples, read as the page configures Prometheus, by the page's token."""
    home = tmp_path_factory.mktemp("scraped")
    (given,) = [block for block in blocks("operating", "yaml") if "scrape_configs" in block]
    (job,) = yaml.safe_load(given)["scrape_configs"]
    (commands,) = [b for b in blocks("operating", "console") if "--role operator" in b]
    with running(home / "a", free_ports(1)[0]) as node:
        environ = {"YUNHE_URL": node.address, "YUNHE_TOKEN": node.space().target.token}
        result = CliRunner().invoke(app, [*shlex.split(commands)[1:], "--json"], env=environ)
        assert result.exit_code == 0, result.output
        token = re.search(r'"token": "(\S+)"', result.stdout)
        assert token is not None
        headers = {"Authorization": f"Bearer {token.group(1)}"}
        url = node.address + job["metrics_path"]
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        me = httpx.get(f"{node.address}/api/v1/tokens", headers=headers, trust_env=False)
        assert me.json()["code"] == "ROLE_MISSING"  # it reads figures, and nothing else
        names = set()
        for family in text_string_to_metric_families(answer.text):
            suffix = {"counter": "_total"}.get(family.type, "")
            names.add(family.name + suffix)
        yield names


# Only where there is one, and counts that stand at nothing in a node that nobody asked.
SOMETIMES = {
    "yunhe_backup_age_seconds",
    "yunhe_certificate_expires_in_seconds",
    "yunhe_parent_contact_age_seconds",
}


def test_every_figure_stands_in_the_page_and_no_other(scraped: set[str]) -> None:
    table = [line for line in PAGE.splitlines() if re.match(r"\| `(yunhe|process)_", line)]
    told = set(re.findall(WORDS, "\n".join(line.split("|")[1] for line in table)))
    ours = {name for name in scraped if name.startswith("yunhe_")}
    assert {name for name in told if name.startswith("yunhe_")} == ours | SOMETIMES
    assert {name for name in told if name.startswith("process_")} <= scraped


def test_every_rule_asks_for_figures_that_there_are(scraped: set[str]) -> None:
    (given,) = [block for block in blocks("operating", "yaml") if "groups:" in block]
    (group,) = yaml.safe_load(given)["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) > 8
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for"}
        asked = re.findall(WORDS, rule["expr"])
        assert asked, rule
        for name in asked:
            assert name.removesuffix("_bucket") in scraped | SOMETIMES, name
        pairs = zip("([{", ")]}", strict=True)
        assert all(rule["expr"].count(left) == rule["expr"].count(right) for left, right in pairs)


def test_every_code_that_a_rule_names_is_one(scraped: set[str]) -> None:
    errors = (Path(__file__).parents[2] / "docs" / "errors.md").read_text("utf-8")
    (codes,) = re.findall(r'code=~"([A-Z_|]+)"', PAGE)
    for code in set(codes.split("|")) - {"FAULT"}:
        assert f"| `{code}` |" in errors, code


def test_a_functional_node_has_no_workers_and_no_parent(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    node = NodeProcess(FUNCTIONAL, port, tmp_path / "fn", port)
    node.start()
    try:
        node.wait_up()
        becomes(node, 200)
        with node.space() as space:
            assert "credential" not in {each["name"] for each in space.doctor()["checks"]}
    finally:
        node.stop()
