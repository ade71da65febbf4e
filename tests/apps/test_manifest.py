"""Manifests are read strictly; parameters are checked before anything runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apps.programs import manifest
from yunhe.apps.errors import AppManifestInvalid, AppParameterInvalid
from yunhe.apps.manifest import Manifest, arguments, compose, read
from yunhe.dataplane import ParameterRefused, bind_named

CODE = b"def run(inputs, parameters): return {}"
MADE = compose(manifest("mean-age"), "did:web:author", CODE)


def test_a_reference_names_the_very_bytes() -> None:
    assert MADE.reference == f"mean-age@1.0#sha256:{MADE.digest}"
    assert read(dict(MADE.body)) == MADE
    other = compose(manifest("mean-age"), "did:web:author", CODE + b" ")
    assert other.digest != MADE.digest
    assert MADE.check_code(CODE)
    assert not MADE.check_code(CODE + b" ")


def changed(path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(dict(MADE.body))
    *parents, last = path.split("/")
    at = body
    for name in parents:
        at = at[name]
    at[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "yunhe-app/2"),
        ("name", "../../etc"),
        ("name", "Mean Age"),
        ("version", "1/../2"),
        ("kind", "wasm"),
        ("author", ""),
        ("more", 1),
        ("code", {"sha256": "0", "bytes": 1}),
        ("code/bytes", 1 << 40),
        ("code/bytes", True),
        ("inputs", {}),
        ("inputs", {"../x": {"a": "BIGINT"}}),
        ("inputs/patients", {'a" FROM secret --': "BIGINT"}),
        ("inputs", {f"t{i}": {"a": "BIGINT"} for i in range(9)}),
        ("parameters/least/type", "object"),
        ("parameters/least/pattern", "(a+)+$"),
        ("parameters/least/default", "x"),
        ("parameters/least/minimum", "0"),
        ("output", {}),
        ("output/groups", {"sex": "patients.name"}),
        ("output/groups", {"mean_age": "patients.sex"}),
        ("output/numbers", ["a", "a"]),
        ("libraries", ["os"]),
        ("libraries", ["numpy", "numpy"]),
        ("needs/memory_mb", 1 << 20),
        ("needs/seconds", 0),
        ("title_zh", "x" * 300),
    ],
)
def test_what_is_not_of_the_form_is_refused_by_name(path: str, value: Any) -> None:
    with pytest.raises(AppManifestInvalid) as refused:
        read(changed(path, value))
    assert str(refused.value.facts["field"]).split(".")[0] in (path.split("/")[0], "output")


@pytest.mark.parametrize("body", [None, [], "x", {}, {"format": "yunhe-app/1"}])
def test_no_manifest_at_all_is_refused(body: Any) -> None:
    with pytest.raises(AppManifestInvalid):
        read(body)


@pytest.mark.parametrize("name", ["format", "author", "code"])
def test_an_author_does_not_write_what_the_node_writes(name: str) -> None:
    with pytest.raises(AppManifestInvalid):
        compose(manifest("mean-age") | {name: "did:web:somebody"}, "did:web:author", CODE)


def of(**schemas: Any) -> Manifest:
    return compose(manifest("mean-age", parameters=schemas), "did:web:author", CODE)


def test_parameters_have_their_defaults_and_their_order() -> None:
    made = of(b={"type": "string", "enum": ["x", "y"]}, a={"type": "integer", "default": 3})
    assert list(arguments(made, {"b": "y"}).items()) == [("b", "y"), ("a", 3)]


def test_a_value_is_never_sql() -> None:
    sql = "SELECT count(*) AS n FROM patients WHERE sex = $sex AND age >= $least"
    hostile = "m' OR 1=1 --"
    bound = bind_named(sql, {"sex": hostile, "least": 18})
    assert "'m'' OR 1=1 --'" in bound
    assert bound.endswith("age >= 18")
    with pytest.raises(ParameterRefused):
        bind_named(sql, {"sex": "m"})
    with pytest.raises(ParameterRefused):
        bind_named("SELECT ? AS n", {"sex": "m"})


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        ({"type": "integer"}, {}),
        ({"type": "integer"}, {"a": 1, "b": 2}),
        ({"type": "integer"}, {"a": True}),
        ({"type": "integer"}, {"a": 1.5}),
        ({"type": "integer"}, {"a": 1 << 60}),
        ({"type": "integer", "minimum": 3}, {"a": 2}),
        ({"type": "number", "maximum": 3}, {"a": 3.1}),
        ({"type": "number"}, {"a": float("nan")}),
        ({"type": "string"}, {"a": "x" * 2000}),
        ({"type": "string"}, {"a": "\0"}),
        ({"type": "string", "maxLength": 2}, {"a": "xyz"}),
        ({"type": "string", "enum": ["x"]}, {"a": "y"}),
        ({"type": "string"}, {"a": ["x"]}),
    ],
)
def test_a_parameter_outside_of_its_schema_is_refused(schema: Any, given: Any) -> None:
    with pytest.raises(AppParameterInvalid):
        arguments(of(a=schema), given)
