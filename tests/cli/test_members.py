"""Members and keys from the command line, against real nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from typer.testing import CliRunner

from flow.world import World, three, until
from yunhe.cli import app
from yunhe.kernel import sandbox, walls


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("members")) as made:
        yield made


def run(world: World, key: str, *arguments: str) -> Any:
    environ = {"YUNHE_URL": world[key].config.address, "YUNHE_TOKEN": world[key].token}
    return CliRunner().invoke(app, [*arguments], env={**environ, "LC_ALL": "C", "COLUMNS": "300"})


def said(world: World, key: str, *arguments: str) -> Any:
    result = run(world, key, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_member_is_suspended_resumed_and_put_out(world: World) -> None:
    found = said(world, "fn", "members", "list")
    (code,) = [each["code"] for each in found if each["did"] == world["r"].did]
    assert "suspended" not in run(world, "fn", "members", "list").stdout
    for step, state in (("suspend", "suspended"), ("resume", "active"), ("revoke", "cancelled")):
        changed = said(world, "fn", "members", step, code, "--reason", f"because: {step}")
        assert (changed["code"], changed["state"]) == (code, state)
    assert "cancelled" in run(world, "fn", "members", "list").stdout
    assert "有效" in run(world, "fn", "members", "list", "--lang", "zh").stdout
    again = run(world, "fn", "members", "revoke", code, "--reason", "twice")
    assert again.exit_code == 1
    assert run(world, "fn", "members", "suspend", code).exit_code == 2  # a reason is owed


def test_only_a_registrar_has_members(world: World) -> None:
    assert said(world, "a", "members", "list") == []
    assert run(world, "a", "members", "revoke", "x" * 32, "--reason", "r").exit_code == 1


@pytest.mark.parametrize("purpose", ["did", "dcp"])
def test_a_key_is_rotated_under_a_running_node(world: World, purpose: str) -> None:
    turned = said(world, "a", "keys", "rotate", purpose)
    document = world["a"].node.identity.did_document()
    kids = [method["publicKeyJwk"]["kid"] for method in document["verificationMethod"]]
    assert kids.index(turned["new"]) < kids.index(turned["old"])
    shown = run(world, "a", "keys", "rotate", purpose)
    assert turned["new"] in shown.stdout
    assert run(world, "a", "keys", "rotate", "log").exit_code == 1


def test_the_doctor_says_which_walls_stand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    until("the credential of the new key", world["a"].node.identity.own_credential)
    found = said(world, "a", "doctor")["sandbox"]
    assert (found["mode"], found["whole"]) == ("best", sandbox.available().whole)
    monkeypatch.setattr(sandbox, "available", sandbox.Report)
    assert "Landlock: MISSING" in run(world, "a", "doctor").stdout
    assert found["confined"][-1] == "ingest"
    assert "Landlock：缺失" in run(world, "a", "doctor", "--lang", "zh").stdout
    monkeypatch.setattr(walls, "told", lambda _, report: {"mode": "require", "whole": False,
                                                          "confined": [],
                                                          **asdict(report)})  # fmt: skip
    assert run(world, "a", "doctor").exit_code == 1
