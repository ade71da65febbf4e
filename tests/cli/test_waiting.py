"""A wait that was too short says which command takes it up again."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import Exit
from yunhe.cli.waiting import WaitedTooLong, until
from yunhe.sdk import Registration

DESK = Desk("", "", False, False, "en")


def test_a_wait_ends_with_the_command_to_go_on_with() -> None:
    again = "yunhe publish wells.toml --resource r-1"
    with pytest.raises(WaitedTooLong) as error:
        until(DESK, lambda: Registration("submitted"), lambda _: False, 0, again)
    assert again in error.value.remedy("en")
    assert again in error.value.remedy("zh")
    assert "submitted" in error.value.sentence("en")


def test_ctrl_c_says_that_the_node_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def asked() -> Registration:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        until(DESK, asked, lambda _: False, 9, "yunhe register --show")
    assert "goes on at the node. Later: yunhe register --show" in capsys.readouterr().err
    app = typer.Typer()
    command(app, "wait")(lambda desk: asked())
    assert CliRunner().invoke(app, []).exit_code == Exit.INTERRUPTED == 130


def test_one_is_no_plural() -> None:
    assert [DESK.count(n, "use", "次") for n in (0, 1, 2)] == ["0 uses", "1 use", "2 uses"]
    assert Desk("", "", False, False, "zh").count(1, "use", "次") == "1 次"
