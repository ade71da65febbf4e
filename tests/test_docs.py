"""Documentation that cannot rot: errors, settings, commands and links are checked against code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import re
import shlex
import tomllib
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from examples import PAGES as EXAMPLES
from examples import blocks
from yunhe import sdk
from yunhe.cli import app
from yunhe.cli.errors import Exit
from yunhe.kernel.settings import NodeConfig, build
from yunhe.sdk.apps import Apps as Applications
from yunhe.sources.connections import Connections

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def _errors_page() -> Any:
    spec = importlib.util.spec_from_file_location("errors_page", DOCS / "errors_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_errors_page_is_current() -> None:
    made = _errors_page()
    text = made.PAGE.read_text(encoding="utf-8")
    assert text == made.page(), "run: python docs/errors_page.py"


def test_every_error_has_its_own_code_in_both_languages() -> None:
    errors = _errors_page().house_errors()
    twice = [code for code, n in Counter(error.code for error in errors).items() if n > 1]
    assert not twice, f"codes used twice: {twice}"
    for error in errors:
        assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", error.code), error.code
        for text in (error.en, error.zh, error.mend_en, error.mend_zh):
            assert text.strip(), error.code
        assert re.search(r"[\u4e00-\u9fff]", error.zh), f"{error.code}: zh is not Chinese"


def _commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / "cli.md").read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("yunhe ")]


def _everywhere() -> list[str]:
    """The commands of every page but by-hand.md, which runs as it stands; none of the shell's."""
    every = [
        block for page in EXAMPLES if page.stem != "by-hand" for block in blocks(page, "console")
    ]
    lines = [line.partition(" > ")[0] for block in every for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("yunhe ")))


@pytest.mark.parametrize("line", _everywhere())
def test_every_command_of_the_docs_parses(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        assert words[0] in command.commands
        command = command.commands[words.pop(0)]
    command.make_context(line, words)  # parses and does not run; raises UsageError


def _leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [path]
    return [leaf for name, sub in children.items() for leaf in _leaves(sub, (*path, name))]


LEAVES = _leaves(typer.main.get_command(app))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_and_stands_in_the_docs(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert any(line.split()[1 : 1 + len(path)] == [*path] for line in _commands()), path


NODE = {
    "name": "a",
    "subject_code": "91330100MA00000665",
    "subject_name": "甲",
    "subject_name_en": "A",
    "address": "https://a.example",
    "data_dir": "var",
}
SETTINGS = [
    pytest.param(block, id=page.stem)
    for page in EXAMPLES
    for block in blocks(page, "toml")
    if re.match(r"\[(connections|flight|dataplane)\b", block)
]


@pytest.mark.parametrize("block", SETTINGS)
def test_every_settings_example_is_one_that_a_node_takes(block: str, tmp_path: Path) -> None:
    config = build({**NODE, **tomllib.loads(block)}, {}, tmp_path)
    assert Connections(config.connections) or config.flight_listen


PYTHON = [
    pytest.param(block, id=f"{page.stem}-{at}")
    for page in EXAMPLES
    for at, block in enumerate(blocks(page, "python"))
]


@pytest.mark.parametrize("block", PYTHON)
def test_every_python_example_calls_what_there_is(block: str) -> None:
    """Those that need nodes run beside them (`examples.example`); here names and arguments."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Call) and re.match(r"space\b", said := ast.unparse(node.func)):
            found: Any = sdk.Space
            for name in said.split(".")[1:]:
                found = Applications if name == "apps" else getattr(found, name)
            given = {each.arg: None for each in node.keywords if each.arg}
            takes = inspect.signature(found)
            takes.bind(*([None] if "self" in takes.parameters else []), *node.args, **given)


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for code in Exit:
        assert re.search(rf"^\| {int(code)} \| \S", text, re.MULTILINE), code


def test_the_form_of_the_docs_is_terms_of_the_sdk() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / "cli.md").read_text("utf-8"), re.DOTALL)
    terms = sdk.Terms.from_json(tomllib.loads(blocks[0])["product"]["terms"])
    assert terms.minimum_group == 10


def test_the_terms_of_the_api_page_round_trip() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL)
    stated = json.loads(blocks[0])
    assert sdk.Terms.from_json(stated).to_json() == stated


def test_every_setting_is_documented() -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    missing = [field.name for field in fields(NodeConfig) if f"`{field.name}`" not in text]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", link):
            assert (page.parent / link).exists(), link


def _named() -> list[Any]:
    """Files that the pages name by folder, with the function after the colon where one is."""
    found = {
        (path, name)
        for page in PAGES
        for path, name in re.findall(
            r"`((?:\w+/)+\w+\.py)(?::([\w.]+))?`", page.read_text(encoding="utf-8")
        )
    }
    return [pytest.param(*each, id=":".join(each).rstrip(":")) for each in sorted(found)]


@pytest.mark.parametrize(("path", "name"), _named())
def test_every_file_and_function_that_a_page_names_is_there(path: str, name: str) -> None:
    homes = [root for root in (ROOT, ROOT / "src" / "yunhe") if (root / path).is_file()]
    assert homes, f"there is no {path}"
    if name:
        found: Any = importlib.import_module("yunhe." + path[: -len(".py")].replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found)


def test_the_life_in_ten_lines_names_a_file_and_a_function_in_each() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    life = text.partition("## The life of a data product, in ten lines\n")[2].partition("\n## ")[0]
    lines = life.strip().splitlines()
    assert [line.partition(".")[0] for line in lines] == [str(n) for n in range(1, 11)]
    for line in lines:
        assert re.search(r"`(\w+/)+\w+\.py:[\w.]+`$", line), line


@pytest.mark.parametrize("record", sorted((DOCS / "decisions").glob("0*.md")), ids=lambda p: p.stem)
def test_every_decision_record_is_whole(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert re.match(r"# \d{4} · \S", text)
    assert re.search(r"^20\d\d-\d\d-\d\d · ", text, re.MULTILINE)
    for heading in ("Context", "Decision", "Consequences", "Alternatives", "Check"):
        assert f"## {heading}\n" in text, heading
    assert len(text.splitlines()) <= 45, "half a page"
