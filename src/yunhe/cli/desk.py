"""The desk of a command: connection, language, output for people or programs, errors, exits.

In: the options that every command has. Out: a `Desk` given to the command as its first argument;
`command` adds those options to the signature, so that each command lists only its own.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, Final, get_type_hints

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from yunhe.cli import words
from yunhe.cli.errors import BadArgument, CommandFailed, Exit, NoNodeGiven, exit_code
from yunhe.kernel import tongues
from yunhe.kernel.clock import iso, parse_iso, to_second
from yunhe.kernel.errors import YunheError
from yunhe.kernel.money import yuan
from yunhe.sdk import Space, Terms, YunheRefused, connect

FOR_ALL: Final = "For all commands"

_OPTIONS: Final[Mapping[str, tuple[Any, Any]]] = {
    "url": (
        Annotated[
            str,
            typer.Option(envvar="YUNHE_URL", help="Address of your node.", rich_help_panel=FOR_ALL),
        ],
        "",
    ),
    "token": (
        Annotated[
            str,
            typer.Option(
                envvar="YUNHE_TOKEN", help="API token of your node.", rich_help_panel=FOR_ALL
            ),
        ],
        "",
    ),
    "insecure": (
        Annotated[
            bool,
            typer.Option(
                "--insecure", help="Allow a token over plain http.", rich_help_panel=FOR_ALL
            ),
        ],
        False,
    ),
    "json": (
        Annotated[
            bool,
            typer.Option("--json", help="Write JSON for programs.", rich_help_panel=FOR_ALL),
        ],
        False,
    ),
    "lang": (
        Annotated[
            str,
            typer.Option(help="zh or en; default: YUNHE_LANG, else LANG.", rich_help_panel=FOR_ALL),
        ],
        "",
    ),
}

_WHOLE: Final = frozenset({"id", "code"})
_WHOLE_ID: Final = re.compile(r"urn:uuid:.{36}|.{47,}")
_FILE_WIDTH: Final = 100_000  # a file or a pipe has no edge
_NO_TOKEN: Final = (
    "Give --token, or set YUNHE_TOKEN.",
    "请使用 --token，或设置 YUNHE_TOKEN。",
)


@dataclass(frozen=True)
class Desk:
    """What a command has at hand."""

    url: str
    token: str
    insecure: bool
    json: bool
    lang: str

    @property
    def out(self) -> Console:
        """The terminal for results."""
        return _Terminal(highlight=False, soft_wrap=True)

    @property
    def err(self) -> Console:
        """The terminal for progress and errors."""
        return _Terminal(stderr=True, highlight=False, soft_wrap=True)

    def space(self) -> Space:
        """A client of the node; raises NoNodeGiven."""
        if not self.url:
            raise NoNodeGiven
        return connect(self.url, self.token or None, insecure=self.insecure)

    def say(self, en: str, zh: str) -> str:
        """The text of the chosen language."""
        return zh if self.lang == "zh" else en

    def columns(self, names: str, en: str, zh: str) -> dict[str, str]:
        """Members of a list and their headings in the chosen language, a word for each."""
        return dict(zip(names.split(), self.say(en, zh).split(), strict=True))

    def labelled(self, name: str, value: object) -> str:
        """`name: value`, with the colon of the chosen language."""
        return self.say(f"{name}: {value}", f"{name}：{value}")

    def show(self, value: Any, human: Callable[[], None] | str) -> None:
        """Write a result: `value` as JSON, or what people read."""
        if self.json:
            typer.echo(as_json(plain(value)))
        elif callable(human):
            human()
        else:
            self.out.print(human, markup=False)

    def rows(self, items: Iterable[Any], columns: Mapping[str, str]) -> None:
        """Write a list: JSON objects, or a table of some members under their headings."""
        found = [plain(item) for item in items]
        self.show(found, lambda: self.table(found, columns))

    def table(self, found: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """A table of plain objects; `columns` maps members to headings."""
        rows = [[_cell(self._said(name, item.get(name))) for name in columns] for item in found]
        table = Table(
            box=None, header_style="bold", pad_edge=False, show_header=any(columns.values())
        )
        room = 0
        for place, (name, head) in enumerate(columns.items()):
            # An identifier is there to be copied: whole, on one line, however narrow the screen.
            whole = name in _WHOLE or name.endswith(("_id", "_code"))
            table.add_column(_cell(head), no_wrap=whole, overflow="ignore" if whole else "fold")
            widths = (cell_len(row[place]) for row in rows)
            room += (max([cell_len(head), *widths]) if whole else max(cell_len(head), 8)) + 2
        for row in rows:
            table.add_row(*row)
        out = self.out
        out.width = max(room, out.width) if out.is_terminal else _FILE_WIDTH
        out.print(table)

    def tree(self, tree: Tree) -> None:
        """A tree of labels: whole lines in a file, folded under their branches on a terminal."""
        out = self.out
        if not out.is_terminal:
            out.width = _FILE_WIDTH
        # A console that wraps softly would cut what a branch has no room for.
        out.print(_harmless(tree), soft_wrap=False)

    def note(self, en: str, zh: str) -> None:
        """A line of progress for people; nothing when programs read."""
        if not self.json:
            self.err.print(self.say(en, zh), markup=False)

    @contextmanager
    def goes_on(self, again: str) -> Iterator[None]:
        """Around what the node goes on with by itself: Ctrl-C says so, and how to come back."""
        try:
            yield
        except KeyboardInterrupt:
            self.note(
                f"stopped waiting; it goes on at the node. Later: {again}",
                f"已停止等待；处理仍在节点上继续。稍后请执行：{again}",
            )
            raise

    def reason(self, why: Any) -> str:
        """One reason of a review, or one fault of a form, as a line in the chosen language."""
        if not isinstance(why, Mapping):
            return tongues.of(str(why), self.lang)
        field, rule = str(why.get("field", "")), str(why.get("rule", ""))
        text = str(why.get(self.lang) or why.get("en") or "")
        known = text if not field or text.startswith(field) else self.labelled(field, text)
        # What came back by wire broke no rule of a review.
        return f"{known} ({rule})" if rule and rule != "wire" else known

    def instant(self, at: datetime | str | None) -> str:
        """An instant to the second, as one may give it back: `2026-11-21T09:00:00Z`."""
        if not at:
            return "–"
        return to_second(parse_iso(at) if isinstance(at, str) else at)

    def _said(self, column: str, value: object) -> object:
        """A value of a table's column as people read it."""
        if column != "at" and not column.endswith("_at"):
            return words.shown(self.lang, column, value)
        with suppress(ValueError):  # it is in words already
            return self.instant(value) if isinstance(value, str | datetime) else value
        return value

    def state(self, value: str) -> str:
        """A state as people read it."""
        return str(words.shown(self.lang, "state", value))

    def count(self, number: int, en: str, zh: str) -> str:
        """`1 use`, `2 uses`; Chinese has no plural, and its measure word comes with `zh`."""
        return self.say(f"{number:,} {en}{'' if number == 1 else 's'}", f"{number:,} {zh}")

    def yuan(self, fen: int) -> str:
        """Money as people write it."""
        return self.say(f"CNY {yuan(fen)}", f"{yuan(fen)} 元")

    def whole(self, given: str, known: Callable[[], Iterable[Any]]) -> str:
        """The id that `given` begins, where only one does; raises BadArgument where several do.

        What begins none goes as it is: the node says that there is no such thing.
        """
        if _WHOLE_ID.fullmatch(given):  # nothing is missing from it
            return given
        try:
            ids = [str(each if isinstance(each, str) else each.id) for each in known()]
        except YunheRefused as error:
            if error.status in (403, 404):  # may not list, and may still ask for one
                return given
            raise
        found = [each for each in ids if each.removeprefix("urn:uuid:").startswith(given)] or [
            each for each in ids if each.startswith(given)
        ]
        if given in ids or not found:
            return given
        if len(set(found)) > 1:
            named = ", ".join(found[:5])
            en, zh = (
                f"it begins {len(found)} ids: {named}",
                f"有 {len(found)} 个编号以此开头：{named}",
            )
            raise BadArgument(what=given, why=en, why_zh=zh)
        return found[0]

    def stuck(self, why: str | None, again: datetime | None) -> None:
        """Say what waits for the other side: why, and when it is tried again."""
        if why or again:
            when, why = self.instant(again), tongues.of(why or "–", self.lang)
            en = f"waiting for the other side: {why}; next try {when}"
            self.out.print(self.say(en, f"等待对方：{why}；下次重试 {when}"), markup=False)

    def fail(self, error: YunheError) -> Exit:
        """Write an error (code, sentence, remedy) and say which exit code it gives."""
        remedy = self.say(*_NO_TOKEN) if error.code == "TOKEN_MISSING" else error.remedy(self.lang)
        if self.json:
            problem = error.problem()
            if error.code == "TOKEN_MISSING":
                zh = {**problem["zh"], "remedy": _NO_TOKEN[1]}
                problem = {**problem, "remedy": _NO_TOKEN[0], "zh": zh}
            typer.echo(as_json({"error": plain(problem)}))
        else:
            heading = self.say("Remedy", "建议")
            self.err.print(f"[bold red]{_cell(error.code)}[/]", end="  ")
            self.err.print(error.sentence(self.lang), markup=False)
            for fault in _faults(error):
                self.err.print(f"  - {self.reason(fault)}", markup=False)
            self.err.print(self.labelled(heading, remedy), markup=False)
        return exit_code(error)


def plain(value: Any) -> Any:
    """A value as JSON has it: records as objects, instants as text, terms in their wire form."""
    if isinstance(value, Terms):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in asdict(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return iso(value) if isinstance(value, datetime) else value


def as_json(value: Any) -> str:
    """A plain value as JSON that a terminal shows and does not obey, whoever wrote its texts.

    What is neither printed nor a space is escaped: the same value to every program that reads it.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


def _faults(error: YunheError) -> list[Any]:
    found = error.facts.get("faults")
    return found if isinstance(found, list) else []


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(_cell(member) for member in value)
    # Text from other nodes is shown, not obeyed: no markup, no terminal controls.
    return _shown(str(value).replace("\n", " ")).replace("[", r"\[")


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _harmless(tree: Tree) -> Tree:
    """The tree with labels that steer no terminal."""
    tree.label = _shown(str(tree.label))
    for branch in tree.children:
        _harmless(branch)
    return tree


class _Terminal(Console):
    """A console that shows text and obeys none of it, whoever wrote it."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, without the terminal controls in any text."""
        clean = (_shown(each) if isinstance(each, str) else each for each in objects)
        super().print(*clean, **how)


def language(chosen: str) -> str:
    """`zh` or `en`: as chosen, or as the environment says."""
    if chosen:
        return "zh" if chosen.lower().startswith("zh") else "en"
    return tongues.reader()


def command(
    app: typer.Typer, name: str | None = None, options: Sequence[str] = tuple(_OPTIONS)
) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a function of (desk, own parameters) as a command; errors become exit codes.

    `options` names the shared options it has.
    """

    def register(work: Callable[..., int | None]) -> Callable[..., None]:
        hints = get_type_hints(work, include_extras=True)
        own = list(inspect.signature(work).parameters.values())[1:]
        parameters = [
            p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own
        ]
        parameters += [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for key, (kind, default) in _OPTIONS.items()
            if key in options
        ]

        @wraps(work)
        def run(**given: Any) -> None:
            shared = {key: default for key, (_, default) in _OPTIONS.items()}
            shared |= {key: given.pop(key) for key in options}
            desk = Desk(**{**shared, "lang": language(shared["lang"])})
            raise typer.Exit(_guarded(work, desk, given))

        vars(run).update(__signature__=inspect.Signature(parameters))
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        del vars(run)["__wrapped__"]
        app.command(name or work.__name__.replace("_", "-"))(run)
        return run

    return register


def _guarded(work: Callable[..., int | None], desk: Desk, given: dict[str, Any]) -> int:
    try:
        return work(desk, **given) or Exit.OK
    except YunheError as error:
        return desk.fail(error)
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # the last door: no traceback at people
        if os.environ.get("YUNHE_DEBUG"):
            raise
        return desk.fail(CommandFailed(why=type(error).__name__))
