"""Hostile requests against a real app: a 4xx problem with a code, and nothing stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.conftest import FACES, Lone, problem
from yunhe.api.forms import (
    AGGREGATES,
    AGGREGATES_LIKE,
    COLUMN,
    ENTITY,
    HOURS,
    HOURS_LIKE,
    PRIVACY,
    PRIVACY_LIKE,
    PROGRAM,
    REGION,
    RELEASE,
    RELEASE_LIKE,
    TABLE,
    WATERMARK,
    WATERMARK_LIKE,
)

SAMPLES = {
    r"^[0-9]{1,15}/P[0-9WDTHMS]{1,40}$": "10/P1D",
    r"^P[0-9WDTHMS]{1,40}$": "PT1M",
    COLUMN: "patients.age",
    r"^(null|hash|year|round:\d{1,9}|left:\d{1,4})$": "round:10",
    TABLE: "patients",
    ENTITY: "id",
    r"^[A-Za-z0-9:._-]{8,80}$": "use-0000",
    r"^[A-Za-z0-9:._-]{8,64}$": "fabric-0000",
    PRIVACY: PRIVACY_LIKE,
    PROGRAM: "risk@1.2",
    RELEASE: RELEASE_LIKE,
    HOURS: HOURS_LIKE,
    REGION: "3301",
    WATERMARK: WATERMARK_LIKE,
    AGGREGATES: AGGREGATES_LIKE,
    r"^did:web:[A-Za-z0-9._:%-]{1,240}$": "did:web:node.example",
}
WRONG: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 1.5,
    "string": "text",
    "array": [],
    "object": {"a": 1},
}
# Right in type, wrong in everything else.
NASTY = (
    "",
    "x" * 100_000,
    "../../../etc/passwd",
    "'; DROP TABLE ledger_transfer; --",
    "\u202e\u0007\ufffe",
    "𠀀" * 200,
    -1,
    2**63,
    10**400,
    1e308,
    -0.0,
    [[]] * 2000,
    {"__class__": "x", "__init__": 1},
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
)


def schemas(lone: Lone) -> dict[str, Any]:
    """The app's own description of itself."""
    found: dict[str, Any] = lone.call("GET", "/openapi.json").json()
    return found


def operations(lone: Lone) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every call of the API that takes a body: method, path, schema."""
    whole = schemas(lone)
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/v1/") and "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                yield method.upper(), filled(path), resolved(schema, whole)


def filled(path: str) -> str:
    """A path with an id of nothing in it."""
    return re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000000", path)


def resolved(schema: Any, whole: dict[str, Any]) -> Any:
    """The schema without references."""
    if isinstance(schema, list):
        return [resolved(each, whole) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole)
    return {name: resolved(value, whole) for name, value in schema.items()}


def sample(schema: dict[str, Any]) -> Any:
    """A valid value."""
    if "anyOf" in schema:
        return sample(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" and schema.get("minProperties"):
        return {"patients.weight": sample(schema["additionalProperties"])}
    if kind == "object":
        return {name: sample(each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema["items"])]
    if kind == "string":
        if schema.get("format") == "date-time":
            return "2027-01-01T00:00:00Z"
        if schema.get("title") == "Address":
            return "http://127.0.0.1:9/dsp/2025-1"
        return SAMPLES[schema["pattern"]] if "pattern" in schema else "text"
    return False if kind == "boolean" else int(schema.get("minimum", 0))


def places(schema: dict[str, Any], at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, set[str]]]:
    """Every place in a sample, and the JSON types that may stand there."""
    options = schema.get("anyOf", [schema])
    yield at, {str(each.get("type", "string")) for each in options}
    first = options[0]
    for name, each in first.get("properties", {}).items():
        yield from places(each, (*at, name))
    if first.get("type") == "array":
        yield from places(first["items"], (*at, 0))


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy of `value` with `new` at the place."""
    if not at:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[at[0]] = put(copy[at[0]], at[1:], new)
    return copy


def test_every_field_refuses_every_wrong_type(lone: Lone) -> None:
    tried = 0
    for method, path, schema in operations(lone):
        good = sample(schema)
        answer = lone.call(method, path, json=good)
        assert "field" not in answer.json().get("facts", {}), (method, path, answer.text)
        before = lone.rows()
        for at, kinds in places(schema):
            right = kinds | ({"integer"} if "number" in kinds else set())
            for kind, wrong in WRONG.items():
                if kind in right or (at and at[-1] == "metadata"):
                    continue
                found = problem(lone.call(method, path, json=put(good, at, wrong)))
                assert found["status"] == 400, (method, path, at, kind, found)
                tried += 1
        assert lone.rows() == before, (method, path)
    assert tried > 400


def test_no_value_however_nasty_breaks_the_node(lone: Lone) -> None:
    for method, path, schema in operations(lone):
        good = sample(schema)
        for at, _ in places(schema):
            for nasty in NASTY:
                body = json.dumps(put(good, at, nasty)).encode()
                answer = lone.raw(method, path, body)
                if answer.status_code >= 300:
                    problem(answer)


# Objects whose members no form states; a manifest's and parameters' are held to in tests/apps.
FREE = ("metadata", "columns", "manifest", "parameters")


def test_unknown_members_are_refused_and_named(lone: Lone) -> None:
    before = lone.rows()
    for method, path, schema in operations(lone):
        good = sample(schema)
        for at, kinds in places(schema):
            if "object" in kinds and (not at or at[-1] not in FREE):
                inner = good
                for step in at:
                    inner = inner[step]
                found = problem(
                    lone.call(method, path, json=put(good, at, {**inner, "surprise": 1}))
                )
                assert found["status"] == 400, (path, at, found)
                assert "surprise" in found["facts"].get("field", ""), (path, at, found)
    assert lone.rows() == before


BODIES = {
    "cut": b'{"name": "a", "roles": ["user"]',
    "nothing but a bracket": b"{",
    "text": b"hello",
    "two values": b"{} {}",
    "duplicate": b'{"name": "a", "name": "b", "roles": ["user"]}',
    "duplicate inside": b'{"name": "a", "roles": ["user"], "x": {"y": 1, "y": 2}}',
    "bad UTF-8": b'{"name": "\xff\xfe", "roles": ["user"]}',
    "surrogate bytes": b'{"name": "\xed\xa0\x80", "roles": ["user"]}',
    "half a surrogate": b'{"name": "\\ud800", "roles": ["user"]}',
    "half a surrogate as member": b'{"name": "a", "roles": ["user"], "\\udfff": 1}',
    "NUL": b'{"name": "a\\u0000b", "roles": ["user"]}',
    "NUL byte": b'{"name": "a\x00b", "roles": ["user"]}',
    "UTF-16": '{"name": "a", "roles": ["user"]}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"name": "a", "roles": ["user"]}',
    "NaN": b'{"name": "a", "roles": ["user"], "ttl_s": NaN}',
    "infinite": b'{"name": "a", "roles": ["user"], "ttl_s": 1e999}',
    "long number": b'{"name": "a", "roles": ["user"], "ttl_s": ' + b"9" * 5000 + b"}",
    "long name of a member": b'{"' + b"n" * 500_000 + b'": 1}',
    "empty": b"",
}
DEEP = {
    "10 MB": b'{"name": "' + b"a" * 10_000_000 + b'"}',
    "10,000 arrays": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "open arrays": b"[" * 500_000,
}


@pytest.mark.parametrize("what", BODIES)
def test_bodies_that_are_no_strict_json_are_refused(lone: Lone, what: str) -> None:
    before = lone.rows()
    for method, path in (("POST", "/tokens"), ("POST", "/sql"), ("PATCH", "/products/p")):
        assert problem(lone.raw(method, path, BODIES[what]))["status"] == 400
    assert lone.rows() == before


@pytest.mark.parametrize("what", DEEP)
def test_bodies_that_are_too_much_are_refused(lone: Lone, what: str) -> None:
    before = lone.rows()
    for path in ("/tokens", "/sql", "/negotiations", "/data/v1/query"):
        found = problem(lone.raw("POST", path, DEEP[what]))
        assert found["code"] == "TOO_LARGE"
    assert lone.rows() == before


@pytest.mark.parametrize("path", ["/dsp/2025-1/negotiations/request", "/tds/RegisterSubject"])
@pytest.mark.parametrize("what", [*BODIES, *DEEP])
def test_the_faces_of_peers_refuse_them_too(lone: Lone, path: str, what: str) -> None:
    before = lone.rows()
    answer = lone.raw("POST", path, (BODIES | DEEP)[what], role="")
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"]
    assert "Traceback" not in answer.text
    assert lone.rows() == before


def test_another_content_type_is_refused(lone: Lone) -> None:
    body = b'{"name": "a", "roles": ["user"]}'
    before = lone.rows()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = lone.call("POST", "/tokens", content=body, headers={"Content-Type": kind})
        assert problem(answer)["status"] == 400
    assert lone.rows() == before


IDS = (
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e%2f%2e%2e%2fetc",
    "%00",
    "a%00b",
    "%ff%fe",
    "'%20OR%201=1",
    "a" * 60_000,
    "%F0%9F%98%80",
    "{0.__class__}",
    "%25s%25n",
    "-1",
    "urn:yunhe:contract:" + "f" * 300,
)


@pytest.mark.parametrize("bad", IDS, ids=range(len(IDS)))
def test_ids_of_any_shape_are_not_found(lone: Lone, bad: str) -> None:
    before = lone.rows()
    for path, methods in schemas(lone)["paths"].items():
        if "get" not in methods or "{" not in path:
            continue
        answer = lone.call("GET", re.sub(r"\{[\w:]+\}", bad, path))
        if path.startswith(("/dsp", "/dcp")):  # strangers are refused first
            assert 400 <= answer.status_code < 500
            continue
        assert problem(answer)["status"] in (400, 404), path
    assert lone.rows() == before


@pytest.mark.parametrize(
    "query",
    [
        "/search?q=",
        "/search?q=" + "a" * 60_000,
        "/search?q=%00",
        "/search?q=a&limit=-1",
        "/search?q=a&limit=1e9",
        "/search?q=a&offset=99999999999999999999999999",
        "/search?q=a&surprise=1",
        "/search?q=a&q=b",
        "/search",
        "/uses",
        "/uses?contract=" + "c" * 300,
        "/negotiations/n?wait_s=nan",
        "/negotiations/n?wait_s=31",
        "/negotiations/n?wait_s=inf",
        "/negotiations/n?since_version=-1",
        "/evidence/entries?limit=0",
        "/evidence/entries?limit=201",
        "/evidence/entries?kind=" + "k" * 100,
        "/applications?state=" + "s" * 100,
        "/health?verbose=1",
        "/me?" + "&".join(f"p{i}=1" for i in range(5000)),
    ],
    ids=lambda query: query[:32],
)
def test_queries_out_of_bounds_are_refused(lone: Lone, query: str) -> None:
    assert problem(lone.call("GET", query))["status"] == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/tokens", 405),
        ("TRACE", "/health", 405),
        ("GET", "/sql", 405),
        ("POST", "/../../etc/passwd", 404),
    ],
)
def test_other_paths_and_methods_are_problems(
    lone: Lone, method: str, path: str, status: int
) -> None:
    answer = lone.call(method, path)
    assert problem(answer)["status"] == status
    if status == 405:
        assert answer.headers["allow"]


def test_head_tells_of_a_read_what_get_does_and_costs_no_use(lone: Lone) -> None:
    for path in ("/health", "/contracts", "/.well-known/did.json", "/log/checkpoint", "/nothing"):
        said, asked = lone.call("GET", path), lone.call("HEAD", path)
        assert asked.status_code == said.status_code, path
        assert asked.headers["content-type"] == said.headers["content-type"]
        assert asked.content == b""
    assert lone.call("HEAD", "/contracts", "").status_code == 401
    for path in ("/data/v1/query", "/delta/v1/shares", "/sql"):
        assert lone.call("HEAD", path).status_code == 405, path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_json_in_any_place_is_taken_or_refused(lone: Lone, data: st.DataObject) -> None:
    method, path, schema = data.draw(st.sampled_from(list(operations(lone))))
    good = sample(schema)
    at = data.draw(st.sampled_from([place for place, _ in places(schema)]))
    body = json.dumps(put(good, at, data.draw(JSON)), ensure_ascii=True).encode()
    answer = lone.raw(method, path, body)
    if answer.status_code >= 300:
        problem(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/products"),
        ("POST", "/tokens"),
        ("POST", "/dsp/2025-1/catalog/request"),
        ("POST", "/tds/Heartbeat"),
        ("GET", "/dcp/holder/presentations/query"),
        ("POST", "/data/v1/query"),
        ("PUT", "/data/v1/inbox/x"),
        ("GET", "/no/such/page"),
    ],
)
@pytest.mark.parametrize("other", ["Bearer nobody", "", "the same"])
def test_two_tokens_at_once_are_no_callers(lone: Lone, method: str, path: str, other: str) -> None:
    """A proxy before us may have looked at the other one."""
    good = f"Bearer {lone.tokens['admin']}"
    other = good if other == "the same" else other
    before = lone.rows()
    for pair in ((good, other), (other, good)):
        headers = [("Authorization", pair[0]), ("authorization", pair[1])]
        url = path if path.startswith(FACES) else f"/api/v1{path}"
        answer = lone.portal.call(
            lambda url=url, headers=headers: lone.http.request(method, url, headers=headers)
        )
        assert answer.status_code == 400
        assert "Authorization stands twice" in problem(answer)["detail"]
    assert lone.rows() == before
