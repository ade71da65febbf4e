"""`yunhe init`: the form at a terminal keeps what is right, and flags are checked like answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from yunhe.cli import app, init
from yunhe.kernel import settings

FLAGS = (
    *("--name", "a", "--subject-code", "91330100MA00000665"),
    *("--subject-name", "甲医院", "--subject-name-en", "Hospital A"),
    *("--address", "https://a.example"),
)


def run(folder: Path, *flags: str, answers: list[str] | None = None) -> Any:
    text = None if answers is None else "\n".join(answers) + "\n"
    environ = {"LC_ALL": "C", "COLUMNS": "200"}
    return CliRunner().invoke(app, ["init", str(folder), *flags], input=text, env=environ)


def test_the_form_keeps_answers_and_asks_again_for_the_refused_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "_at_terminal", lambda: True)
    data = tmp_path / "csv"
    data.mkdir()
    answers = [
        *("a", "91330100MA00000660", "91330100MA00000665", "甲医院", "Hospital A"),
        *("a.example", "http://127.0.0.1:8100", "y"),
        *("http://fn.example", "did:key:z", "", "", str(tmp_path / "none"), str(data)),
    ]
    result = run(tmp_path / "n", answers=answers)
    assert result.exit_code == 0, result.output
    for refused in ("credit-code check", "not an address", "not a did:web", "no such folder"):
        assert refused in result.stderr, result.stderr
    assert "--development" in result.stderr
    config = settings.load(tmp_path / "n" / "node.toml", {})
    assert config.development
    assert config.parent_did == config.trust_roots[0].did == "did:web:fn.example"
    assert config.data_roots == (data,)
    for step in ("yunhe serve", "YUNHE_URL", "yunhe register"):
        assert step in result.stdout


def test_a_node_listens_where_its_plain_address_says(tmp_path: Path) -> None:
    def port(name: str, *flags: str) -> int:
        result = run(tmp_path / name, *FLAGS[:-2], "--development", *flags)
        assert result.exit_code == 0, result.output
        return settings.load(tmp_path / name / "node.toml", {}).listen_port

    assert port("a", "--address", "http://127.0.0.1:8250") == 8250
    assert port("b", "--address", "http://127.0.0.1:8250", "--listen-port", "8300") == 8300
    assert port("c", "--address", "https://a.example:8443") == 8100  # of the proxy before it
    assert port("d", "--address", "http://127.0.0.1") == 8100


def test_what_is_typed_full_width_is_taken_as_meant(tmp_path: Path) -> None:
    code, address = "９１３３０１００ＭＡ０００００６６５", "ｈｔｔｐｓ：／／ａ．ｅｘａｍｐｌｅ"
    result = run(tmp_path / "n", *FLAGS, "--subject-code", code, "--address", address)
    assert result.exit_code == 0, result.output
    config = settings.load(tmp_path / "n" / "node.toml", {})
    assert (config.subject_code, config.address) == ("91330100MA00000665", "https://a.example")


def test_the_rest_of_the_form_may_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "_at_terminal", lambda: True)
    result = run(tmp_path / "n", *FLAGS[2:], answers=["a", "", "", ""])
    assert result.exit_code == 0, result.output
    config = settings.load(tmp_path / "n" / "node.toml", {})
    assert (config.parent_address, config.trust_roots, config.data_roots) == ("", (), ())
    assert "parent_address" in result.stdout


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--subject-code", "91330100MA00000660"), "BAD_CODE"),
        (("--parent-address", "https://fn.example"), "parent_did"),
        (("--parent-did", "did:web:fn.example"), "parent_address"),
        (("--parent-address", "fn.example", "--parent-did", "did:web:fn"), "parent_address"),
        (("--parent-address", "https://fn", "--parent-did", "fn"), "parent_did"),
        (("--trust-root", "fn.example"), "trust_roots"),
        (("--data-root", "no-such-folder"), "no-such-folder"),
        (("--address", "https://"), "address"),
        (("--address", "https://[x"), "address"),
    ],
)
def test_flags_are_checked_and_nothing_is_written(
    tmp_path: Path, flags: tuple[str, ...], named: str
) -> None:
    result = run(tmp_path / "n", *FLAGS, *flags)
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert not (tmp_path / "n").exists()


def test_a_data_folder_named_from_here_is_found_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "csv").mkdir()
    result = run(tmp_path / "n", *FLAGS, "--data-root", "csv", "--json")
    assert json.loads(result.stdout)["did"] == "did:web:a.example"
    config = settings.load(tmp_path / "n" / "node.toml", {})
    assert config.data_roots == (tmp_path / "csv",)
