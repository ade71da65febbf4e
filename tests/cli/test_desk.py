"""How every command speaks: options, languages, errors, exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from rich.markup import escape
from rich.tree import Tree
from typer.testing import CliRunner

from yunhe.cli import terms
from yunhe.cli.desk import Desk, command, language, plain
from yunhe.cli.errors import Exit, NotVerified, exit_code
from yunhe.kernel.errors import Conflict, Denied, Internal, Invalid, Unavailable, YunheError
from yunhe.sdk import ArrowMissing, InsecureUrl, NegotiationHeld, NodeUnreachable, YunheRefused


def _refused(status: int) -> YunheRefused:
    return YunheRefused({"code": "X", "detail": "d", "remedy": "r"}, status)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_refused(403), Exit.REFUSED),
        (_refused(400), Exit.REFUSED),
        (_refused(503), Exit.UNREACHABLE),
        (_refused(500), Exit.INTERNAL),
        (Conflict(why="x"), Exit.REFUSED),
        (Denied(), Exit.REFUSED),
        (NegotiationHeld(negotiation_id="n"), Exit.REFUSED),
        (Invalid(why="x"), Exit.USAGE),
        (InsecureUrl(url="u"), Exit.USAGE),
        (ArrowMissing(package="p"), Exit.USAGE),
        (NodeUnreachable(url="u", why="w"), Exit.UNREACHABLE),
        (Unavailable(what="x"), Exit.UNREACHABLE),
        (NotVerified(field="f", why="w"), Exit.NOT_VERIFIED),
        (Internal(), Exit.INTERNAL),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: YunheError, code: Exit) -> None:
    assert exit_code(error) == code


def _run(work: Any, *arguments: str) -> Any:
    app = typer.Typer()
    command(app, "go")(work)
    return CliRunner().invoke(app, [*arguments])


def _fails(desk: Desk) -> None:
    raise _refused(403) if desk.lang == "en" else Invalid(why="原因")


def _breaks(_desk: Desk) -> None:
    raise RuntimeError("secret inside")


def test_an_error_is_code_sentence_remedy_on_the_error_stream() -> None:
    result = _run(_fails, "--lang", "en")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.split() == ["X", "d", "Remedy:", "r"]


def test_an_error_speaks_chinese() -> None:
    result = _run(_fails, "--lang", "zh")
    assert result.exit_code == 2
    assert "请求不合法：原因。" in result.stderr
    assert "建议" in result.stderr


def test_an_error_for_programs_is_the_problem() -> None:
    result = _run(_fails, "--json", "--lang", "en")
    assert json.loads(result.stdout)["error"]["code"] == "X"


def test_a_fault_of_ours_shows_neither_traceback_nor_detail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = _run(_breaks)
    assert result.exit_code == 5
    assert "Traceback" not in result.output
    assert "secret inside" not in result.output
    assert "COMMAND_FAILED" in result.output
    assert "YUNHE_DEBUG=1" in result.output  # who runs a command is told how to see more
    monkeypatch.setenv("YUNHE_DEBUG", "1")
    assert isinstance(_run(_breaks).exception, RuntimeError)


@pytest.mark.parametrize(
    ("chosen", "environment", "expected"),
    [
        ("", "zh_CN.UTF-8", "zh"),
        ("", "C.UTF-8", "en"),
        ("en", "zh_CN.UTF-8", "en"),
        ("zh-CN", "C", "zh"),
    ],
)
def test_the_language_is_chosen_or_that_of_the_environment(
    chosen: str, environment: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", environment)
    assert language(chosen) == expected


def test_text_of_strangers_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk("", "", False, False, "en")
    desk.table([{"a": "\x1b[2J[red]x[/red]"}], {"a": "A"})
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]x[/red]" in shown


def test_a_tree_in_a_pipe_keeps_its_lines_whole_and_steers_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree = Tree("plan")
    tree.add("part").add(escape("SELECT 1 " * 40 + "\x1b[2J[red]x[/red]"))
    Desk("", "", False, False, "en").tree(tree)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[:2]] == ["plan", "└── part"]
    assert lines[2].count("SELECT") == 40
    assert lines[2].endswith(" [2J[red]x[/red]")


def test_a_tree_on_a_narrow_terminal_is_folded_under_its_branch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "40")
    tree = Tree("plan")
    tree.add(" ".join(f"word{number}" for number in range(30)))
    Desk("", "", False, False, "en").tree(tree)
    shown = capsys.readouterr().out
    assert all(f"word{number}" in shown for number in range(30))
    assert len(shown.splitlines()) > 5


def test_plain_values_are_those_of_the_wire() -> None:
    assert plain({"a": (1, None)}) == {"a": [1, None]}


@pytest.mark.parametrize("control", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "\u202e", "\r"])
def test_headings_and_refusals_of_others_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], control: str
) -> None:
    """A provider chooses the column names of its tables and the words of its refusals."""

    refused = {"code": f"[blink]A{control}", "detail": f"No{control}.", "remedy": f"{control}x"}
    desk = Desk("", "", False, False, "en")
    desk.table([{"a": 1}], {"a": f"[blink]age{control}"})
    desk.fail(YunheRefused(refused, 403))
    desk.show(None, f"done{control}")
    shown, told = capsys.readouterr()
    assert control not in shown + told
    assert "[blink]age" in shown
    assert "[blink]A" in told


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x9b2J", "\u202e", "\u2066", "\u200f", "\x7f", "\u2028", "\U000e0041"]
)
def test_json_shows_the_words_of_others_and_obeys_none(
    capsys: pytest.CaptureFixture[str], hostile: str
) -> None:
    said = {f"a{hostile}": [f"卫生{hostile}\n", 1]}
    desk = Desk("", "", False, True, "en")
    desk.show(said, "")
    shown = capsys.readouterr().out
    assert hostile not in shown
    assert "卫生" in shown
    assert json.loads(shown) == said
    desk.fail(YunheRefused({"code": "X", "detail": hostile, "remedy": "r"}, 403))
    told = capsys.readouterr().out
    assert hostile not in told
    assert json.loads(told)["error"]["detail"] == hostile


@pytest.mark.parametrize(
    ("lang", "expected"),
    [("en", "until 2099-12-31T00:00:00Z, uses 3"), ("zh", "到期 2099-12-31T00:00:00Z，次数 3")],
)
def test_bounds_are_said_in_words(lang: str, expected: str) -> None:
    found = {"expires_at": "2099-12-31T00:00:00.000000Z", "uses_max": 3, "of_later": 1}
    assert terms.bounds(Desk("", "", False, False, lang), found) == expected
