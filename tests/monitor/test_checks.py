"""The checks of `yunhe doctor`: each sees what it is for, says it twice, and says what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from flow.test_operating import certificate
from flow.world import Served, World, three
from yunhe.cli import app
from yunhe.kernel import limits
from yunhe.kernel.backup import backup
from yunhe.monitor import Check, Checks

DAY_S = 86_400
NAMES = ["disk", "schema", "evidence", "outbox", "credential", "keys", "clock", "backup"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("checks")) as made:
        yield made


@pytest.fixture
def a(world: World) -> Served:
    return world["a"]


def checked(served: Served, **settings: Any) -> dict[str, Check]:
    """Every check by name, in both languages; of the node with these settings."""
    watched = served.node.watched
    watched = replace(watched, config=replace(watched.config, **settings))
    found = Checks(watched).run()
    for each in found:
        assert each.en, each.name
        assert any("\u4e00" <= sign <= "\u9fff" for sign in each.zh), each
        assert bool(each.mend_en) == bool(each.mend_zh) == (each.state != "ok"), each
    return {each.name: each for each in found}


def state(served: Served, name: str, **settings: Any) -> str:
    return checked(served, **settings)[name].state


def test_a_healthy_node_lacks_nothing_but_a_copy(a: Served, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("")
    found = checked(a)
    assert list(found) == NAMES
    assert [name for name, each in found.items() if each.state != "ok"] == ["backup"]
    backup(a.config, file, tmp_path / "copy")
    assert {each.state for each in checked(a).values()} == {"ok"}
    assert state(a, "backup") == "ok"
    last = a.config.data_dir / "last-backup"
    assert last.read_text().strip() == str(tmp_path / "copy")
    old = last.stat().st_mtime - (limits.BACKUP_DAYS_MAX + 1) * DAY_S
    os.utime(last, (old, old))
    assert state(a, "backup") == "warn"
    last.unlink()


def test_a_disk_that_fills_is_told_before_it_is_full(
    a: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DISK_FREE_BYTES_LOW", 1 << 60)
    assert state(a, "disk") == "warn"
    monkeypatch.setattr(limits, "DISK_FREE_BYTES_MIN", 1 << 60)
    assert state(a, "disk") == "fail"


def test_a_credential_that_nobody_renews_is_told_a_month_before(
    a: Served, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CREDENTIAL_LOW_DAYS", limits.CREDENTIAL_DAYS + 1)
    assert state(a, "credential") == "warn"
    monkeypatch.setattr(limits, "ENDS_SOON_DAYS", limits.CREDENTIAL_DAYS + 1)
    assert state(a, "credential") == "fail"
    monkeypatch.setattr(a.node.identity.peers, "_held", None)
    monkeypatch.setattr(a.node.identity.peers, "own_credential", lambda _now: None)
    assert state(a, "credential") == "fail"
    assert "credential" not in checked(world["fn"])


def test_a_certificate_that_ends_tomorrow_fails(a: Served, tmp_path: Path) -> None:
    certificate(tmp_path)
    assert state(a, "certificate", flight_tls_cert=str(tmp_path / "cert.pem")) == "fail"
    assert "certificate" not in checked(a, flight_tls_cert=str(tmp_path / "none.pem"))


@pytest.mark.parametrize(
    ("seconds", "state_"), [(-60, "fail"), (-12, "warn"), (12, "warn"), (60, "fail")]
)
def test_a_clock_is_held_against_the_parents(
    a: Served, monkeypatch: pytest.MonkeyPatch, seconds: float, state_: str
) -> None:
    now: Callable[[], Any] = a.node.clock.now
    monkeypatch.setattr(a.node.clock, "now", lambda: now() + timedelta(seconds=seconds))
    found = checked(a)["clock"]
    assert found.state == state_
    assert ("ahead of" if seconds > 0 else "behind") in found.en
    assert ("快" if seconds > 0 else "慢") in found.zh


def test_a_parent_that_does_not_answer_is_a_warning(a: Served) -> None:
    assert state(a, "clock", parent_address="http://127.0.0.1:9") == "warn"
    assert "clock" not in checked(a, parent_address="", parent_did="")


def test_a_database_of_another_version_fails(a: Served) -> None:
    found = checked(a)["schema"].en.removeprefix("version ")

    def version(text: str) -> None:
        change = sa.text("UPDATE alembic_version SET version_num = :text")
        a.node.db.write(lambda tx: tx.execute(change, {"text": text}))

    version("0023_use_holders")
    assert state(a, "schema") == "fail"
    version(found)
    assert state(a, "schema") == "ok"


def test_messages_that_wait_for_days_are_told(
    a: Served, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_OLD_S", -1)
    assert state(a, "outbox") == "ok"  # none waits
    a.node.outbox.stop()
    texts = {"title_zh": "患者", "title_en": "Patients", "description_zh": "-"}
    table = {"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"}
    form = {**texts, "description_en": "-", "tables": [table]}
    a.space.submit_resource(a.space.add_resource(form))
    assert state(a, "outbox") == "warn"
    a.node.outbox.start()


def test_a_check_that_cannot_be_made_says_so_and_ends_no_other(a: Served, tmp_path: Path) -> None:
    found = checked(a, data_dir=tmp_path / "gone")
    assert found["disk"].state == "fail"
    assert found["disk"].en.startswith("it could not be checked")
    assert found["schema"].state == "ok"


def run(served: Served, *words: str) -> Any:
    given = {"YUNHE_URL": served.config.address, "YUNHE_LANG": "en", "COLUMNS": "300"}
    token = served.space.create_token("watcher", ["operator"]).token
    return CliRunner().invoke(app, ["doctor", *words], env={**given, "YUNHE_TOKEN": token})


def test_the_command_says_it_in_both_languages_and_by_its_exit_code(
    a: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = run(a)
    assert calm.exit_code == 0, calm.output
    assert "Backup: WARNING" in calm.output
    assert "  Make one: `yunhe backup" in calm.output
    assert run(a, "--strict").exit_code == 1
    assert "备份：警告" in run(a, "--lang", "zh").output
    found = json.loads(run(a, "--json").stdout)
    assert [each["name"] for each in found["checks"]] == NAMES
    monkeypatch.setattr(limits, "DISK_FREE_BYTES_LOW", 1 << 60)
    monkeypatch.setattr(limits, "DISK_FREE_BYTES_MIN", 1 << 60)
    worse = run(a)
    assert worse.exit_code == 1
    assert "Disk: FAILS" in worse.output
