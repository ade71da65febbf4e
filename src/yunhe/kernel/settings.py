"""Settings of a node: `node.toml`, overridden by `YUNHE_*` environment variables.

Unknown names are refused, so that a typing error is not a silent default.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from yunhe.kernel import limits
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import Invalid

ROLES = ("connector", "functional-node")

_DID_WEB: Final = re.compile(r"did:web:[A-Za-z0-9.-]+(?:%3A[0-9]{1,5})?(?::[A-Za-z0-9._~-]+)*")

_PRIVATE: Final = tuple(
    ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_FILES: Final = ("flight_tls_cert", "flight_tls_key", "flight_client_ca")
# Settings with tables of their own.
_FILE_ONLY: Final = frozenset({"trust_roots", "connections"})

# Names of the environment that are no settings: of the command line, of tests and the Makefile.
NOT_SETTINGS: Final = frozenset(
    f"YUNHE_{name}"
    for name in (
        *("URL", "TOKEN", "APPLICATION_TOKEN", "LANG", "DEBUG"),
        *("INTEROP", "INTEROP_PEERS"),
        *("CRASH_RUNS", "CRASH_SEED", "CRASH_NEGOTIATIONS"),
    )
)


class BadSetting(Invalid):
    code = "BAD_SETTING"
    en = "The setting {name} is not valid: {why}."
    zh = "配置项 {name} 无效：{why_zh}。"
    mend_en = "See docs/settings.md, correct node.toml or the environment, start again."
    mend_zh = "请参阅 docs/settings.md，更正 node.toml 或环境变量后重新启动。"

    def __init__(self, detail: str = "", *, name: str, why: str, why_zh: str) -> None:
        super().__init__(detail, name=name, why=why, why_zh=why_zh)


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
    # Tables as written; `sources` knows their shapes. They hold references, never a credential.
    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    eddsa_peers: tuple[str, ...] = ()
    peer_networks: tuple[str, ...] = ()
    negotiations_open_max: int = limits.PEER_NEGOTIATIONS_MAX
    transfers_open_max: int = limits.PEER_TRANSFERS_MAX
    workers: int = 2
    worker_memory_mb: int = 2048
    worker_sandbox: str = ""
    query_seconds_max: int = 60
    dataplane_processes: int = 0
    dataplane_listen: str = ""
    dataplane_address: str = ""
    flight_listen: str = ""
    flight_tls_cert: str = ""
    flight_tls_key: str = ""
    flight_client_ca: str = ""
    flight_clients: tuple[str, ...] = ()
    crash: str = ""

    @property
    def did(self) -> str:
        """The node's did:web, made from its public address."""
        return did_of(self.address)

    @cached_property
    def egress(self) -> Egress:
        """Where its peers may lie."""
        return Egress(self.development, tuple(ip_network(each) for each in self.peer_networks))

    @property
    def data_address(self) -> str:
        """The base URL under which its data is had."""
        return self.dataplane_address if self.dataplane_processes else self.address

    @property
    def sandbox(self) -> str:
        """`require` or `best`: as set, else strict outside development."""
        return self.worker_sandbox or ("best" if self.development else "require")

    @property
    def database(self) -> str:
        """The database URL, with the SQLite default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'node.db'}"


def load(path: Path, environ: Mapping[str, str] | None = None) -> NodeConfig:
    """Read `node.toml` and the environment; raises BadSetting naming the setting."""
    base = path.parent
    return build(_read(path), os.environ if environ is None else environ, base)


def _read(path: Path) -> dict[str, Any]:
    en, zh = "it cannot be read", "无法读取"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        en, zh = "there is no such file; `yunhe init` writes one", "文件不存在；请先运行 yunhe init"
        cause: Exception = error
    except IsADirectoryError as error:
        en, zh = "it is a folder; give the node.toml in it", "它是目录；请指定其中的 node.toml"
        cause = error
    except OSError as error:
        en, zh, cause = f"{en}: {error.strerror}", f"{zh}：{error.strerror}", error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        en, zh, cause = f"line {line} is not UTF-8", f"第 {line} 行不是 UTF-8 编码", error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+), column (\d+)", str(error))
        where = "第 {} 行第 {} 列".format(*place.groups()) if place else "文件末尾"
        en, zh, cause = f"it is not TOML: {error}", f"{where}不符合 TOML 语法", error
    raise BadSetting(str(cause), name=str(path), why=en, why_zh=zh) from cause


def build(data: Mapping[str, Any], environ: Mapping[str, str], base: Path = Path()) -> NodeConfig:
    """Make a NodeConfig from plain values; paths are taken relative to `base`."""
    kinds = {each.name: str(each.type) for each in fields(NodeConfig)}
    values = _flattened(data, kinds)
    for variable in sorted(environ):
        name = variable.removeprefix("YUNHE_").lower()
        if name == variable.lower() or variable in NOT_SETTINGS:
            continue
        if name not in kinds or name in _FILE_ONLY or not variable.isupper():
            raise _unknown(variable, [f"YUNHE_{each.upper()}" for each in kinds])
        values[name] = _from_text(name, kinds[name], environ[variable])
    for name in values:
        if name not in kinds:
            raise _unknown(name, [*kinds])
    for name in ("name", "subject_code", "subject_name", "subject_name_en", "address", "data_dir"):
        if not values.get(name):
            raise BadSetting(name=name, why="it is required", why_zh="必须填写")
    try:
        config = NodeConfig(**{**values, **_shaped(values, base)})
    except (TypeError, ValueError, KeyError) as error:
        why = str(error)
        raise BadSetting(why, name="node.toml", why=why, why_zh=why) from error
    _check(config, kinds)
    return config


def _flattened(data: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """`[flight] listen` is `flight_listen`: a table that is no setting groups some that are."""
    values: dict[str, Any] = {}
    for name, value in data.items():
        found: dict[str, Any] = {name: value}
        if name not in kinds and isinstance(value, Mapping):
            found = {f"{name}_{key}": each for key, each in value.items()}
        for key, each in found.items():
            if key in values:
                raise BadSetting(name=key, why="it stands twice", why_zh="重复出现")
            values[key] = each
    return values


def _unknown(name: str, known: list[str]) -> BadSetting:
    known = [each for each in known if each not in {f"YUNHE_{n.upper()}" for n in _FILE_ONLY}]
    near = get_close_matches(name, known, 1, 0)[0]
    why = f"there is no such setting; the nearest is {near}"
    return BadSetting(name=name, why=why, why_zh=f"没有此配置项，最接近的是 {near}")


def _from_text(name: str, kind: str, text: str) -> Any:
    if kind == "int":
        if not (text.isascii() and text.isdigit()):
            raise _not_int(name)
        return int(text)
    if kind == "bool":
        if text.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off", ""):
            raise _not_bool(name)
        return text.lower() in ("1", "true", "yes", "on")
    return [part for part in text.split(",") if part] if kind.startswith("tuple") else text


def _shaped(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    return {
        "data_dir": base / str(values["data_dir"]),
        "roles": tuple(values.get("roles", ("connector",))),
        "trust_roots": _roots(values.get("trust_roots", ())),
        "data_roots": tuple(base / str(root) for root in values.get("data_roots", ())),
        "eddsa_peers": tuple(values.get("eddsa_peers", ())),
        "peer_networks": tuple(values.get("peer_networks", ())),
        "flight_clients": tuple(values.get("flight_clients", ())),
        **{name: str(base / values[name]) for name in _FILES if values.get(name)},
        "address": str(values["address"]).rstrip("/"),
        "dataplane_address": str(values.get("dataplane_address", "")).rstrip("/"),
        "connections": _tables(values.get("connections", {}), base),
    }


def _roots(value: Any) -> tuple[TrustRoot, ...]:
    """The trust roots as written; a member misspelt must not leave a key unpinned."""
    listed = isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value)
    if not listed:
        why, zh = "tables [[trust_roots]] of did and jwk", "应为含 did 与 jwk 的 [[trust_roots]] 表"
        raise BadSetting(name="trust_roots", why=why, why_zh=zh)
    for name in (name for each in value for name in each):
        if name not in ("did", "jwk"):
            why = f"it has no {name}; settings of the node stand above the first table"
            zh = f"不含 {name}；节点自身的配置项须写在第一个表之前"
            raise BadSetting(name="trust_roots", why=why, why_zh=zh)
    return tuple(TrustRoot(each.get("did", ""), each.get("jwk")) for each in value)


def _tables(value: object, base: Path) -> dict[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        why, zh = "tables [connections.NAME]", "应为 [connections.NAME] 形式的表"
        raise BadSetting(name="connections", why=why, why_zh=zh)
    return {name: {k: _placed(v, base) for k, v in table.items()} for name, table in value.items()}


def _placed(value: object, base: Path) -> object:
    # A credential's file, like every path of node.toml, is found from the folder it stands in.
    if isinstance(value, str) and value.startswith("file:"):
        return f"file:{base / value.removeprefix('file:')}"
    return value


def _not_int(name: str) -> BadSetting:
    return BadSetting(name=name, why="it is not a whole number", why_zh="不是整数")


def _not_bool(name: str) -> BadSetting:
    return BadSetting(name=name, why="true or false", why_zh="须为 true 或 false")


def _check(config: NodeConfig, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        value = getattr(config, name)
        if kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
            raise _not_int(name)
        if kind == "bool" and not isinstance(value, bool):
            raise _not_bool(name)
        if kind == "str" and not isinstance(value, str):
            raise BadSetting(name=name, why="it is not a text", why_zh="不是文本")
    if not 1 <= config.listen_port <= 65535:
        raise BadSetting(name="listen_port", why="from 1 to 65535", why_zh="须在 1 至 65535 之间")
    if not config.roles or set(config.roles) - set(ROLES):
        known = ", ".join(ROLES)
        raise BadSetting(name="roles", why=f"choose from {known}", why_zh=f"可选 {known}")
    for name in ("negotiations_open_max", "transfers_open_max"):
        if not 1 <= getattr(config, name) <= limits.OPEN_MAX:
            why, zh = f"from 1 to {limits.OPEN_MAX}", f"须在 1 至 {limits.OPEN_MAX} 之间"
            raise BadSetting(name=name, why=why, why_zh=zh)
    if config.review not in ("manual", "auto"):
        raise BadSetting(name="review", why="manual or auto", why_zh="须为 manual 或 auto")
    if config.worker_sandbox not in ("", "require", "best"):
        why, zh = "require or best", "须为 require 或 best"
        raise BadSetting(name="worker_sandbox", why=why, why_zh=zh)
    check_address("address", config.address, config.development)
    if bool(config.parent_address) != bool(config.parent_did):
        lacking = "parent_did" if config.parent_address else "parent_address"
        why = "parent_address and parent_did go together"
        raise BadSetting(name=lacking, why=why, why_zh="parent_address 与 parent_did 须同时填写")
    if config.parent_did:
        check_address("parent_address", config.parent_address, config.development)
        check_did("parent_did", config.parent_did)
    for root in config.trust_roots:
        check_did("trust_roots", root.did)
    for did in config.eddsa_peers:
        check_did("eddsa_peers", did)
    for network in config.peer_networks:
        _check_network(network)
    _check_flight(config)
    _check_dataplane(config)


def _check_dataplane(config: NodeConfig) -> None:
    if not config.dataplane_processes:
        return
    if not 1 <= config.dataplane_processes <= 64:
        zh = "须在 1 至 64 之间"
        raise BadSetting(name="dataplane_processes", why="from 1 to 64", why_zh=zh)
    if not config.database_url.startswith("postgresql"):
        why, zh = "several processes need PostgreSQL", "多进程需要 PostgreSQL"
        raise BadSetting(name="database_url", why=why, why_zh=zh)
    if not _is_listen(config.dataplane_listen):
        why, zh = "an address such as 127.0.0.1:8116", "形如 127.0.0.1:8116 的地址"
        raise BadSetting(name="dataplane_listen", why=why, why_zh=zh)
    check_address("dataplane_address", config.dataplane_address, config.development)


def _is_listen(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) <= 65535


def _check_network(text: str) -> None:
    """A private network is named by itself; loopback and link-local ones are nobody's peers."""
    try:
        found = ip_network(text)
    except ValueError as error:
        why = f"{text} is not a network such as 10.20.0.0/16"
        zh = f"{text} 不是网段，写法如 10.20.0.0/16"
        raise BadSetting(str(error), name="peer_networks", why=why, why_zh=zh) from error
    if not any(found.version == each.version and found.subnet_of(each) for each in _PRIVATE):  # type: ignore[arg-type]
        known = ", ".join(str(each) for each in _PRIVATE)
        why, zh = (
            f"{text} lies in no private network ({known})",
            f"{text} 不在私有网段内（{known}）",
        )
        raise BadSetting(name="peer_networks", why=why, why_zh=zh)


def _check_flight(config: NodeConfig) -> None:
    host, _, port = config.flight_listen.rpartition(":")
    whole = bool(host) and port.isascii() and port.isdigit() and int(port) <= 65535
    if config.flight_listen and not whole:
        why, zh = "an address such as 127.0.0.1:8115", "形如 127.0.0.1:8115 的地址"
        raise BadSetting(name="flight_listen", why=why, why_zh=zh)
    if bool(config.flight_tls_cert) != bool(config.flight_tls_key):
        lacking = "flight_tls_key" if config.flight_tls_cert else "flight_tls_cert"
        zh = "flight_tls_cert 与 flight_tls_key 须同时填写"
        why = "flight_tls_cert and flight_tls_key go together"
        raise BadSetting(name=lacking, why=why, why_zh=zh)
    if config.flight_client_ca and not config.flight_tls_cert:
        why, zh = "client certificates need TLS", "客户端证书需要启用 TLS"
        raise BadSetting(name="flight_client_ca", why=why, why_zh=zh)
    if config.flight_clients and not config.flight_client_ca:
        why, zh = "it needs flight_client_ca, which vouches", "需要 flight_client_ca 为其担保"
        raise BadSetting(name="flight_clients", why=why, why_zh=zh)
    for each in config.flight_clients:
        name, equals, user = str(each).partition("=")
        if not (name and equals and user):
            why, zh = "entries such as ana.example.org=ana", "形如 ana.example.org=ana 的条目"
            raise BadSetting(name="flight_clients", why=why, why_zh=zh)


def check_address(name: str, address: str, development: bool) -> None:
    """Refuse what is no base URL of a node; plain http is for development."""
    try:
        parts = urlsplit(address)
        whole = bool(parts.hostname) and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        whole = False
    if not whole:
        why = "it is not an address such as https://node.example"
        raise BadSetting(name=name, why=why, why_zh="不是形如 https://node.example 的地址")
    if parts.scheme != "https" and not (parts.scheme == "http" and development):
        why = "https, or http with development = true (`yunhe init --development`)"
        zh = "须为 https；设 development = true（yunhe init --development）时可为 http"
        raise BadSetting(name=name, why=why, why_zh=zh)


def check_did(name: str, did: object) -> None:
    """Refuse what is not a did:web."""
    if not isinstance(did, str) or not _DID_WEB.fullmatch(did):
        why = "it is not a did:web such as did:web:node.example"
        raise BadSetting(name=name, why=why, why_zh="不是形如 did:web:node.example 的标识")


def did_of(address: str) -> str:
    """The did:web of the node at a base URL."""
    parts = urlsplit(address)
    path = parts.path.strip("/").replace("/", ":")
    return "did:web:" + quote(parts.netloc, safe="") + (f":{path}" if path else "")
