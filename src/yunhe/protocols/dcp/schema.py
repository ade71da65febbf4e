"""Credential schemas: a strict part of JSON Schema, enough for the subjects of credentials.

In: the address of a schema, a subject. Out: nothing, or CredentialSchemaViolated. A keyword that
is not known here refuses: a rule that cannot be checked is not kept. No references, no patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from yunhe.identity import CredentialSchemaViolated
from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import YunheError

MEMBERSHIP_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "MembershipCredential",
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "subjectCode": {"type": "string", "minLength": 18, "maxLength": 18},
        "connectorCode": {"type": "string"},
        "name": {"type": "string"},
        "nameEn": {"type": "string"},
        "address": {"type": "string"},
    },
    "required": ["id", "subjectCode", "connectorCode", "name"],
}

_IGNORED: Final = frozenset(("$schema", "$id", "id", "title", "description", "$comment", "default"))
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class SchemaCheck:
    """Fetches a schema (guarded, bounded) and holds a subject against it."""

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch

    def __call__(self, address: str, subject: dict[str, Any]) -> None:
        """Raises CredentialSchemaViolated, also for a schema that cannot be had or checked."""
        try:
            schema = loads_strict(self._fetch(address), limits.DID_DOCUMENT_BYTES_MAX, 16)
        except YunheError as error:
            raise CredentialSchemaViolated(detail=str(error), why="it cannot be had") from error
        validate(schema, subject, "credentialSubject")


def validate(schema: Any, value: Any, where: str) -> None:
    """Hold `value` against `schema`; raises CredentialSchemaViolated naming the place."""
    if schema is True:
        return
    if not isinstance(schema, dict):
        raise CredentialSchemaViolated(why=f"{where} has no schema that can be checked")
    for keyword, rule in schema.items():
        if keyword in _IGNORED:
            continue
        check = _CHECKS.get(keyword)
        try:
            held = check is not None and check(schema, rule, value, where)
        except (TypeError, AttributeError) as error:
            raise CredentialSchemaViolated(why=f"{keyword} of {where} is malformed") from error
        if not held:
            raise CredentialSchemaViolated(why=f"{where} against {str(keyword)[:64]}")


def _type(_schema: Any, rule: Any, value: Any, _where: str) -> bool:
    names = rule if isinstance(rule, list) else [rule]
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES.get(str(name), ())) for name in names)


def _properties(_schema: Any, rule: Any, value: Any, where: str) -> bool:
    if isinstance(value, dict):
        for name, each in rule.items():
            if name in value:
                validate(each, value[name], f"{where}.{str(name)[:64]}")
    return True


def _additional(schema: Any, rule: Any, value: Any, where: str) -> bool:
    extra = set(value) - set(schema.get("properties", ())) if isinstance(value, dict) else set()
    if rule is False:
        return not extra
    for name in sorted(extra):
        validate(rule, value[name], f"{where}.{str(name)[:64]}")
    return True


def _items(_schema: Any, rule: Any, value: Any, where: str) -> bool:
    for each in value if isinstance(value, list) else ():
        validate(rule, each, f"{where}[]")
    return True


def _required(_schema: Any, rule: Any, value: Any, _where: str) -> bool:
    return not isinstance(value, dict) or all(name in value for name in rule)


def _size(kind: type, least: bool) -> Callable[[Any, Any, Any, str], bool]:
    def check(_schema: Any, rule: Any, value: Any, _where: str) -> bool:
        if not isinstance(value, kind):
            return True
        size = len(value) if isinstance(value, str | list) else value
        return bool(size >= rule if least else size <= rule)

    return check


_CHECKS: Final[dict[str, Callable[[Any, Any, Any, str], bool]]] = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "required": _required,
    "enum": lambda _schema, rule, value, _where: value in list(rule),
    "const": lambda _schema, rule, value, _where: bool(value == rule),
    "minLength": _size(str, True),
    "maxLength": _size(str, False),
    "minItems": _size(list, True),
    "maxItems": _size(list, False),
    "minimum": _size(int, True),
    "maximum": _size(int, False),
}
