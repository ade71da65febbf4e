"""Settings of a node: `node.toml`, overridden by `YUNHE_*` environment variables.

Unknown names are refused, so that a typing error is not a silent default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from yunhe.kernel.errors import Invalid

ROLES = ("connector", "functional-node")


class BadSetting(Invalid):
    code = "BAD_SETTING"
    en = "The setting {name} is not valid: {why}."
    zh = "配置项 {name} 无效：{why}。"
    mend_en = "See docs/settings.md, correct node.toml or the environment, start again."
    mend_zh = "请参阅 docs/settings.md，更正 node.toml 或环境变量后重新启动。"


@dataclass(frozen=True)
class TrustRoot:
    """A registrar whose credentials count here; `jwk` pins its key."""

    did: str
    jwk: dict[str, Any] | None = None


@dataclass(frozen=True)
class NodeConfig:
    """All settings of one node; docs/settings.md explains each."""

    name: str
    subject_code: str
    subject_name: str
    subject_name_en: str
    address: str
    data_dir: Path
    roles: tuple[str, ...] = ("connector",)
    region: str = "3301"
    listen_host: str = "127.0.0.1"
    listen_port: int = 8100
    database_url: str = ""
    development: bool = False
    review: str = "manual"
    parent_address: str = ""
    parent_did: str = ""
    trust_roots: tuple[TrustRoot, ...] = ()
    data_roots: tuple[Path, ...] = ()
    workers: int = 2
    worker_memory_mb: int = 2048
    query_seconds_max: int = 60
    crash: str = ""

    @property
    def did(self) -> str:
        """The node's did:web, made from its public address."""
        parts = urlsplit(self.address)
        path = parts.path.strip("/").replace("/", ":")
        return "did:web:" + quote(parts.netloc, safe="") + (f":{path}" if path else "")

    @property
    def database(self) -> str:
        """The database URL, with the SQLite default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'node.db'}"


def load(path: Path, environ: Mapping[str, str] | None = None) -> NodeConfig:
    """Read `node.toml` and the environment; raises BadSetting naming the setting."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(detail=str(error), name=path.name, why="it cannot be read") from error
    return build(data, os.environ if environ is None else environ, path.parent)


def build(data: Mapping[str, Any], environ: Mapping[str, str], base: Path = Path()) -> NodeConfig:
    """Make a NodeConfig from plain values; paths are taken relative to `base`."""
    values = dict(data)
    kinds = {field.name: str(field.type) for field in fields(NodeConfig)}
    for name, kind in kinds.items():
        text = environ.get(f"YUNHE_{name.upper()}")
        if text is not None and name != "trust_roots":
            values[name] = _from_text(name, kind, text)
    for name in values:
        if name not in kinds:
            raise BadSetting(name=name, why="there is no such setting")
    for name in ("name", "subject_code", "subject_name", "subject_name_en", "address", "data_dir"):
        if not values.get(name):
            raise BadSetting(name=name, why="it is required")
    try:
        config = NodeConfig(**{**values, **_shaped(values, base)})
    except (TypeError, ValueError, KeyError) as error:
        raise BadSetting(detail=str(error), name="node.toml", why=str(error)) from error
    _check(config, kinds)
    return config


def _from_text(name: str, kind: str, text: str) -> Any:
    if kind == "int":
        if not text.isdigit():
            raise BadSetting(name=name, why="it is not a whole number")
        return int(text)
    if kind == "bool":
        return text.lower() in ("1", "true", "yes", "on")
    return [part for part in text.split(",") if part] if kind.startswith("tuple") else text


def _shaped(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    roots = tuple(TrustRoot(r["did"], r.get("jwk")) for r in values.get("trust_roots", ()))
    return {
        "data_dir": base / str(values["data_dir"]),
        "roles": tuple(values.get("roles", ("connector",))),
        "trust_roots": roots,
        "data_roots": tuple(base / str(root) for root in values.get("data_roots", ())),
        "address": str(values["address"]).rstrip("/"),
    }


def _check(config: NodeConfig, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        value = getattr(config, name)
        if kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadSetting(name=name, why="it is not a whole number")
        if kind == "str" and not isinstance(value, str):
            raise BadSetting(name=name, why="it is not a text")
    if not config.roles or set(config.roles) - set(ROLES):
        raise BadSetting(name="roles", why=f"choose from {', '.join(ROLES)}")
    if config.review not in ("manual", "auto"):
        raise BadSetting(name="review", why="manual or auto")
    scheme = urlsplit(config.address).scheme
    if scheme not in ("http", "https") or (scheme == "http" and not config.development):
        raise BadSetting(name="address", why="https, or http with development = true")
