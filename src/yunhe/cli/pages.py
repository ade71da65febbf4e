"""The pages of help: commands by what they are for, common options apart, in one language.

In: the click command that Typer built. Out: the same, arranged, and in Chinese where asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import typer
from rich.columns import Columns
from rich.table import Table
from rich.text import Text
from typer import rich_utils

from yunhe.cli.desk import FOR_ALL
from yunhe.cli.help_zh import TEXTS

# The first page in the order of a life; a test holds it against the commands.
GROUPS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("Begin", "开始", ("demo", "init", "serve", "register")),
    ("Provide data", "提供数据", ("publish", "resources", "products", "watermark")),
    (
        "Use data",
        "使用数据",
        ("search", "negotiate", "negotiations", "contracts", "sql", "fabric", "lineage"),
    ),
    ("Have data or programs travel", "数据与应用的流动", ("transfers", "vault", "apps")),
    ("Settle and prove", "结算与存证", ("statement", "verify", "trust")),
    ("Look after a node", "运维节点", ("doctor", "backup", "tokens", "keys")),
    ("Be a functional node", "功能节点", ("review", "members")),
)
_TITLES: Final = {
    "ARGUMENTS_PANEL_TITLE": "参数",
    "OPTIONS_PANEL_TITLE": "选项",
    "COMMANDS_PANEL_TITLE": "命令",
    "DEFAULT_STRING": "[默认：{}]",
    "ENVVAR_STRING": "[环境变量：{}]",
    "REQUIRED_LONG_STRING": "[必填]",
}


def arrange(command: Any, lang: str) -> Any:
    """The root command with its pages arranged, in `zh` or `en`."""
    for en, zh, names in GROUPS:
        for name in names:
            sub = command.commands.pop(name)
            sub.rich_help_panel = zh if lang == "zh" else en
            command.commands[name] = sub
    return _dress(command, lang == "zh")


def retitle() -> None:
    """Have Typer write its own headings in Chinese; for the whole process."""
    for name, text in _TITLES.items():
        vars(rich_utils)[name] = text


class _Table(Table):
    """A table of help: a name or a text that is wider than its column goes on below, whole."""

    def add_row(self, *cells: Any, **more: Any) -> None:
        super().add_row(*cells, **more)
        for column in self.columns:
            column.overflow = "fold"


class _Columns(Columns):
    """The help of one option: Chinese has no blanks to break at, and was cut at the edge."""

    def __init__(self, items: Iterable[Any], **more: Any) -> None:
        found = list(items)
        for each in found:
            if isinstance(each, Text):
                each.overflow = "fold"
        super().__init__(found, **more)


def fold() -> None:
    """Have Typer fold what has no room on a narrow terminal; for the whole process."""
    vars(rich_utils).update(Table=_Table, Columns=_Columns)


def _dress(command: Any, chinese: bool, above: typer.Context | None = None) -> Any:
    """The click command, its options and its sub-commands with Chinese help where it is known."""
    here = typer.Context(command, above, **command.context_settings)
    parameters = command.get_params(here)  # here click makes its option for the help, too
    if any(getattr(each, "rich_help_panel", None) == FOR_ALL for each in parameters):
        parameters[-1].rich_help_panel = FOR_ALL
    if chinese:
        for each in (command, *parameters):
            for name in ("help", "short_help", "epilog", "rich_help_panel"):
                text = (getattr(each, name, None) or "").strip()
                if text in TEXTS:
                    setattr(each, name, TEXTS[text])
        command.get_usage = _usage(command.get_usage)
    for sub in getattr(command, "commands", {}).values():
        _dress(sub, chinese, here)
    return command


def _usage(english: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda context: english(context).replace("Usage: ", "用法：", 1)
