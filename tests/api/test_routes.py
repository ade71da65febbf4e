"""docs/api.md against the app: every call with its role, status and members, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from api.conftest import ROLES, Lone, problem
from apps.programs import COUNT, METRICS, manifest, terms
from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
NOWHERE = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Row:
    """One call as the page states it."""

    method: str
    path: str
    parameters: frozenset[str]
    body: frozenset[str] | None
    roles: frozenset[str] | None  # None: no token; empty: any token
    status: int
    answer: str


def members(text: str) -> dict[str, str]:
    """The top-level members of the first `{...}` in a text, each with what follows its colon."""
    found: dict[str, str] = {}
    depth, part = 0, ""
    for sign in text[text.find("{") :]:
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(sign, 0)
        if depth == 0 or (depth == 1 and sign == ","):
            name, _, shape = part.lstrip("{").partition(":")
            if name.strip():
                found[name.strip()] = shape.strip()
            part = ""
            if depth == 0:
                break
            continue
        part += sign
    return found


def table_rows() -> Iterator[Row]:
    """Every call of every table of the page."""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.replace(r"\|", "/").strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`"):
            continue
        quoted = re.findall(r"`([^`]+)`", cells[0])
        status = re.match(r"`?(20\d)", cells[2])
        base = ""
        for at, text in enumerate(quoted):
            call = re.match(r"(GET|POST|PATCH|DELETE) (/\S*)|…(/\w+)", text)
            if call is None:
                continue
            method, whole, tail = call.groups()
            whole = whole or base.rpartition("/")[0] + tail
            method = method or "POST"
            base, _, query = whole.partition("?")
            body = quoted[at + 1] if at + 1 < len(quoted) else ""
            if not body.startswith("{") and (stated := re.search(r"Body: `(\{.*\})`", cells[2])):
                body = stated.group(1) if method == "POST" else ""
            roles = None if cells[1] == "–" else frozenset(cells[1].split(", ")) - {"any"}
            yield Row(
                method,
                base,
                frozenset(name for name in re.split(r"=&?", query) if name),
                frozenset(members(body)) if body.startswith("{") else None,
                roles,
                int(status.group(1)) if status else 200,
                cells[2],
            )


ROWS = list(table_rows())
IDS = [f"{row.method} {row.path}" for row in ROWS]


def neutral(path: str) -> str:
    """A path whatever its ids are called."""
    return re.sub(r"\{\w+\}", "{}", path)


def stated(lone: Lone) -> dict[tuple[str, str], dict[str, Any]]:
    """The calls of the app by method and neutral path."""
    paths = lone.call("GET", "/openapi.json").json()["paths"]
    return {
        (method.upper(), neutral(path.removeprefix("/api/v1"))): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
        if path.startswith("/api/v1/")
    }


def test_the_page_and_the_app_state_the_same_calls(lone: Lone) -> None:
    assert len(ROWS) > 40
    assert len(set(IDS)) == len(IDS)
    assert {(row.method, neutral(row.path)) for row in ROWS} == set(stated(lone))


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_every_call_has_the_stated_status_and_parameters(lone: Lone, row: Row) -> None:
    operation = stated(lone)[row.method, neutral(row.path)]
    good = {int(code) for code in operation["responses"] if code.startswith("2")}
    assert good == {row.status}
    found = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
    assert found == row.parameters


@pytest.mark.parametrize("row", [r for r in ROWS if r.body], ids=lambda r: f"{r.method} {r.path}")
def test_every_body_has_the_stated_members(lone: Lone, row: Row) -> None:
    whole = lone.call("GET", "/openapi.json").json()
    operation = stated(lone)[row.method, neutral(row.path)]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    assert set(whole["components"]["schemas"][name]["properties"]) == row.body


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_every_call_asks_for_its_roles(lone: Lone, row: Row) -> None:
    path = re.sub(r"\{\w+\}", NOWHERE, row.path)
    if row.roles is None:
        # This node is never started: it is up, and not ready.
        expected = 503 if row.path == "/health/ready" else 200
        assert lone.call(row.method, path, role="").status_code == expected
        return
    before = lone.rows()
    refused = lone.call(row.method, path, role="")
    assert problem(refused)["status"] == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert lone.rows() == before
    others = [r for r in ROLES if row.roles and r != "admin" and r not in row.roles]
    for role in others:
        found = problem(lone.call(row.method, path, role))
        assert (found["status"], found["code"]) == (403, "ROLE_MISSING"), role
    after = lone.rows()
    assert after["evidence_entry"] == before["evidence_entry"] + len(others)
    changed = {table for table, count in after.items() if count != before[table]}
    assert changed <= {"evidence_entry", "evidence_checkpoint", "evidence_tile"}
    for role in row.roles or ROLES:
        if row.method == "GET":
            assert lone.call(row.method, path, role).status_code not in (401, 403), role
        else:
            # A body that no call takes: refused for itself, not for who sends it.
            found = problem(lone.call(row.method, path, role, json={"surprise": 1}))
            assert found["status"] in (400, 404), (role, found)


def test_the_description_is_open_to_all_and_is_openapi_3_1(lone: Lone) -> None:
    told = lone.call("GET", "/openapi.json", role="").json()
    assert told["openapi"].startswith("3.1.")
    for path in ("/docs", "/redoc", "/api/v1/docs"):  # stock pages would load from a CDN
        assert lone.call("GET", path).status_code == 404


# -- the members of answers, from a life that has something of everything ----------------------


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The answers of one life, by call."""
    with three(tmp_path_factory.mktemp("answers")) as world:
        found: dict[str, Any] = {}
        _live(world, found)
        yield found


def _live(world: World, found: dict[str, Any]) -> None:
    fn, a, r = (world[key].space for key in ("fn", "a", "r"))

    def get(space: Any, path: str, call: str = "") -> Any:
        headers = {"Authorization": f"Bearer {space.target.token}"}
        answer = space._http.get(f"{space.target.base}/api/v1{path}", headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        found[f"GET {call or path.partition('?')[0]}"] = answer.json()
        return answer.json()

    code = world.product()
    contract = world.agree(code)
    r.sql(BY_SEX, contract, PURPOSE)
    a.issue_statement(contract.id)
    until("settled", lambda: [s.state for s in r.statements(contract.id)] == ["settled"])
    for path in ("/health", "/health/ready", "/doctor", "/me", "/tokens", "/registration"):
        get(a, path)
    for path in ("/applications", "/registrations", "/connectors"):
        get(fn, path)
    for noun in ("resources", "products"):
        (one,) = get(a, f"/{noun}")["items"]
        get(a, f"/{noun}/{one['id']}", f"/{noun}/{{id}}")
        if noun == "resources":
            path = f"/resources/{one['id']}"
            get(a, f"{path}/profile", "/resources/{id}/profile")
            get(a, f"{path}/sample?table=patients&rows=1", "/resources/{id}/sample")
    get(r, "/search?q=patients")
    get(r, f"/catalogue/{code}", "/catalogue/{code}")
    get(r, f"/offers/{code}", "/offers/{code}")
    (one,) = get(r, "/negotiations")["items"]
    get(r, f"/negotiations/{one['id']}", "/negotiations/{id}")
    get(r, "/contracts")
    for tail in ("", "/budget", "/transfers", "/bill", "/statements", "/bundle"):
        get(r, f"/contracts/{contract.id}{tail}", f"/contracts/{{id}}{tail}")
    marks = "key=patients.id;share=1;patients.age=1"
    marked = world.product(replace(TERMS, minimum_group=0, masks=(), watermark=marks))
    shared = world.agree(marked)
    r.make_profile(shared)
    get(r, f"/contracts/{shared.id}/profiles", "/contracts/{id}/profiles")
    item = r.seal(shared)["id"]
    until("the delivery", lambda: r.vault_item(item)["state"] == "sealed")
    r.vault_read(item)
    r.fabric(BY_SEX.replace("patients", "x.patients"), {"x": contract}, PURPOSE, "fabric-1")
    get(r, "/fabric/answers")
    get(r, "/fabric/answers/fabric-1", "/fabric/answers/{id}")
    _programs(world, get)
    get(r, "/vault")
    get(r, f"/vault/{item}", "/vault/{id}")
    get(r, f"/contracts/{shared.id}/vault", "/contracts/{id}/vault")
    get(r, f"/contracts/{shared.id}/vault/proofs", "/contracts/{id}/vault/proofs")
    get(a, f"/products/{marked}/watermark", "/products/{id}/watermark")
    one = found["GET /contracts/{id}/transfers"]["items"][0]
    get(r, f"/transfers/{one['id']}", "/transfers/{id}")
    get(r, "/statements")
    get(a, f"/uses?contract={contract.id}")
    get(a, "/evidence/checkpoint")
    entry = get(a, "/evidence/entries")["items"][0]["entry_id"]
    get(a, f"/evidence/entries/{entry}/proof", "/evidence/entries/{entry_id}/proof")


def _programs(world: World, get: Callable[..., Any]) -> None:
    """A program that ran beside the data."""
    a, r = world["a"].space, world["r"].space
    app = r.apps.publish(manifest("counted", output={"numbers": ["n"]}), COUNT)["digest"]
    contract = world.agree(world.product(terms(METRICS, "counted")))
    deployed = r.apps.deploy(app, contract)["id"]
    a.apps.decide(deployed, "allow")
    until("consent", lambda: r.apps.deploy(app, contract)["state"] == "deployed")
    job = r.apps.run_app(deployed, PURPOSE)["id"]
    r.apps.submit(app)
    until("the listing", lambda: r.apps.search(digest=app))
    for path in ("/apps", "/apps/catalogue", "/apps/deployments", "/apps/jobs"):
        get(r, path)
    get(r, f"/apps/{app}", "/apps/{digest}")
    get(r, f"/apps/jobs/{job}", "/apps/jobs/{id}")
    get(a, f"/apps/jobs/{job}/log", "/apps/jobs/{id}/log")


def shape(text: str) -> dict[str, str] | None:
    """The members an answer states; a word stands for the shape the page gives it elsewhere."""
    named = {
        "hit": re.search(r"hit: `(\{code.*?\})`", PAGE),
        "negotiation": re.search(r"Negotiation:\n`(\{id.*?\})`;", PAGE),
        "transfer": re.search(r"; transfer: `(\{id.*?\})`", PAGE),
    }
    if "{" in text:
        return members(text)
    for word, found in named.items():
        if re.search(rf"\b{word}\b", text):
            assert found is not None, word
            return members(found.group(1))
    return None


@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if r.method == "GET" and not re.search("application/|text/", r.answer)],
    ids=lambda r: f"{r.method} {r.path}",
)
def test_every_answer_has_the_stated_members(answers: dict[str, Any], row: Row) -> None:
    actual = answers[f"GET {row.path}"]
    wanted = shape(row.answer)
    if row.path.endswith("/bundle"):
        assert actual["format"]
        return
    assert wanted, row.answer
    if row.path == "/catalogue/{code}":
        wanted |= shape("hit") or {}
    if row.path == "/negotiations/{id}":
        wanted |= shape("negotiation") or {}
    if "items" in actual:
        if "items" in wanted:
            wanted = shape(wanted["items"]) or {}
        actual = actual["items"][0]
    assert set(actual) == set(wanted)
    for name, inner in wanted.items():
        value = actual[name]
        if "{" in inner and isinstance(value, list) and value:
            assert set(value[0]) == set(members(inner)), name


def test_a_slash_too_many_is_no_redirect(lone: Lone) -> None:
    """A client that follows no redirect would see nothing; a 404 names the path."""
    answer = lone.call("GET", "/contracts/")
    assert answer.status_code == 404
    assert answer.json()["facts"]["what"] == "path /api/v1/contracts/"
    assert answer.json()["zh"]["detail"].startswith("不存在：路径 ")
