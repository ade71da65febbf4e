"""Stock Delta Sharing clients and strangers at a real node's door, over real sockets."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flow.test_push import PLAIN
from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until
from protocols.delta import stock
from yunhe.cli import app
from yunhe.kernel import limits
from yunhe.sdk import Contract, YunheRefused


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("sharing")) as found:
        yield found


@pytest.fixture(scope="module")
def code(world: World) -> str:
    return world.product(PLAIN)


@pytest.fixture
def contract(world: World, code: str) -> Contract:
    return world.agree(code)


class Client:
    """A client that does what it likes, with a profile of its own."""

    def __init__(self, world: World, contract: Contract) -> None:
        self.made = world["r"].space.make_profile(contract)
        self.file = self.made["file"]
        self.base = self.file["endpoint"]
        self.auth = {"Authorization": f"Bearer {self.file['bearerToken']}"}
        self.table = f"/shares/{contract.product_code}/schemas/governed/tables/patients"

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.base + path, headers={**self.auth, **headers})

    def query(self, path: str = "", **body: Any) -> httpx.Response:
        url = self.base + (path or f"{self.table}/query")
        return httpx.post(url, json=body, headers=self.auth, timeout=30)

    def url(self, **body: Any) -> str:
        lines = self.query(**body).text.splitlines()
        found: str = json.loads(lines[-1])["file"]["url"]
        return found

    def save(self, folder: Path) -> Path:
        path = folder / "config.share"
        path.write_text(json.dumps(self.file), encoding="utf-8")
        return path


@pytest.fixture
def client(world: World, contract: Contract) -> Client:
    return Client(world, contract)


def uses(world: World, contract: Contract) -> list[Any]:
    return [use for use in world["a"].space.uses(contract) if use.state == "posted"]


@pytest.mark.parametrize("more", [{}, {"use_delta_format": True}, {"convert_in_batches": True}])
def test_the_stock_client_reads_what_the_contract_shows(
    world: World, contract: Contract, client: Client, tmp_path: Path, more: dict[str, Any]
) -> None:
    found = stock.read(client.save(tmp_path), **more)
    assert found["shares"] == [contract.product_code]
    assert found["schemas"] == ["governed"]
    assert found["tables"] == ["patients"]
    assert found["columns"] == ["id", "age", "sex"]  # no name
    assert len(found["rows"]) == 360  # no minors
    assert {row[1] for row in found["rows"]} <= {20, 30, 40, 50, 60, 70, 80, 90}  # rounded
    until("the meter", lambda: len(uses(world, contract)) == 1)
    assert uses(world, contract)[0].rows == 360
    until("the receipt", lambda: len(world["a"].node.exchange.receipts(contract.id)) == 1)


def test_the_example_of_the_page_runs(client: Client, tmp_path: Path) -> None:
    page = (stock.ROOT / "docs" / "delta-sharing.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    client.save(tmp_path)
    done = stock.run(example, folder=tmp_path)
    assert done.stdout.strip() == "360 rows: id age sex", done.stderr
    readme = (stock.ROOT / "README.md").read_text("utf-8")
    assert f"```python\n{example}```" in readme, "the README shows the example that runs"


def test_a_limit_is_pushed_down_and_predicates_are_hints(
    world: World, contract: Contract, client: Client, tmp_path: Path
) -> None:
    hint = json.dumps({"op": "equal", "children": []})
    found = stock.read(client.save(tmp_path), limit=7, jsonPredicateHints=hint)
    assert len(found["rows"]) == 7
    until("the meter", lambda: [use.rows for use in uses(world, contract)] == [7])


def test_the_profile_comes_from_the_command_line(
    world: World, contract: Contract, tmp_path: Path
) -> None:
    r = world["r"]
    at = ["--url", r.config.address, "--token", r.token]
    made = CliRunner().invoke(app, ["contracts", "profile", contract.id, *at])
    assert made.exit_code == 0, made.output
    (tmp_path / "config.share").write_text(made.stdout, encoding="utf-8")
    assert len(stock.read(tmp_path / "config.share")["rows"]) == 360
    listed = r.space.profiles(contract)
    assert [each["purpose"] for each in listed] == [PURPOSE]
    done = CliRunner().invoke(app, ["contracts", "revoke-profile", listed[0]["id"], *at])
    assert done.exit_code == 0, done.output
    assert "PROFILE_UNKNOWN" in stock.refused(tmp_path / "config.share")


def test_metadata_costs_nothing(world: World, contract: Contract, client: Client) -> None:
    told = client.get(f"{client.table}/metadata")
    assert told.headers["delta-table-version"] == "0"
    protocol, metadata = (json.loads(line) for line in told.text.splitlines())
    assert protocol == {"protocol": {"minReaderVersion": 1}}
    schema = json.loads(metadata["metaData"]["schemaString"])
    assert [(f["name"], f["type"]) for f in schema["fields"]] == [
        ("id", "long"),
        ("age", "long"),
        ("sex", "string"),
    ]
    assert client.get(f"{client.table}/version").headers["delta-table-version"] == "0"
    assert not world["a"].space.uses(contract)


def test_an_answer_that_was_lost_is_asked_for_again_without_another_use(
    world: World, contract: Contract, client: Client
) -> None:
    first = client.url()
    assert client.url() == first
    until("the meter", lambda: len(uses(world, contract)) == 1)
    assert httpx.get(first).status_code == 200
    assert client.url() != first  # fetched: the next query is the next use
    until("the meter", lambda: len(uses(world, contract)) == 2)


# -- attacks -------------------------------------------------------------------------------------


def test_no_other_token_opens_anything(world: World, client: Client) -> None:
    token = client.file["bearerToken"]
    prefix, key, secret = token.split("_", 2)
    forged = [
        "",
        "Bearer",
        f"Bearer {prefix}_{key}_{secret[:-1]}",
        f"Bearer {prefix}_{'0' * 16}_{secret}",
        f"Bearer {prefix}_{key}_",
        f"Basic {token}",
        f"Bearer {world['r'].token}",
        f"Bearer {prefix}_{key}_{'x' * 4000}",
    ]
    for value in forged:
        for path in ("/shares", f"{client.table}/metadata"):
            answer = httpx.get(client.base + path, headers={"Authorization": value})
            assert answer.status_code == 401, value
            assert answer.json()["errorCode"] == "PROFILE_UNKNOWN"
    # Nor is the profile's token one of our management API.
    api = world["r"].config.address + "/api/v1/contracts"
    assert httpx.get(api, headers=client.auth).status_code == 401


def test_another_share_schema_or_table_is_not_there(
    world: World, client: Client, code: str
) -> None:
    wrong = [
        "/shares/other",
        "/shares/other/schemas",
        "/shares/other/all-tables",
        f"/shares/{code}/schemas/private/tables",
        f"/shares/{code}/schemas/governed/tables/notes/metadata",
        f"/shares/{code}/schemas/governed/tables/%22patients%22/metadata",
        f"/shares/{code}/schemas/governed/tables/..%2F..%2Fnode.db/metadata",
        f"/shares/{code}/schemas/governed/tables/patients%22%20JOIN%20x/version",
    ]
    for path in wrong:
        assert client.get(path).status_code == 404, path
    answer = client.query(f"/shares/{code}/schemas/governed/tables/x%22%3B--/query")
    assert answer.status_code == 404
    url = httpx.URL(client.url())
    for name in ("..%2Fnode.db", "%2e%2e/keys", "x" * 4000, "0", "other.parquet"):
        assert httpx.get(f"{client.base}/files/{name}?{url.query.decode()}").status_code == 404
    for key in ("", "X-Amz-Signature=", "X-Amz-Signature=" + "x" * 43, "other=1"):
        assert httpx.get(f"{client.base}{url.path.partition('/v1')[2]}?{key}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"limitHint": -1},
        {"limitHint": True},
        {"limitHint": "1; DROP"},
        {"version": 3},
        {"timestamp": "2020-01-01T00:00:00Z"},
        {"startingVersion": 0},
        {"predicateHints": "age > 1"},
    ],
)
def test_a_query_that_is_none_is_refused_and_free(
    world: World, contract: Contract, client: Client, body: dict[str, Any]
) -> None:
    answer = client.query(**body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "SHARE_QUERY_INVALID"
    assert not world["a"].space.uses(contract)


def test_an_address_is_used_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELTA_GRACE_S", 0.2)
    url = client.url()
    assert httpx.head(url).headers["accept-ranges"] == "bytes"
    part = httpx.get(url, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PAR1")
    assert httpx.get(url).status_code == 200
    time.sleep(0.4)
    assert httpx.get(url).status_code == 404


def test_an_address_gives_no_more_than_a_few_times_its_file(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELTA_SERVED_TIMES", 1)
    monkeypatch.setattr("yunhe.protocols.delta.files._SLACK_BYTES", 0)
    url = client.url()
    assert httpx.get(url).status_code == 200
    assert httpx.get(url).json()["code"] == "SHARE_FILE_GONE"


def test_an_address_expires_and_its_file_is_removed(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELTA_URL_S", 0.2)
    url = client.url()
    time.sleep(0.25)
    assert httpx.get(url).status_code == 404
    folder = world["r"].config.data_dir / "shared"
    key = {each.path for each in world["r"].node.sharing.files._all()}
    world["r"].node.sharing.files.sweep()
    assert not [path for path in key if path.exists()] or folder.exists()


def test_the_end_of_the_contract_ends_addresses_within_a_second(
    world: World, contract: Contract, client: Client
) -> None:
    url = client.url()
    held = [each for each in world["r"].node.sharing.files._all() if each.key in url]
    assert held[0].path.stat().st_mode & 0o777 == 0o600
    world["a"].space.terminate(contract, "breach")
    started = time.monotonic()
    until("the refusal", lambda: httpx.get(url).status_code in (403, 404), 5)
    assert time.monotonic() - started < 1.0
    until("the file's end", lambda: not held[0].path.exists(), 5)
    assert client.get("/shares").status_code in (403, 409)


def test_a_revoked_profile_ends_its_addresses(world: World, client: Client) -> None:
    url = client.url()
    world["r"].space.revoke_profile(client.made["id"])
    assert httpx.get(url).status_code == 401
    assert client.query().status_code == 401
    with pytest.raises(YunheRefused, match="PROFILE_NOT_FOUND"):
        world["r"].space.revoke_profile(client.made["id"])


def test_an_expired_profile_opens_nothing(world: World, contract: Contract) -> None:
    node = world["r"].node
    made = node.sharing.profiles.create(contract.id, "", "tester", 1)
    token = made.file["bearerToken"]
    assert made.profile.expires_at - made.profile.created_at == timedelta(seconds=1)
    time.sleep(1.1)
    answer = httpx.get(
        made.file["endpoint"] + "/shares", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.json()["code"] == "PROFILE_UNKNOWN"


def test_the_secret_is_nowhere_on_the_node(world: World, client: Client) -> None:
    secret = client.file["bearerToken"].split("_", 2)[2].encode()
    for path in world["r"].config.data_dir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data, path
            assert base64.b64encode(secret) not in data, path


def test_a_contract_of_aggregates_is_refused_clearly(world: World) -> None:
    contract = world.agree(world.product(TERMS))
    assert world.ask(contract, BY_SEX)
    with pytest.raises(YunheRefused, match="SHARING_NEEDS_ROWS"):
        world["r"].space.make_profile(contract)


def test_who_sells_makes_no_profile(world: World, contract: Contract) -> None:
    with pytest.raises(YunheRefused, match="SHARING_AS_CONSUMER"):
        world["a"].space.make_profile(contract)
    with pytest.raises(YunheRefused, match="SHARING_NEEDS_PURPOSE"):
        world["r"].space.make_profile(contract, "marketing")


def test_a_used_up_contract_says_so(world: World) -> None:
    terms = json.loads(json.dumps(PLAIN.to_json())) | {"uses_max": 1}
    contract = world.agree(world.product(type(PLAIN).from_json(terms)))
    client = Client(world, contract)
    assert httpx.get(client.url()).status_code == 200
    answer = client.query()
    assert answer.status_code in (403, 409)
    assert answer.json()["errorCode"] == "USES_EXHAUSTED"


def test_the_file_is_plain_parquet(client: Client, tmp_path: Path) -> None:
    (tmp_path / "got.parquet").write_bytes(httpx.get(client.url()).content)
    assert pq.read_table(tmp_path / "got.parquet").num_rows == 360
