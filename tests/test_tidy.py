"""Style as a test: lengths, dead files, leftovers, and what every slice must say about itself."""

from __future__ import annotations

import ast
import builtins
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
HOUSE = SRC / "yunhe"

LINE_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500

MODULES = sorted(HOUSE.rglob("*.py"))
FILES = [
    *MODULES,
    *(
        path
        for folder in ("tests", "benchmarks", "docs", "interop", "tck")
        for path in (ROOT / folder).rglob("*.py")
    ),
]
FOLDERS = sorted(path.name for path in HOUSE.iterdir() if path.is_dir() and any(path.rglob("*.py")))
# Started by name, not imported: the command, the worker process, Alembic's own files.
ENTRIES = ("yunhe", "yunhe.__main__", "yunhe.dataplane.worker", "yunhe.fabric.local")
ENTRY_FOLDERS = ("migrations",)
PRAGMA = re.compile(r"  # (noqa|type: ignore).*$")
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
_MODULE_NAME = re.compile(r"[a-z_][a-z0-9_.]*")
MAY_PRINT = ("cli", "demo")


def _name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=_label)
def test_lines_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    # A pragma for a tool is no prose: the line ends where it begins (as in ruff's E501).
    long = [i for i, line in enumerate(lines, 1) if len(PRAGMA.sub("", line)) > LINE_MAX]
    assert not long, f"lines over {LINE_MAX}: {long}"
    assert len(lines) <= FILE_LINES_MAX, f"{len(lines)} lines; split it by verb"
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=_label)
def test_there_are_no_leftovers(path: Path) -> None:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                assert not LEFTOVERS.search(token.string), f"line {token.start[0]}"
    if path.relative_to(HOUSE).parts[0] in MAY_PRINT:
        return
    calls = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
    prints = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not prints, f"print on lines {prints}"


@pytest.mark.parametrize("path", MODULES, ids=_label)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(_tree(path)), "no docstring"


def _imported() -> set[str]:
    found: set[str] = set()
    for path in MODULES:
        here = _name(path) if path.name == "__init__.py" else _name(path).rpartition(".")[0]
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Constant) and _MODULE_NAME.fullmatch(str(node.value)):
                # Modules that are loaded by name: `yunhe.x.y`, or a sibling's bare name.
                found |= {str(node.value), f"{here}.{node.value}"}
    return found


def test_no_file_is_dead() -> None:
    alive = _imported()
    dead = [
        _label(path)
        for path in MODULES
        if _name(path) not in ENTRIES
        and path.relative_to(HOUSE).parts[0] not in ENTRY_FOLDERS
        and _name(path) not in alive
        and not (path.name == "__init__.py" and any(a.startswith(f"{_name(path)}.") for a in alive))
    ]
    assert not dead, f"nothing imports {dead}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_a_documented_package(folder: str) -> None:
    assert (HOUSE / folder / "__init__.py").is_file()


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_architecture_names_every_folder_in_one_line(folder: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert re.search(rf"^.*`(src/yunhe/)?{folder}/`.*\S", text, re.MULTILINE), (
        f"ARCHITECTURE.md has no line that names `{folder}/`"
    )


def test_the_architecture_names_every_folder_beside_the_source() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    beside = {path.relative_to(ROOT).parts[0] for path in FILES} - {"src"}
    assert {"tests", "benchmarks", "docs", "interop", "tck"} <= beside
    assert not [folder for folder in beside if f"`{folder}/` (" not in text]


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f not in ("kernel", "migrations")])
def test_the_inner_modules_of_every_folder_are_protected(folder: str) -> None:
    text = (ROOT / ".importlinter").read_text(encoding="utf-8")
    inner = [p.name for p in (HOUSE / folder).iterdir() if (p / "__init__.py").is_file()]
    names = [f"{folder}.{name}" for name in inner] if folder == "protocols" else [folder]
    for name in names:
        assert f"    yunhe.{name}.*\n" in text, f".importlinter does not protect {name}"


def test_constraints_pin_exactly_and_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    loose = [
        line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line)
    ]
    assert not loose
    assert len({line.partition("==")[0].lower() for line in lines}) == len(lines)


def test_private_names_stay_in_their_module() -> None:
    taken = [
        f"{_label(path)}:{node.lineno} {alias.name}"
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not taken, f"private, and imported elsewhere: {taken}"


def _docstrings(path: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(_tree(path)) if isinstance(node, kinds)]
    return [each for each in found if each]


def test_every_error_that_a_docstring_promises_exists() -> None:
    known = set(dir(builtins))
    for path in MODULES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                known |= {alias.asname or alias.name for alias in node.names}
    promised = {
        f"{_label(path)}: {name}"
        for path in MODULES
        for text in _docstrings(path)
        for said in re.findall(r"\braises?\b([^.;:]*)", text, re.IGNORECASE)
        for name in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b(?!\*)", said)  # Token*: several
        if name not in known
    }
    assert not promised, f"no such errors: {sorted(promised)}"
