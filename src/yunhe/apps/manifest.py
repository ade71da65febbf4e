"""The manifest of an application: what it is, reads, takes and gives; read strictly.

In: a JSON object that an author wrote, or that a peer sent. Out: `Manifest`. Its digest, over
RFC 8785 bytes and with the program's own digest inside, is what contracts name and what is run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from yunhe.apps.errors import AppManifestInvalid, AppParameterInvalid
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps

FORMAT: Final = "yunhe-app/1"
LIBRARIES: Final = ("numpy", "pyarrow", "scipy", "sklearn", "onnxruntime")

Parameter = str | int | float | bool


class Kind(StrEnum):
    """What the program is written in."""

    SQL = "sql"
    PYTHON = "python"
    ONNX = "onnx"


_NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,31}")
_WORD: Final = re.compile(r"[A-Za-z_]\w{0,62}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MEMBERS: Final = frozenset(
    {
        *("format", "name", "version", "kind", "author", "title_zh", "title_en"),
        *("code", "inputs", "parameters", "output", "libraries", "needs"),
    }
)
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}
_SCHEMA: Final = frozenset(("type", "minimum", "maximum", "enum", "maxLength", "default"))


@dataclass(frozen=True)
class Output:
    """What comes out: `numbers` by name; of a table of groups, also the column of each key.

    `groups`: output column -> "table.column". `columns`: of a table of rows, for `review` and
    predictions.
    """

    numbers: tuple[str, ...] = ()
    groups: Mapping[str, str] | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """One version of an application. `inputs`: table -> column -> type."""

    name: str
    version: str
    kind: Kind
    author: str
    title_zh: str
    title_en: str
    code_sha256: str
    code_bytes: int
    inputs: Mapping[str, Mapping[str, str]]
    parameters: Mapping[str, Mapping[str, Any]]
    output: Output
    libraries: tuple[str, ...]
    memory_mb: int
    seconds: int
    body: Mapping[str, Any]

    @property
    def signed(self) -> bytes:
        """What is signed."""
        return dumps(dict(self.body))

    @property
    def digest(self) -> str:
        """SHA-256 of what is signed, hex."""
        return hashlib.sha256(self.signed).hexdigest()

    @property
    def reference(self) -> str:
        """What a contract names (T14 4.3)."""
        return f"{self.name}@{self.version}#sha256:{self.digest}"

    def check_code(self, code: bytes) -> bool:
        """Whether these are the program's bytes."""
        same = hashlib.sha256(code).hexdigest() == self.code_sha256
        return same and len(code) == self.code_bytes


def compose(form: Mapping[str, Any], author: str, code: bytes) -> Manifest:
    """A manifest from what an author writes: without format, author and code digest."""
    for name in ("format", "author", "code"):
        if name in form:
            raise _bad(name, "is written by the node", "由节点填写")
    whole = {
        "format": FORMAT,
        "author": author,
        "code": {"sha256": hashlib.sha256(code).hexdigest(), "bytes": len(code)},
        "inputs": {},
        "parameters": {},
        "libraries": [],
        "title_zh": form.get("name", ""),
        "title_en": form.get("name", ""),
        "needs": {},
        **form,
    }
    needs = whole["needs"]
    if isinstance(needs, Mapping):
        whole["needs"] = {"memory_mb": 1024, "seconds": 60, **needs}
    return read(whole)


def read(body: Any) -> Manifest:
    """A manifest out of its JSON form; raises AppManifestInvalid naming the member."""
    if not isinstance(body, dict) or set(body) != _MEMBERS:
        odd = sorted(_MEMBERS ^ set(body), key=str) if isinstance(body, dict) else ["manifest"]
        raise _bad(str(odd[0])[:64], "is missing or not known", "缺失或未知")
    if len(dumps(body)) > limits.APP_MANIFEST_BYTES_MAX:
        raise _bad("manifest", "is too large", "过大")
    if body["format"] != FORMAT:
        raise _bad("format", f"is not {FORMAT}", f"不是 {FORMAT}")
    for name, pattern in (("name", _NAME), ("version", _VERSION)):
        if not isinstance(body[name], str) or pattern.fullmatch(body[name]) is None:
            raise _bad(name, f"does not match {pattern.pattern}", "格式不符")
    for name in ("author", "title_zh", "title_en"):
        if not isinstance(body[name], str) or not 0 < len(body[name]) <= 255:
            raise _bad(name, "is not a text of 1 to 255 characters", "须为 1 至 255 个字符")
    if body["kind"] not in list(Kind):
        raise _bad("kind", f"is none of {', '.join(Kind)}", f"须为 {'、'.join(Kind)} 之一")
    kind = Kind(body["kind"])
    inputs = _inputs(body["inputs"], kind)
    memory_mb, seconds = _needs(body["needs"])
    sha256, size = _code(body["code"], kind)
    known = {name: body[name] for name in ("name", "version", "author", "title_zh", "title_en")}
    return Manifest(
        **known,
        kind=kind,
        code_sha256=sha256,
        code_bytes=size,
        inputs=inputs,
        parameters=_parameters(body["parameters"]),
        output=_output(body["output"], inputs),
        libraries=_libraries(body["libraries"], kind),
        memory_mb=memory_mb,
        seconds=seconds,
        body=body,
    )


def arguments(manifest: Manifest, given: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of a run with their defaults, in the manifest's order.

    Raises AppParameterInvalid for one that is unknown, missing or outside of its schema.
    """
    for name in given:
        if name not in manifest.parameters:
            raise AppParameterInvalid(name=str(name)[:64], why="is not known", why_zh="未知")
    found: dict[str, Parameter] = {}
    for name, schema in manifest.parameters.items():
        value = given.get(name, schema.get("default"))
        if value is None:
            raise AppParameterInvalid(name=name, why="is missing", why_zh="缺失")
        if (wrong := _misfit(schema, value)) is not None:
            raise AppParameterInvalid(name=name, why=wrong[0], why_zh=wrong[1])
        found[name] = value
    return found


def _misfit(schema: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    kinds = _TYPES[schema["type"]]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"is not of the type {schema['type']}", f"不是 {schema['type']} 类型"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return "is not a finite number", "不是有限数"
    if isinstance(value, (int, float)) and abs(value) >= 1 << 53:
        return "is too large", "过大"
    if isinstance(value, str):
        most = min(schema.get("maxLength", limits.APP_PARAMETER_CHARS_MAX), 10**6)
        if len(value) > min(most, limits.APP_PARAMETER_CHARS_MAX) or "\0" in value:
            return "is too long", "过长"
    if "minimum" in schema and value < schema["minimum"]:
        return f"is less than {schema['minimum']}", f"小于 {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        return f"is more than {schema['maximum']}", f"大于 {schema['maximum']}"
    if "enum" in schema and value not in schema["enum"]:
        return "is none of those listed", "不在所列取值中"
    return None


def _bad(field: str, why: str, why_zh: str) -> AppManifestInvalid:
    return AppManifestInvalid(field=field, why=why, why_zh=why_zh)


def _code(said: Any, kind: Kind) -> tuple[str, int]:
    most = limits.APP_MODEL_BYTES_MAX if kind is Kind.ONNX else limits.APP_CODE_BYTES_MAX
    if not isinstance(said, dict) or set(said) != {"sha256", "bytes"}:
        raise _bad("code", "has not exactly sha256 and bytes", "须恰有 sha256 与 bytes")
    if not isinstance(said["sha256"], str) or _HEX.fullmatch(said["sha256"]) is None:
        raise _bad("code.sha256", "is no digest", "不是摘要")
    if type(said["bytes"]) is not int or not 0 < said["bytes"] <= most:
        raise _bad("code.bytes", f"is not from 1 to {most}", f"须为 1 至 {most}")
    return said["sha256"], said["bytes"]


def _inputs(said: Any, kind: Kind) -> dict[str, dict[str, str]]:
    least = 0 if kind is Kind.SQL else 1
    if not isinstance(said, dict) or not least <= len(said) <= limits.APP_TABLES_MAX:
        raise _bad("inputs", f"has not {least} to {limits.APP_TABLES_MAX} tables", "表数不符")
    if kind is Kind.ONNX and len(said) != 1:
        raise _bad("inputs", "is not one table, as a model takes", "模型只接受一张表")
    for table, columns in said.items():
        if _WORD.fullmatch(str(table)) is None or not isinstance(columns, dict):
            raise _bad("inputs", "is not an object of tables and their columns", "须为表与列")
        if not 0 < len(columns) <= limits.APP_COLUMNS_MAX:
            raise _bad(f"inputs.{table}", "has too few or too many columns", "列数不符")
        for column, type_ in columns.items():
            fits = isinstance(type_, str) and len(type_) <= 64
            if _WORD.fullmatch(str(column)) is None or not fits:
                raise _bad(
                    f"inputs.{table}", "is not an object of columns and types", "须为列与类型"
                )
    return {table: dict(columns) for table, columns in said.items()}


def _parameters(said: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(said, dict) or len(said) > limits.APP_PARAMETERS_MAX:
        raise _bad("parameters", "is no object, or has too many", "须为对象且数量有限")
    for name, schema in said.items():
        at = f"parameters.{str(name)[:64]}"
        if _WORD.fullmatch(str(name)) is None or not isinstance(schema, dict):
            raise _bad(at, "is not a name and its schema", "须为名称与模式")
        if schema.get("type") not in _TYPES or not set(schema) <= _SCHEMA:
            known = ", ".join(sorted(_SCHEMA))
            raise _bad(at, f"has a type or a word that is none of {known}", f"仅支持 {known}")
        _check_schema(at, schema)
    return {name: dict(schema) for name, schema in said.items()}


def _check_schema(at: str, schema: Mapping[str, Any]) -> None:
    numeric = schema["type"] in ("integer", "number")
    for word in ("minimum", "maximum"):
        if word in schema and not (numeric and type(schema[word]) in (int, float)):
            raise _bad(f"{at}.{word}", "is no number", "不是数值")
    if "maxLength" in schema and type(schema["maxLength"]) is not int:
        raise _bad(f"{at}.maxLength", "is no whole number", "不是整数")
    listed = schema.get("enum", [])
    if not isinstance(listed, list) or len(listed) > 100:
        raise _bad(f"{at}.enum", "is no list", "不是列表")
    plain = {word: value for word, value in schema.items() if word != "enum"}
    for value in [*listed, *([schema["default"]] if "default" in schema else [])]:
        if _misfit(plain, value) is not None:
            raise _bad(at, "lists a value outside of its own type", "列出的取值不符合其类型")


def _output(said: Any, inputs: Mapping[str, Mapping[str, str]]) -> Output:
    if not isinstance(said, dict) or not set(said) <= {"numbers", "groups", "columns"} or not said:
        raise _bad(
            "output", "has not numbers, groups or columns", "须有 numbers、groups 或 columns"
        )
    names: dict[str, tuple[str, ...]] = {}
    for member in ("numbers", "columns"):
        listed = said.get(member, [])
        whole = isinstance(listed, list) and all(isinstance(each, str) for each in listed)
        if not whole or not all(_WORD.fullmatch(each) for each in listed):
            raise _bad(f"output.{member}", "is not a list of names", "须为名称列表")
        if len(set(listed)) != len(listed) or len(listed) > limits.APP_COLUMNS_MAX:
            raise _bad(f"output.{member}", "names one twice, or too many", "重复或过多")
        names[member] = tuple(listed)
    groups = said.get("groups")
    if groups is None:
        return Output(names["numbers"], None, names["columns"])
    if not isinstance(groups, dict) or len(groups) > 8 or names["columns"]:
        raise _bad("output.groups", "is not an object, or stands beside columns", "格式不符")
    tables = {str(of).partition(".")[0] for of in groups.values()}
    for name, of in groups.items():
        table, _, column = str(of).partition(".")
        if _WORD.fullmatch(str(name)) is None or column not in inputs.get(table, {}):
            raise _bad("output.groups", "names a column that is no input", "含非输入列")
        if name in names["numbers"]:
            raise _bad("output", "names one twice", "名称重复")
    if len(tables) > 1 or len(set(groups.values())) != len(groups):
        raise _bad(
            "output.groups", "are not different columns of one table", "须为同一张表的不同列"
        )
    return Output(names["numbers"], dict(groups), ())


def _libraries(said: Any, kind: Kind) -> tuple[str, ...]:
    fits = isinstance(said, list) and all(each in LIBRARIES for each in said)
    if not fits or len(set(said)) != len(said) or (said and kind is Kind.SQL):
        known = ", ".join(LIBRARIES)
        raise _bad("libraries", f"is not a list of {known}", f"须为 {known} 的列表")
    return tuple(said)


def _needs(said: Any) -> tuple[int, int]:
    bounds = {"memory_mb": limits.APP_MEMORY_MB_MAX, "seconds": limits.APP_SECONDS_MAX}
    if not isinstance(said, dict) or set(said) != set(bounds):
        raise _bad("needs", "has not exactly memory_mb and seconds", "须恰有 memory_mb 与 seconds")
    for name, most in bounds.items():
        if type(said[name]) is not int or not 0 < said[name] <= most:
            raise _bad(f"needs.{name}", f"is not from 1 to {most}", f"须为 1 至 {most}")
    return said["memory_mb"], said["seconds"]
