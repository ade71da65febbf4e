"""What is no command is refused like everything else: code, sentence, remedy, one language."""

from __future__ import annotations

import json
import re

import pytest
import typer

from yunhe.cli import app, usage

HAN = re.compile(r"[\u4e00-\u9fff]")
LATIN = re.compile(r"[A-Za-z]{3,} [a-z]{2,}")  # two English words

LINES = {
    "sql": "缺少参数 'CONTRACT'",
    "negotiations end ID": "缺少选项 '--reason'",
    "bogus": "没有命令 'bogus'",
    "contrats": "没有命令 'contrats'，相近的有 'contracts'",
    "sql c q --purpos p": "没有选项 --purpos，相近的有 --purpose",
    "sql c q --zzz p": "没有选项 --zzz",
    "resources list extra": "多余的参数：extra",
    "sql c q --out": "选项 '--out' 需要一个值",
    "resources list --json=3": "选项 '--json' 不接受值",
    "resources sample r --rows many": "'--rows' 的值不正确：",
    "resources sample r --rows 0": "'--rows' 的值不正确：",
}


def _said(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = usage.run(typer.main.get_command(app), line.split())
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_command_is_told_in_the_readers_language(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YUNHE_LANG", "zh")
    code, out, err = _said(line, capsys)
    first, remedy = err.splitlines()[:2]
    assert (code, out) == (2, "")
    assert first.startswith(f"BAD_USAGE  命令无法识别：{LINES[line]}")
    assert not LATIN.search(first), first
    assert remedy.startswith("建议：用法：yunhe ")
    monkeypatch.setenv("YUNHE_LANG", "en")
    code, out, err = _said(line, capsys)
    assert (code, out) == (2, "")
    assert "--help)" in err
    assert not HAN.search(err)


def test_the_line_itself_may_choose_the_language_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YUNHE_LANG", "en")
    for chosen in ("--lang zh", "--lang=zh"):
        assert "多余的参数" in _said(f"resources list extra {chosen}", capsys)[2]
    code, out, err = _said("resources list extra --json", capsys)
    told = json.loads(out)["error"]
    assert (code, err, told["code"]) == (2, "", "BAD_USAGE")
    assert told["zh"]["detail"] == "命令无法识别：多余的参数：extra。"


def test_a_sentence_nobody_knows_stays_as_it_is() -> None:
    assert usage.in_chinese("Something new of click.") == "Something new of click"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("--lang zh sql C Q", "sql --lang zh C Q"),
        ("--json --lang=en contracts show C", "contracts show --json --lang=en C"),
        ("--token t --insecure sql -- C -1", "sql --token t --insecure -- C -1"),
        ("sql C --lang zh", "sql C --lang zh"),
        ("--lang zh --help", "--help"),
        ("--lang zh contracts", "contracts"),
        ("--lang", ""),
        ("--lang zh bogus", "bogus"),
        ("--version", "--version"),
    ],
)
def test_options_of_all_commands_may_stand_before_the_command(line: str, meant: str) -> None:
    root = typer.main.get_command(app)
    assert usage.ordered(root, line.split()) == meant.split()


def test_a_language_before_the_command_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _said("--lang zh resources list extra", capsys)
    assert (code, out) == (2, "")
    assert "多余的参数" in err
