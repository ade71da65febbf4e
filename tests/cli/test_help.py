"""Help is there for every option, and in Chinese for a reader of Chinese."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer import rich_utils

from yunhe.cli import app, pages
from yunhe.cli.help_zh import TEXTS

HAN = re.compile(r"[\u4e00-\u9fff]")


def _texts(command: Any, path: str = "yunhe") -> dict[str, str]:
    found = {path: (command.help or "").strip()}
    for each in command.params:
        shown = getattr(each, "help", None) or ""
        found[f"{path} {each.opts[0]}"] = shown.strip()
    for name, sub in getattr(command, "commands", {}).items():
        found |= _texts(sub, f"{path} {name}")
    return found


def test_every_option_and_argument_has_help_and_every_help_is_in_chinese_too() -> None:
    found = _texts(typer.main.get_command(app))
    assert not [path for path, text in found.items() if not text]
    assert not [path for path, text in found.items() if text not in TEXTS]
    assert not [text for text in TEXTS.values() if not HAN.search(text)]
    shown = _texts(pages.arrange(typer.main.get_command(app), "zh"))
    assert not [path for path, text in shown.items() if not HAN.search(text)]


def test_the_first_page_has_every_command_in_one_group() -> None:
    grouped = [name for _, _, names in pages.GROUPS for name in names]
    built: Any = typer.main.get_command(app)
    assert sorted(grouped) == sorted(built.commands)
    english = pages.arrange(built, "en")
    assert [*english.commands] == grouped
    panels = {each.rich_help_panel for each in english.commands["sql"].params}
    assert panels == {None, "For all commands"}


def test_the_help_follows_the_language_of_the_environment() -> None:
    def said(lang: str) -> str:
        environ = {**os.environ, "LC_ALL": lang, "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-m", "yunhe", "negotiate", "--help"]
        done = subprocess.run(command, env=environ, capture_output=True, check=True)
        return done.stdout.decode()

    assert "协商合约" in said("zh_CN.UTF-8")
    assert "仅显示提供方条款" in said("zh_CN.UTF-8")
    for english in ("Options", "Usage", "default:", "env var", "Show this message"):
        assert english not in said("zh_CN.UTF-8")
    assert "Negotiate a contract" in said("C.UTF-8")


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_word_of_help_is_lost_on_a_narrow_terminal(
    lang: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in vars(rich_utils).items():  # what is changed there is for this test alone
        monkeypatch.setattr(rich_utils, name, value)
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 60)
    pages.fold()
    cut: list[str] = []

    def look(command: Any, path: str) -> None:
        command.get_help(typer.Context(command, info_name=path))
        cut.extend(line for line in capsys.readouterr().out.split("\n") if "…" in line)
        for name, sub in getattr(command, "commands", {}).items():
            look(sub, f"{path} {name}")

    look(pages.arrange(typer.main.get_command(app), lang), "yunhe")
    assert cut == []
