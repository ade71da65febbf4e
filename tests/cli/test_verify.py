"""`yunhe verify` on files: what holds, what does not, what is no bundle at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evidence.bundle_world import World, parts, whole
from yunhe import evidence
from yunhe.cli import app


def verify(bundle: Path, trust: Path, *more: str) -> Any:
    arguments = ["verify", str(bundle), "--trust", str(trust), *more]
    return CliRunner().invoke(app, arguments, env={"LC_ALL": "C", "COLUMNS": "200"})


# The public key of RFC 8037 A.2.
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
TRUST = {"roots": [{"did": "did:web:fn.example", "jwk": JWK}], "parties": {}, "logs": {}}


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(TRUST), encoding="utf-8")
    return path


def test_what_does_not_hold_gives_four_and_names_the_field(tmp_path: Path, trust: Path) -> None:
    bundle = tmp_path / "bundle.json"
    bundle.write_text('{"format": "other/1"}', encoding="utf-8")
    result = verify(bundle, trust)
    assert result.exit_code == 4, result.output
    assert "NOT_VERIFIED" in result.stderr
    assert "/format" in result.stderr
    found = json.loads(verify(bundle, trust, "--json").stdout)
    assert found["ok"] is False
    assert found["error"]["code"] == "NOT_VERIFIED"
    assert "证据包" in verify(bundle, trust, "--lang", "zh").stderr


@pytest.mark.parametrize(
    "text", ["", "[]", "no", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 500 + "]" * 500]
)
def test_what_is_no_json_object_is_a_usage_error(tmp_path: Path, trust: Path, text: str) -> None:
    bundle = tmp_path / "bundle.json"
    bundle.write_text(text, encoding="utf-8")
    result = verify(bundle, trust)
    assert result.exit_code == 2, result.output
    assert "BAD_ARGUMENT" in result.stderr


def test_an_absent_file_is_a_usage_error(tmp_path: Path, trust: Path) -> None:
    assert verify(tmp_path / "absent.json", trust).exit_code == 2


@pytest.mark.parametrize(
    ("said", "sought"),
    [("roots", "did:web:fn.example"), ("logs", "no trusted key is known for the log")],
)
def test_a_wrong_trust_file_is_told_from_a_wrong_bundle(
    tmp_path: Path, trust: Path, said: str, sought: str
) -> None:
    """Which key was sought, which the file has, and how to get the right one."""
    world = World()
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(whole(world)), encoding="utf-8")
    other = {"roots": TRUST["roots"], "logs": {}}[said]
    trust.write_text(json.dumps({**world.trust(), said: other}), encoding="utf-8")
    result = verify(bundle, trust)
    assert result.exit_code == 4
    assert "NOT_VOUCHED" in result.stderr
    assert sought in result.stderr
    assert "the trust file has" in result.stderr or "it has" in result.stderr
    assert "yunhe trust --root" in result.stderr
    zh = verify(bundle, trust, "--lang", "zh").stderr
    assert "信任文件" in zh
    assert "请向出具方重新获取" not in zh
    trust.write_text("{}", encoding="utf-8")
    assert "未给出可信根" in verify(bundle, trust, "--lang", "zh").stderr


def test_a_bundle_that_holds_is_shown_check_by_check(tmp_path: Path, trust: Path) -> None:
    world = World()
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(whole(world)), encoding="utf-8")
    trust.write_text(json.dumps(world.trust()), encoding="utf-8")
    result = verify(bundle, trust)
    assert result.exit_code == 0, result.output
    assert "holds" in result.stdout
    assert "FAILS" not in result.stdout
    assert "signatures: both parties signed" in result.stdout
    assert "签名：双方已签名" in verify(bundle, trust, "--lang", "zh").stdout
    found = json.loads(verify(bundle, trust, "--json").stdout)
    assert found["ok"] is True
    assert found["findings"] == []


def test_a_changed_field_is_named(tmp_path: Path, trust: Path) -> None:
    world = World()
    made = whole(world)
    made["settlements"][0]["statement"]["total_fen"] += 1
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(made), encoding="utf-8")
    trust.write_text(json.dumps(world.trust()), encoding="utf-8")
    result = verify(bundle, trust)
    assert result.exit_code == 4
    assert "/settlements/0/statement/total_fen" in result.stderr


def test_an_open_period_holds_and_is_told(tmp_path: Path) -> None:
    world = World()
    made = evidence.make_bundle({**parts(world), "settlements": []}, world.provider)
    bundle, trust = tmp_path / "bundle.json", tmp_path / "own.json"
    bundle.write_text(json.dumps(made), encoding="utf-8")
    trust.write_text(json.dumps(world.trust()), encoding="utf-8")
    result = verify(bundle, trust)
    assert result.exit_code == 0, result.output
    assert "NOTHING_SETTLED" in result.stdout
    assert json.loads(verify(bundle, trust, "--json").stdout)["notices"]


@pytest.mark.parametrize("which", ["bundle", "trust"])
def test_a_file_beyond_all_bounds_is_not_read(tmp_path: Path, trust: Path, which: str) -> None:
    """A stranger's bundle must not take the auditor's memory: a terabyte, of which nothing is."""
    huge, small = tmp_path / "huge.json", tmp_path / "bundle.json"
    small.write_text("{}", encoding="utf-8")
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    result = verify(huge, trust) if which == "bundle" else verify(small, huge)
    assert result.exit_code == 2, result.output
    assert "64 MB" in result.stderr
