"""`yunhe init`: write the settings and the keys of a new node.

In: flags, or answers at a terminal, where a refused one is asked again and the others are kept.
Out: `node.toml`, the data directory with its keys (0600), and what to do next.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument, unusable
from yunhe.kernel import ids, settings
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import PURPOSES, KeyStore

app = typer.Typer()


# What is asked at a terminal, in order, in both languages; the rest of them may be skipped.
_ASKED: Final = {
    "name": ("Short name of the node", "节点简称"),
    "subject_code": ("Unified social credit code of the subject", "主体统一社会信用代码"),
    "subject_name": ("Chinese name of the subject", "主体中文名称"),
    "subject_name_en": ("English name of the subject", "主体英文名称"),
    "address": ("Public address of the node, https://…", "节点公开地址，https://…"),
}
_SKIPPABLE: Final = {
    "parent_address": ("Address of the functional node above", "上级功能节点地址"),
    "parent_did": ("Its DID", "上级功能节点 DID"),
    "trust_roots": ("DID of a registrar to trust", "信任的登记机构 DID"),
    "data_roots": ("Folder the node may read data from", "允许节点读取数据的目录"),
}
_PLAIN: Final = ("subject_code", "address", "parent_address", "parent_did")
_PORT: Final = 8100


@command(app, options=("json", "lang"))
def init(
    desk: Desk,
    folder: Annotated[Path, typer.Argument(help="Where the node lives.")] = Path(),
    name: Annotated[str, typer.Option(help="Short name of the node.")] = "",
    subject_code: Annotated[str, typer.Option(help="Unified social credit code.")] = "",
    subject_name: Annotated[str, typer.Option(help="Chinese name of the subject.")] = "",
    subject_name_en: Annotated[str, typer.Option(help="English name of the subject.")] = "",
    address: Annotated[str, typer.Option(help="Public base URL of the node.")] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="connector, functional-node; repeatable.")
    ] = None,
    region: Annotated[
        str, typer.Option(help="Four digits: region, or 00NN for an industry.")
    ] = "3301",
    listen_host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    listen_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port to listen on; default: that of an http address, else 8100."
        ),
    ] = None,
    database_url: Annotated[str, typer.Option(help="Default: SQLite in the folder.")] = "",
    parent_address: Annotated[str, typer.Option(help="Address of the functional node above.")] = "",
    parent_did: Annotated[str, typer.Option(help="DID of the functional node above.")] = "",
    trust_root: Annotated[
        list[str] | None, typer.Option(help="DID of a registrar to trust; repeatable.")
    ] = None,
    data_root: Annotated[
        list[str] | None, typer.Option(help="Folders the node may read data from.")
    ] = None,
    review: Annotated[str, typer.Option(help="manual or auto (functional node).")] = "manual",
    development: Annotated[bool, typer.Option("--development", help="Allow plain http.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing node.toml.")] = False,
) -> None:
    """Write node.toml and the keys of a new node; asks for what is missing at a terminal."""
    given = locals()
    path = folder / "node.toml"
    if path.exists() and not force:
        en = "it exists; --force replaces it and keeps the keys"
        zh = "文件已存在；--force 可替换它并保留密钥"
        raise BadArgument(what=str(path), why=en, why_zh=zh)
    values: dict[str, Any] = {key: _typed(key, given[key]) for key in _ASKED}
    values |= {
        "data_dir": "data",
        "roles": role or ["connector"],
        "region": region,
        "listen_host": listen_host,
        "listen_port": listen_port or 0,
        "database_url": database_url,
        "parent_address": _typed("parent_address", parent_address),
        "parent_did": _typed("parent_did", parent_did),
        "data_roots": data_root or [],
        "review": review,
        "development": development,
        "trust_roots": trust_root or [],
    }
    missing = [key for key in _ASKED if not values[key]]
    if missing:
        if desk.json or not _at_terminal():
            raise _required(missing)
        _ask_all(desk, values, folder)
    for key in (*_ASKED, *_SKIPPABLE):
        _check(key, values, folder)
    values["listen_port"] = values["listen_port"] or _port_of(values["address"])
    values["data_roots"] = [_data_root(folder, root) for root in values["data_roots"]]
    values["trust_roots"] = [{"did": did} for did in values["trust_roots"]]
    _write(desk, path, values)


def _typed(key: str, text: str) -> str:
    """What a Chinese keyboard typed full-width, as it is meant; names and folders stay."""
    return unicodedata.normalize("NFKC", text) if key in _PLAIN else text


def _port_of(address: str) -> int:
    """Where to listen: at an http address stands no proxy, so the node itself answers there."""
    parts = urlsplit(address)
    return (parts.port or _PORT) if parts.scheme == "http" else _PORT


def _required(missing: Sequence[str]) -> BadArgument:
    named = ", ".join(f"--{key.replace('_', '-')}" for key in missing)
    return BadArgument(what=named, why="required, and not given", why_zh="必须填写")


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _ask_all(desk: Desk, values: dict[str, Any], folder: Path) -> None:
    for key, words in _ASKED.items():
        _ask(desk, key, desk.say(*words), values, folder)
    skip = desk.say(" (Enter: none)", "（回车跳过）")
    for key, words in _SKIPPABLE.items():
        if key == "parent_did" and not values["parent_address"]:
            continue
        text = desk.say(*words) + ("" if _proposed(key, values) else skip)
        _ask(desk, key, text, values, folder, _proposed(key, values) or "")


def _proposed(key: str, values: Mapping[str, Any]) -> str:
    if key == "parent_did":
        return settings.did_of(values["parent_address"])
    return values["parent_did"] if key == "trust_roots" else ""


def _ask(
    desk: Desk,
    key: str,
    text: str,
    values: dict[str, Any],
    folder: Path,
    default: str | None = None,
) -> None:
    """Ask until the answer is fit; one given as a flag is asked for only if it is refused."""
    many = isinstance(values[key], list)
    asked = not values[key]
    while True:
        if asked:
            given = str(typer.prompt(text, default, err=True, show_default=bool(default)))
            answer = _typed(key, given.strip())
            values[key] = [answer] if many and answer else [] if many else answer
        try:
            _check(key, values, folder)
        except YunheError as error:
            if _only_http(key, values) and _develop(desk):
                values["development"], asked = True, False
                continue
            desk.err.print(error.sentence(desk.lang), markup=False)
            asked = True
        else:
            return


def _only_http(key: str, values: Mapping[str, Any]) -> bool:
    plain = key.endswith("address") and str(values[key]).startswith("http://")
    return plain and not values["development"]


def _develop(desk: Desk) -> bool:
    question = desk.say(
        "Plain http is for development only. Make this a development node (--development)?",
        "http 仅限开发使用。是否设为开发节点（--development）？",
    )
    return typer.confirm(question, err=True)


def _check(key: str, values: Mapping[str, Any], folder: Path) -> None:
    """Refuse an answer that the node would not start with, or that leads nowhere."""
    value = values[key]
    if key in _ASKED and not value:
        raise _required([key])
    if key == "subject_code":
        ids.check_uscc(value)
    elif key.endswith("address") and value:
        settings.check_address(key, value, values["development"])
    elif key == "parent_did" and value:
        settings.check_did(key, value)
    elif key == "trust_roots":
        for did in value:
            settings.check_did(key, did)
    elif key == "data_roots":
        for root in value:
            _data_root(folder, root)


def _data_root(folder: Path, root: str) -> str:
    """A data folder as node.toml has it: from its own folder, or absolute if meant from here."""
    if (folder / root).is_dir():
        return root
    here = Path(root).expanduser()
    if not here.is_dir():
        raise BadArgument(
            what=f"--data-root {root}", why="there is no such folder", why_zh="目录不存在"
        )
    return str(here.resolve())


def _write(desk: Desk, path: Path, values: dict[str, Any]) -> None:
    text = _toml({key: value for key, value in values.items() if value not in ("", [])})
    config = settings.build(tomllib.loads(text), {}, path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The database URL may hold a password.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        config.data_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(path, error) from error
    keys = KeyStore(config.data_dir / "keys")
    public = {purpose: keys.key(purpose).public_jwk() for purpose in PURPOSES}
    facts = {"file": str(path), "did": config.did, "keys": public}
    desk.show(facts, f"{path}\n{config.did}\n{_next(desk, path, config)}")


def _next(desk: Desk, path: Path, config: settings.NodeConfig) -> str:
    serve = f"yunhe serve {shlex.quote(str(path))}"
    steps = [
        desk.say("Next:", "下一步："),
        f"  1. {serve}",
        desk.say(
            "  2. in another terminal, paste the line with YUNHE_URL that serve shows",
            "  2. 在另一个终端中粘贴 serve 显示的 YUNHE_URL 一行",
        ),
    ]
    if config.parent_did:
        steps.append("  3. yunhe register --wait 600")
    elif "functional-node" in config.roles:
        steps.append(
            desk.say(
                "  3. yunhe review list, once others have sent something to register",
                "  3. 其他节点提交登记后：yunhe review list",
            )
        )
    else:
        steps.append(
            desk.say(
                "  3. to join a space, set parent_address, parent_did and trust_roots in node.toml",
                "  3. 如需加入空间，请在 node.toml 中填写 parent_address、parent_did、trust_roots",
            )
        )
    return "\n".join(steps)


def _toml(values: dict[str, Any]) -> str:
    tables = {key: value for key, value in values.items() if key == "trust_roots"}
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if key not in tables]
    for key, rows in tables.items():
        for row in rows:
            lines += [
                "",
                f"[[{key}]]",
                *(f"{name} = {_value(value)}" for name, value in row.items()),
            ]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    # A JSON text, number, boolean or list of texts is also one in TOML, but for one control.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
