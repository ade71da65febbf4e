"""Connections the operator allows (`[connections.NAME]` of node.toml), credentials by reference.

In: the tables of node.toml. Out: `Connection`s that hold references, never a credential: a secret
is read at the moment of use and shown nowhere (`repr`, logs, errors, API).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from yunhe.kernel import limits
from yunhe.kernel.settings import BadSetting
from yunhe.sources.errors import ConnectionUnknown, CredentialNotRead

Plain = str | int | bool | tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """What a connection of one kind may say; `secret` names take references only."""

    required: frozenset[str]
    plain: frozenset[str]
    secret: frozenset[str]


def _shape(required: str, plain: str, secret: str) -> Shape:
    return Shape(*(frozenset(names.split()) for names in (required, plain, secret)))


_DATABASE: Final = _shape(
    "host database user", "host port database user sslmode sslrootcert statement_s", "password"
)
SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "s3": _shape(
            "bucket",
            "bucket endpoint region allow_http anonymous",
            "access_key secret_key session_token",
        ),
        "http-json": _shape(
            "address",
            "address items page page_param size_param page_size next rate_per_s max_age_s "
            "header allow_private pages_max",
            "token",
        ),
        "postgresql": _DATABASE,
        "mysql": _DATABASE,
        "sqlite": _shape("file", "file statement_s", ""),
        "spark": _shape("url", "url schemas files otherwise statement_s", "token"),
    }
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_REFERENCE: Final = re.compile(
    r"env:[A-Za-z_]\w{0,127}|file:.{1,1000}|keyring:[^/]{1,200}/.{1,200}"
)
_IN_CLEAR: Final = re.compile(r"://[^/@\s]*@")  # an address that brings user or password


@dataclass(frozen=True)
class Connection:
    """One place outside this machine that the operator allows, and how to be let in there."""

    name: str
    kind: str
    values: Mapping[str, Plain]
    references: Mapping[str, str] = field(default_factory=dict, repr=False)

    def text(self, name: str, default: str = "") -> str:
        """A plain value as text."""
        return str(self.values.get(name, default))

    def number(self, name: str, default: int) -> int:
        """A plain value as a whole number."""
        return int(str(self.values.get(name, default)))

    def flag(self, name: str) -> bool:
        """A plain value as yes or no; absent is no."""
        return self.values.get(name) is True

    def secret(self, name: str) -> str | None:
        """What a reference leads to, read now; None if there is none.

        Raises CredentialNotRead, which names the reference only.
        """
        reference = self.references.get(name)
        if reference is None:
            return None
        way, _, rest = reference.partition(":")
        if way == "env":
            value = os.environ.get(rest, "")
            if not value:
                raise self._unread(reference, "the variable is not set", "环境变量未设置")
            return value
        return self._from_file(reference, rest) if way == "file" else self._kept(reference, rest)

    def _from_file(self, reference: str, rest: str) -> str:
        try:
            handle = os.open(rest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise self._unread(reference, "it cannot be opened", "无法打开") from error
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size > limits.CREDENTIAL_FILE_BYTES_MAX:
                raise self._unread(reference, "it is no small file", "不是小型普通文件")
            if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (0, os.geteuid()):
                why = "others may read or write it; its mode must be 0600, its owner this node's"
                raise self._unread(reference, why, "他人可访问；权限须为 0600 且属主为本节点用户")
            value = os.read(handle, limits.CREDENTIAL_FILE_BYTES_MAX).decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise self._unread(reference, "it is not UTF-8", "不是 UTF-8") from error
        finally:
            os.close(handle)
        if not value:
            raise self._unread(reference, "it is empty", "为空")
        return value

    def _kept(self, reference: str, rest: str) -> str:
        try:
            import keyring
        except ImportError as error:
            why = "the extra is not installed: pip install 'yunhe[keyring]'"
            raise self._unread(
                reference, why, "未安装扩展：pip install 'yunhe[keyring]'"
            ) from error
        service, _, user = rest.partition("/")
        try:
            value = keyring.get_password(service, user)
        except keyring.errors.KeyringError as error:
            raise self._unread(reference, "the keyring refuses", "密钥环拒绝访问") from error
        if not value:
            raise self._unread(reference, "the keyring has no such entry", "密钥环中无此条目")
        return str(value)

    def _unread(self, reference: str, en: str, zh: str) -> CredentialNotRead:
        return CredentialNotRead(
            connection=self.name, reference=reference, why=en, why_zh=zh, what=self.name
        )


class Connections:
    """The connections of one node, by name; immutable."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises BadSetting for a wrong name, an unknown word or a credential in clear."""
        if len(tables) > limits.CONNECTIONS_MAX:
            raise _bad("", f"at most {limits.CONNECTIONS_MAX}", f"最多 {limits.CONNECTIONS_MAX} 个")
        self._all = {name: _connection(name, table) for name, table in tables.items()}

    def get(self, name: str, kind: str) -> Connection:
        """The connection of that name and kind; raises ConnectionUnknown."""
        found = self._all.get(name)
        if found is None or found.kind != kind:
            raise ConnectionUnknown(connection=name[:64], kind=kind)
        return found


def _connection(name: str, table: Mapping[str, Any]) -> Connection:
    if not _NAME.fullmatch(name) or not isinstance(table, Mapping):
        raise _bad(name[:64], "a table named in lower case", "应为小写名称的表")
    kind = table.get("kind")
    shape = SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None or not isinstance(kind, str):
        known = ", ".join(SHAPES)
        raise _bad(f"{name}.kind", f"choose from {known}", f"可选 {known}")
    values: dict[str, Plain] = {}
    references: dict[str, str] = {}
    for key, value in table.items():
        where = f"{name}.{key[:64]}"
        if key == "kind":
            continue
        if key in shape.secret:
            references[key] = _reference(where, value)
        elif key in shape.plain:
            values[key] = _plain(where, value)
        else:
            known = ", ".join(sorted(shape.plain | shape.secret))
            raise _bad(where, f"{kind} has {known}", f"{kind} 可用 {known}")
    for key in sorted(shape.required - set(values)):
        raise _bad(f"{name}.{key}", "it is required", "必须填写")
    return Connection(name, kind, MappingProxyType(values), MappingProxyType(references))


def _reference(where: str, value: object) -> str:
    # The value itself is never told: it may be the credential, written where it must not stand.
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        why = "a credential is given by reference: env:NAME, file:PATH or keyring:SERVICE/NAME"
        raise _bad(where, why, "凭据须以引用方式给出：env:NAME、file:PATH 或 keyring:SERVICE/NAME")
    return value


def _plain(where: str, value: object) -> Plain:
    if isinstance(value, str) and _IN_CLEAR.search(value):
        raise _bad(where, "an address brings no user or password", "地址中不得含用户名或口令")
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise _bad(where, "a text, a whole number, true or false", "须为文本、整数、true 或 false")


def _bad(name: str, en: str, zh: str) -> BadSetting:
    return BadSetting(name="connections" + (f".{name}" if name else ""), why=en, why_zh=zh)
