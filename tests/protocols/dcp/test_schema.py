"""Credential schemas: what is known is checked, what is not known refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from yunhe.identity import CredentialSchemaViolated, DidUnresolvable
from yunhe.protocols.dcp.schema import MEMBERSHIP_SCHEMA, SchemaCheck, validate

GOOD = {"id": "did:web:x", "subjectCode": "9" * 18, "connectorCode": "c", "name": "n"}


def test_a_member_fits_the_schema_of_members() -> None:
    validate(MEMBERSHIP_SCHEMA, GOOD, "credentialSubject")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (MEMBERSHIP_SCHEMA, {**GOOD, "subjectCode": "9"}),
        (MEMBERSHIP_SCHEMA, {"id": "did:web:x"}),
        ({"type": "string"}, 7),
        ({"type": "integer"}, True),
        ({"type": ["string", "null"]}, 7),
        ({"type": "unknown"}, 7),
        ({"enum": [1, 2]}, 3),
        ({"const": "a"}, "b"),
        ({"items": {"type": "string"}}, ["a", 1]),
        ({"maxItems": 1}, [1, 2]),
        ({"minimum": 5}, 4),
        ({"additionalProperties": False, "properties": {"a": True}}, {"b": 1}),
        ({"additionalProperties": {"type": "string"}}, {"b": 1}),
        ({"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, {"a": {"b": 1}}),
        ({"pattern": "(a+)+$"}, "a" * 40 + "b"),  # never run: expressions can be made to hang
        ({"$ref": "#/definitions/x"}, {}),
        ({"not": {}}, {}),
        ({"required": 7}, {}),
        ({"properties": []}, {"a": 1}),
        (False, {}),
        ("schema", {}),
    ],
)
def test_what_does_not_fit_or_cannot_be_checked_is_refused(schema: Any, value: Any) -> None:
    with pytest.raises(CredentialSchemaViolated):
        validate(schema, value, "it")


@pytest.mark.parametrize("body", [b"", b"[" * 9999, b"not json", b'{"a":1,"a":2}'])
def test_a_schema_that_is_none_refuses(body: bytes) -> None:
    with pytest.raises(CredentialSchemaViolated):
        SchemaCheck(lambda _url: body)("http://x.example", GOOD)


def test_a_schema_that_cannot_be_had_refuses() -> None:
    def silent(_url: str) -> bytes:
        raise DidUnresolvable(why="its address does not answer")

    with pytest.raises(CredentialSchemaViolated):
        SchemaCheck(silent)("http://x.example", GOOD)
    SchemaCheck(lambda _url: json.dumps(MEMBERSHIP_SCHEMA).encode())("http://x.example", GOOD)
