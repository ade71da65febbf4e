"""The compliance check K1-K12 (catalogue.md 4.3) over one visible table of fields.

In: a record as it travels. Out: faults, each naming field and rule; no I/O. What needs other
rows (K7, K8) is checked by the register. K11 and K12 ask about samples and connector abilities,
which no record of this version carries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from yunhe.catalog import rules_policy
from yunhe.catalog.codetables import has_code
from yunhe.catalog.errors import RecordMalformed
from yunhe.catalog.model import Fault, Json
from yunhe.catalog.rules_policy import Asked
from yunhe.kernel import canonical, limits

MUST, MAY, NO = "M", "O", "-"


@dataclass(frozen=True)
class Field:
    """A field of the dictionary `ndi-dict/0.1`: its type, length, where it is mandatory."""

    name: str
    type: str  # text | texts | int | object | objects
    chars_max: int
    resource: str
    product: str
    table: str = ""  # code table of N06 7.1


FIELDS: Final = (
    Field("title_zh", "text", 128, MAY, MAY),  # one of the two: _texts
    Field("title_en", "text", 128, MAY, MAY),
    Field("description_zh", "text", 1024, MAY, MAY),
    Field("description_en", "text", 1024, MAY, MAY),
    Field("keywords", "texts", 32, MAY, MAY),
    Field("provider_did", "text", 512, MUST, MUST),
    Field("provider_subject", "text", 18, MUST, MUST),
    Field("provider_name", "text", 128, MUST, MUST),
    Field("contact", "text", 128, MUST, MUST),
    Field("source_type", "text", 3, MUST, MUST, "source"),
    Field("source_proof", "text", 512, MAY, MAY),
    Field("legal_basis", "text", 512, MAY, MAY),
    Field("masking_plan", "text", 512, MAY, MAY),
    Field("topic_category", "text", 5, MUST, MUST, "topic"),
    Field("scenario_category", "text", 5, MUST, MUST, "scenario"),
    Field("industry_category", "text", 5, MUST, MUST, "industry"),
    Field("data_type", "text", 2, MUST, MUST, "data_type"),
    Field("formats", "texts", 64, MUST, MUST),
    Field("rows", "int", 0, MAY, MAY),
    Field("bytes", "int", 0, MAY, MAY),
    Field("update_frequency", "text", 3, MUST, MUST, "frequency"),
    Field("update_time", "text", 40, MUST, MUST),
    Field("quality_level", "text", 3, MUST, MUST, "quality"),
    Field("security_level", "text", 3, MUST, MUST, "security"),
    Field("data_grade", "text", 16, MUST, MUST, "grade"),
    Field("grade_assessment", "text", 512, MAY, MAY),
    Field("personal_info", "text", 1, MUST, MUST, "personal"),
    Field("tables", "objects", 0, MUST, MUST),
    Field("connector_address", "text", 1024, MAY, MUST),
    Field("product_form", "text", 3, NO, MUST, "form"),
    Field("service_type", "text", 3, NO, MAY, "service"),
    Field("delivery_methods", "texts", 2, NO, MUST, "delivery"),
    Field("resource_codes", "texts", 65, NO, MAY),
    Field("no_resource_reason", "text", 512, NO, MAY),
    Field("usage_scenario", "text", 1024, NO, MUST),
    Field("policy", "object", 0, NO, MUST),
    Field("price", "object", 0, NO, MUST),
)
LISTING_FIELDS: Final = (
    Field("code", "text", 65, MUST, MUST),
    Field("visible_to", "texts", 512, MAY, MAY),
    Field("valid_to", "text", 40, MAY, MAY),
)
# Of a program only its author, its texts and what is signed; whoever takes it reads the manifest.
APPLICATION_FIELDS: Final = (
    Field("title_zh", "text", 255, MUST, MUST),
    Field("title_en", "text", 255, MUST, MUST),
    Field("keywords", "texts", 32, MAY, MAY),
    Field("provider_did", "text", 512, MUST, MUST),
    Field("provider_subject", "text", 18, MUST, MUST),
    Field("provider_name", "text", 128, MUST, MUST),
    Field("connector_address", "text", 1024, MUST, MUST),
    Field("manifest", "object", 0, MUST, MUST),
    Field("jws", "text", limits.JWS_BYTES_MAX, MUST, MUST),
)
WITHDRAWAL_FIELDS: Final = (
    Field("code", "text", 65, MUST, MUST),
    Field("reason", "text", 512, MAY, MAY),
)
KINDS: Final[Mapping[str, tuple[Field, ...]]] = {
    "resource": FIELDS,
    "product": FIELDS,
    "application": APPLICATION_FIELDS,
    "listing": LISTING_FIELDS,
    "delist": WITHDRAWAL_FIELDS,
    "revoke": WITHDRAWAL_FIELDS,
}
_TYPES: Final[Mapping[str, type]] = {
    "text": str, "texts": list, "int": int, "object": dict, "objects": list,
}  # fmt: skip
_LIST_MAX: Final[Mapping[str, int]] = {
    "keywords": limits.CATALOG_KEYWORDS_MAX,
    "tables": limits.CATALOG_TABLES_MAX,
    "resource_codes": limits.CATALOG_RESOURCES_MAX,
}
_NAME = re.compile(r"^[^\W\d]\w{0,127}$")
_LOCAL_ID = re.compile(r"^[0-9A-Za-z._:-]{1,80}$")


def check_shape(kind: str, record: Any) -> None:
    """Refuse what is not a record at all: wrong types, unknown members, no id, too large.

    Raises RecordMalformed; such a body is a program's error and nothing of it is stored.
    """
    if kind not in KINDS:
        raise RecordMalformed(why=f"there is no kind {kind!r}")
    if not isinstance(record, dict):
        raise RecordMalformed(why="it is not an object")
    if len(canonical.dumps(record)) > limits.CATALOG_RECORD_BYTES_MAX:
        raise RecordMalformed(why=f"it is over {limits.CATALOG_RECORD_BYTES_MAX} bytes")
    local_id, version = record.get("local_id"), record.get("version")
    if not isinstance(local_id, str) or not _LOCAL_ID.match(local_id):
        raise RecordMalformed(why="local_id is not an identifier")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**31:
        raise RecordMalformed(why="version is not a positive integer")
    known = {field.name: field for field in KINDS[kind]}
    for name, value in record.items():
        if name in ("local_id", "version"):
            continue
        if name not in known:
            raise RecordMalformed(why=f"there is no member {str(name)[:64]!r}")
        _check_type(known[name], value)


def _check_type(field: Field, value: Any) -> None:
    right = isinstance(value, _TYPES[field.type]) and not isinstance(value, bool)
    if right and field.type == "texts":
        right = all(isinstance(item, str) for item in value)
    if right and field.type == "objects":
        right = all(_is_table(item) for item in value)
    if not right:
        raise RecordMalformed(why=f"{field.name} is not of type {field.type}")


def _is_table(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and set(item) - {"rows"} == {"name", "entity_key", "columns"}
        and type(item.get("rows", 0)) is int
        and 0 <= item.get("rows", 0) < 1 << 53
        and isinstance(item["name"], str)
        and isinstance(item["entity_key"], str)
        and isinstance(item["columns"], list)
        and all(
            isinstance(c, dict)
            and set(c) == {"name", "type"}
            and isinstance(c["name"], str)
            and isinstance(c["type"], str)
            for c in item["columns"]
        )
    )


def check(kind: str, record: Json, asked: Asked) -> list[Fault]:
    """The faults of a well-shaped record: K1, K4, K5, K6, K9, K10, and K7's own part."""
    faults = [fault for field in KINDS[kind] for fault in _field(kind, field, record)]
    if kind not in ("resource", "product"):
        return faults
    faults += _texts(record) + _tables(record) + _source(record) + _levels(record)
    if kind == "product":
        faults += _no_resource(record) + rules_policy.check(record, asked)
    return faults


def _field(kind: str, field: Field, record: Json) -> list[Fault]:
    force = field.product if kind == "product" else field.resource
    value = record.get(field.name)
    if value is None or value in ("", [], {}):
        if force == MUST:
            return [_fault(field.name, "K1", "is mandatory", "为必填项")]
        return []
    if force == NO:
        return [_fault(field.name, "K1", "does not belong to this kind", "不属于该类登记")]
    if field.type == "int":
        ok = 0 <= value < 2**63
        return [] if ok else [_fault(field.name, "K1", "is out of range", "超出取值范围")]
    faults = []
    items = value if field.type == "texts" else [value] if field.type == "text" else []
    if isinstance(value, list) and len(value) > _LIST_MAX.get(field.name, 64):
        faults.append(_fault(field.name, "K1", "has too many items", "项数过多"))
    for item in items:
        if len(item) > field.chars_max:
            faults.append(
                _fault(
                    field.name,
                    "K1",
                    f"is longer than {field.chars_max} characters",
                    f"超过 {field.chars_max} 个字符",
                )
            )
        elif any(ord(char) < 0x20 and char not in "\n\t" for char in item):
            faults.append(_fault(field.name, "K1", "has control characters", "含控制字符"))
        elif field.table and not has_code(field.table, item):
            faults.append(
                _fault(field.name, "K1", f"has no code {item!r}", f"代码表中没有 {item!r}")
            )
    return faults


def _texts(record: Json) -> list[Fault]:
    faults = []
    for name in ("title", "description"):
        if not (record.get(f"{name}_zh") or record.get(f"{name}_en")):
            why = ("is mandatory in zh or en", "中英文须至少填一")
            faults.append(_fault(f"{name}_zh", "K1", *why))
    return faults


def _tables(record: Json) -> list[Fault]:
    faults = []
    names: set[str] = set()
    for table in record.get("tables") or []:
        where = f"tables.{table['name'][:64]}"
        if not _NAME.match(table["name"]):
            faults.append(_fault(where, "K1", "is not a table name", "不是合法表名"))
        if table["name"].casefold() in names:
            faults.append(_fault(where, "K1", "stands twice", "重复出现"))
        names.add(table["name"].casefold())
        columns = [column["name"] for column in table["columns"]]
        if not columns or len(columns) > limits.CATALOG_COLUMNS_MAX:
            faults.append(_fault(where, "K1", "has no columns or too many", "列数为零或过多"))
        if len({column.casefold() for column in columns}) != len(columns):
            faults.append(_fault(where, "K1", "names a column twice", "列名重复"))
        if table["entity_key"] and table["entity_key"] not in columns:
            faults.append(
                _fault(f"{where}.entity_key", "K1", "is not a column of the table", "不是该表的列")
            )
    return faults


def _source(record: Json) -> list[Fault]:
    faults = []
    if record.get("source_type") == "003" and not record.get("source_proof"):
        faults.append(
            _fault("source_proof", "K4", "is needed for source 003", "来源为 003 时必须提供")
        )
    if record.get("source_type") == "002" and not record.get("legal_basis"):
        faults.append(
            _fault("legal_basis", "K4", "is needed for source 002", "来源为 002 时必须提供")
        )
    if record.get("personal_info") == "2":
        for name in ("legal_basis", "masking_plan"):
            if not record.get(name):
                faults.append(
                    _fault(name, "K6", "is needed for personal data", "含个人信息时必须提供")
                )
    return faults


def _levels(record: Json) -> list[Fault]:
    level, grade = record.get("security_level", ""), record.get("data_grade", "")
    faults = []
    if level == "005":
        faults.append(
            _fault("security_level", "K5", "005 may not circulate", "005 级不得流通", "reject")
        )
    elif level == "004":
        faults.append(
            _fault("security_level", "K5", "004 needs a reviewer", "004 级须人工审核", "reviewer")
        )
    if grade == "core":
        faults.append(
            _fault("data_grade", "K5", "core data may not circulate", "核心数据不得流通", "reject")
        )
    elif grade == "important":
        if not record.get("grade_assessment"):
            faults.append(
                _fault("grade_assessment", "K5", "is needed for important data", "重要数据须附评估")
            )
        if level in ("001", "002"):
            why = ("is low for important data", "对重要数据而言偏低")
            faults.append(_fault("security_level", "K5", *why, "reviewer"))
    return faults


def _no_resource(record: Json) -> list[Fault]:
    if record.get("resource_codes") or record.get("no_resource_reason"):
        return []
    return [_fault("resource_codes", "K7", "names no resource, no reason", "未列资源或理由")]


def _fault(field: str, rule: str, en: str, zh: str, weight: str = "return") -> Fault:
    return Fault(field, rule, f"{field} {en}", f"{field} {zh}", weight)
