"""Each sentence speaks one language: a reader of Chinese meets no English reason, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from yunhe.cli import app
from yunhe.kernel.errors import Invalid

HAN = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"\b[a-z]{3,} [a-z]{3,}\b|\b(it|is|not|required)\b")


def run(lang: str, *arguments: str) -> Any:
    environ = {"YUNHE_URL": "http://127.0.0.1:9", "YUNHE_TOKEN": "t", "LC_ALL": lang}
    return CliRunner().invoke(app, [*arguments], env=environ)


def test_the_chinese_sentence_takes_the_chinese_reason() -> None:
    error = Invalid(why="it is late", why_zh="太晚")
    assert error.sentence("zh") == "请求不合法：太晚。"
    assert error.sentence("en") == "The request is not valid: it is late."
    assert Invalid(why="peer's own words").sentence("zh") == "请求不合法：peer's own words。"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "node.toml").write_text("")
    (tmp_path / "broken.toml").write_text("[resource")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "late.toml").write_text("at = 2027-12-31T00:00:00\n")
    (tmp_path / "half.toml").write_text("[resource]\n")
    (tmp_path / "bytes.toml").write_bytes(b"PAR1\x80")
    return tmp_path


NEW = "init {0}/new --name N --subject-name 甲 --subject-name-en A --address https://n.example"

REFUSED = [
    "init {0}",
    "init {0}/new",
    f"{NEW} --subject-code 123",
    f"{NEW} --subject-code 91330100MA00000660",
    f"{NEW} --subject-code 91330100MA00000665 --data-root {{0}}/none",
    "publish {0}/none.toml",
    "publish {0}/broken.toml",
    "publish {0}/broken.json",
    "publish {0}/list.json",
    "publish {0}/late.toml",
    "publish {0}/half.toml",
    "publish {0}/bytes.toml",
    "publish {0}",
    "negotiate P1 --ask uses_max",
    "fabric explain SQL --with study=,",
    "review decide ID maybe",
    "sql c SELECT --purpose p --out x.xls",
    "sql c SELECT --purpose p --out {0}/none/x.csv",
    "verify {0}/none.json --trust {0}/none.json",
    "verify {0}/broken.json --trust {0}/list.json",
    "trust --root x --node y --out {0}/t",
    "trust --root ftp://x --node y --out {0}/t",
    "search x --url 127.0.0.1:8100",
]


@pytest.mark.parametrize("line", REFUSED)
def test_a_refusal_of_the_command_line_is_in_one_language(line: str, files: Path) -> None:
    words = line.format(files).split()
    zh, en = run("zh_CN.UTF-8", *words), run("C", *words)
    assert zh.exit_code == en.exit_code == 2
    first = zh.stderr.splitlines()[0].replace(str(files), "")
    assert HAN.search(first)
    assert not ENGLISH.search(first), first
    assert not HAN.search(en.stderr.replace("甲", ""))
