"""A line that is no command: told as every other refusal, in the reader's language.

In: the click command that Typer built, and the words of the line. Out: the exit code; what click
refuses by itself (a missing argument, an unknown option) becomes `BAD_USAGE` with its remedy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import typer

from yunhe.cli.desk import Desk, language
from yunhe.cli.errors import Exit
from yunhe.kernel.errors import Invalid

# What click and Typer say, and the same in Chinese; the rest of a sentence is looked up again.
_SENTENCES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), zh)
    for pattern, zh in (
        (r"Missing command", "缺少子命令"),
        (r"Missing argument (.+)", "缺少参数 {0}"),
        (r"Missing (?:option|parameter) (.+)", "缺少选项 {0}"),
        (r"No such command (.+)\. Did you mean (.+)\?", "没有命令 {0}，相近的有 {1}"),
        (r"No such command (.+)", "没有命令 {0}"),
        (r"No such option: (\S+) \(Possible options: (.+)\)", "没有选项 {0}，相近的有 {1}"),
        (r"No such option: (\S+) Did you mean (.+)\?", "没有选项 {0}，相近的有 {1}"),
        (r"No such option: (\S+)", "没有选项 {0}"),
        (r"Got unexpected extra arguments? ?(?:\(s\) )?\((.+)\)", "多余的参数：{0}"),
        (r"Option (\S+) requires an argument", "选项 {0} 需要一个值"),
        (r"Option (\S+) requires (\d+) arguments", "选项 {0} 需要 {1} 个值"),
        (r"Option (\S+) does not take a value", "选项 {0} 不接受值"),
        (r"Argument (\S+) takes (\d+) values", "参数 {0} 需要 {1} 个值"),
        (r"Invalid value for (.+?): (.+)", "{0} 的值不正确：{1}"),
        (r"Invalid value: (.+)", "值不正确：{0}"),
        (r"Input should be a valid integer.*", "应为整数"),
        (r"Input should be a valid number.*", "应为数字"),
        (r"Input should be greater than or equal to (\S+)", "不得小于 {0}"),
        (r"Input should be less than or equal to (\S+)", "不得大于 {0}"),
        (r"(.+) is not a valid (?:int|integer)(?: range)?", "{0} 不是整数"),
        (r"(.+) is not a valid (?:float|number)(?: range)?", "{0} 不是数字"),
        (r"(.+) is not a valid boolean", "{0} 不是布尔值"),
        (r"(.+) is not a valid UUID", "{0} 不是 UUID"),
        (r"(.+) is not one of (.+)", "{0} 不在可选值 {1} 之中"),
        (r"(.+) is not in the range (.+)", "{0} 超出范围 {1}"),
        (r"\w+ (.+) does not exist", "{0} 不存在"),
        (r"\w+ (.+) is a directory", "{0} 是一个目录"),
        (r"\w+ (.+) is a file", "{0} 是一个文件"),
        (r"\w+ (.+) is not readable", "{0} 没有读权限"),
        (r"\w+ (.+) is not writable", "{0} 没有写权限"),
    )
)


# The options of all commands, which may stand before the command too; how many words each takes.
_SHARED: Final[Mapping[str, int]] = MappingProxyType(
    {"--url": 1, "--token": 1, "--lang": 1, "--insecure": 0, "--json": 0}
)


class BadUsage(Invalid):
    code = "BAD_USAGE"
    en = "This is no command: {why}"
    zh = "命令无法识别：{why}。"
    mend_en = "Write: {form} (see {command} --help)"
    mend_zh = "用法：{form}（详见 {command} --help）"


def in_chinese(sentence: str) -> str:
    """A sentence of click in Chinese; as it is where it is not known."""
    bare = sentence.strip().removesuffix(".")
    for pattern, zh in _SENTENCES:
        if found := pattern.fullmatch(bare):
            return zh.format(*(in_chinese(part) for part in found.groups()))
    return bare


def spoken(words: Sequence[str]) -> str:
    """The language of a line that could not be read: its `--lang`, or the environment's."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--lang":
            return language(value if equals else "".join(words[place + 1 : place + 2]))
    return language("")


def ordered(command: Any, words: Sequence[str]) -> list[str]:
    """The line with the options of all commands behind the command that they stand before.

    Where no command follows they are left out: the language is known by then, and nothing is run.
    """
    place = 0
    while place < len(words) and (name := words[place].partition("=")[0]) in _SHARED:
        place += 1 if "=" in words[place] else 1 + _SHARED[name]
    first, rest = words[:place], words[place:]
    depth = 0
    while depth < len(rest) and rest[depth] in getattr(command, "commands", {}):
        command = command.commands[rest[depth]]
        depth += 1
    moved = () if hasattr(command, "commands") else first
    return [*rest[:depth], *moved, *rest[depth:]]


def run(command: Any, words: Sequence[str]) -> int:
    """Run a line as the command it is; returns the exit code."""
    try:
        line = ordered(command, words)
        return int(command.main(line, prog_name="yunhe", standalone_mode=False) or Exit.OK)
    except typer.Abort:  # Ctrl-C or the end of the input, at a question
        return Exit.INTERRUPTED
    except Exception as error:
        # The class of click's refusals is another one in each release of Typer.
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown instead
            return Exit.USAGE
        desk = Desk("", "", False, "--json" in words, spoken(words))
        said = str(error.format_message()).strip()
        path, form = _form(command, words, getattr(error, "ctx", None))
        en = said if said.endswith((".", "?")) else f"{said}."
        return desk.fail(BadUsage(why=en, why_zh=in_chinese(said), form=form, command=path))


def _form(command: Any, words: Sequence[str], context: Any) -> tuple[str, str]:
    """The command that the line means, and how it is written."""
    if context is None:  # click knew it, and does not tell
        named = ["yunhe"]
        for word in words:
            if (command := getattr(command, "commands", {}).get(word)) is None:
                break
            named.append(word)
        return " ".join(named), " ".join([*named, "[OPTIONS] …"])
    path = str(context.command_path)
    form = " ".join([path, *context.command.collect_usage_pieces(context)])
    return path, form.translate(str.maketrans("", "", "{}"))
