"""The provider's data door over real sockets: who may ask, what cuts, who is not delayed."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from flow.world import BY_SEX, PURPOSE, TERMS, World, hospital, three, until
from yunhe import identity
from yunhe.kernel import limits
from yunhe.kernel.keys import KeyStore, jwt
from yunhe.protocols import arrow
from yunhe.sdk import Contract, StreamBroken, YunheRefused

ROWS = 1_000_000
EVERYTHING = replace(TERMS, minimum_group=0, uses_max=None, rows_max=None, row_filters=())
ALL = "SELECT id, age, sex FROM patients"
SLOW = "SELECT age, count(DISTINCT id) AS n, count(DISTINCT sex) AS s FROM patients GROUP BY age"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three nodes; the hospital's table is larger than what sockets buffer."""
    with three(tmp_path_factory.mktemp("face")) as made:
        hospital(made["a"].config.data_roots[0], ROWS)
        yield made


@pytest.fixture(scope="module")
def code(world: World) -> str:
    """The one product."""
    return world.product(EVERYTHING)


@pytest.fixture
def contract(world: World, code: str) -> Contract:
    """A contract of its own for each test."""
    return world.agree(code)


class Asker:
    """A consumer without our relay: it sends whatever it likes."""

    def __init__(self, world: World, contract: Contract) -> None:
        self.world, self.contract = world, contract
        self.data = world["r"].node.contracts.access(contract.id).token
        self.number = 0

    def peer(self, key: str = "r", audience: str = "a") -> str:
        """A fresh self-issued token."""
        return self.world[key].node.identity.mint(self.world[audience].did)

    def send(
        self,
        body: Any = None,
        data: str | None = None,
        peer: str | None = None,
        besides: tuple[str, ...] = (),
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """One request; the head of its answer. `besides`: headers that it has once more."""
        self.number += 1
        if body is None:
            body = {"use_id": f"{self.contract.id}-{self.number}", "sql": ALL, "purpose": PURPOSE}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if (token := self.data if data is None else data) != "":
            headers["Authorization"] = f"Bearer {token}"
        if (token := self.peer() if peer is None else peer) != "":
            headers["X-Yunhe-Peer"] = f"Bearer {token}"
        headers |= {name.lower(): headers[name] for name in besides}
        port = self.world["a"].config.listen_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", arrow.ENDPOINT, raw, headers)
        return connection, connection.getresponse()

    def refused(self, **more: Any) -> tuple[int, str]:
        """Status and code of a refusal; nothing was admitted for it."""
        before = self.uses()
        connection, response = self.send(**more)
        problem = json.loads(response.read())
        connection.close()
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["zh"]["detail"]
        assert self.uses() == before
        return response.status, problem["code"]

    def uses(self) -> dict[str, tuple[str, int | None]]:
        """What the provider metered under the contract."""
        found = self.world["a"].node.control.uses(self.contract.id)
        return {use.use_id: (use.state, use.rows) for use in found}


def rest(response: http.client.HTTPResponse) -> None:
    """Read to the end; a stream that was cut has none."""
    while response.read1(1 << 16):
        pass


@pytest.fixture
def asker(world: World, contract: Contract) -> Asker:
    return Asker(world, contract)


def as_foreign(asker: Asker, scope: str = identity.MEMBERSHIP_SCOPE) -> str:
    """A token as a foreign connector sends it: what it is, its wallet shows."""
    who, provider = asker.world["r"].node.identity, asker.world["a"].did
    profiles = len(identity.CREDENTIAL_PROFILES)
    until("the wallet to be filled", lambda: len(who.wallet.credentials()) == profiles)
    return who.foreign.mint(provider, who.wallet.access_token(provider, (scope,)))


def test_a_foreign_peer_asks_with_decentralised_claims(asker: Asker) -> None:
    token = as_foreign(asker)
    connection, response = asker.send(peer=token)
    assert response.status == 200
    rest(response)
    connection.close()
    assert asker.refused(peer=token) == (401, "TOKEN_REPLAYED")
    assert asker.refused(peer=as_foreign(asker), data="x.y.z")[0] == 401


@pytest.mark.parametrize("name", ["Authorization", "X-Yunhe-Peer"])
def test_a_token_that_stands_twice_is_none(asker: Asker, name: str) -> None:
    assert asker.refused(besides=(name,)) == (400, "INVALID")


def test_a_data_token_is_no_use_without_membership(asker: Asker) -> None:
    """Whoever was revoked leaves its credential away, and holds a data token for minutes yet."""
    bare = asker.world["r"].node.identity.mint(asker.world["a"].did, credential=False)
    assert asker.refused(peer=bare) == (403, "MEMBER_ONLY")


def claims(asker: Asker, **over: Any) -> dict[str, Any]:
    """The claims of a good data token, changed."""
    now = int(time.time())
    (transfer,) = asker.world["r"].node.contracts.transfers(asker.contract.id)
    good = {
        "iss": asker.world["a"].did,
        "sub": asker.world["r"].did,
        "contract": asker.contract.id,
        "transfer": transfer.peer_pid,
        "jti": f"t-{now}",
        "iat": now,
        "exp": now + 300,
    }
    return {**good, **over}


def test_a_good_request_passes_and_is_metered(asker: Asker) -> None:
    body = {"use_id": f"{asker.contract.id}-good", "sql": BY_SEX, "purpose": PURPOSE}
    connection, response = asker.send(body)
    assert response.status == 200
    assert response.headers["x-yunhe-use-id"] == body["use_id"]
    response.read()
    connection.close()
    until("the meter", lambda: asker.uses() == {body["use_id"]: ("posted", 2)})


def test_data_tokens_that_do_not_open(asker: Asker, tmp_path_factory: Any) -> None:
    key = asker.world["a"].node.keys.key("did")
    stranger = KeyStore(tmp_path_factory.mktemp("stranger")).key("did")
    typ = "yunhe-data+jwt"
    now = int(time.time())
    connection, response = asker.send(data=jwt(key, claims(asker), typ=typ))
    assert response.status == 200
    response.close()
    connection.close()
    until("its end", lambda: {state for state, _ in asker.uses().values()} <= {"posted", "void"})
    wrong = {
        "": "DATA_TOKEN_INVALID",
        "x.y.z": "DATA_TOKEN_INVALID",
        "x" * 50_000: "DATA_TOKEN_INVALID",
        jwt(key, claims(asker, exp=now - 1), typ=typ): "DATA_TOKEN_EXPIRED",
        jwt(key, claims(asker, exp="soon"), typ=typ): "DATA_TOKEN_INVALID",
        jwt(key, claims(asker, exp=1e30), typ=typ): "DATA_TOKEN_INVALID",
        jwt(key, claims(asker, transfer="none"), typ=typ): "DATA_TOKEN_INVALID",
        jwt(key, claims(asker, iss="did:web:other"), typ=typ): "DATA_TOKEN_INVALID",
        jwt(key, claims(asker)): "DATA_TOKEN_INVALID",
        jwt(stranger, claims(asker), typ=typ): "DATA_TOKEN_INVALID",
        asker.peer(): "DATA_TOKEN_INVALID",
    }
    for token, code in wrong.items():
        assert asker.refused(data=token) == (401, code), token[:80]


def test_a_stolen_data_token_is_no_use(asker: Asker) -> None:
    assert asker.refused(peer=asker.peer("fn")) == (403, "DATA_TOKEN_FOREIGN")
    key = asker.world["a"].node.keys.key("did")
    theirs = jwt(key, claims(asker, sub="did:web:other"), typ="yunhe-data+jwt")
    assert asker.refused(data=theirs) == (403, "DATA_TOKEN_FOREIGN")


def test_peer_tokens_that_do_not_open(asker: Asker) -> None:
    spent = asker.peer()
    connection, response = asker.send({"use_id": "x"}, peer=spent)
    assert response.status == 400
    connection.close()
    assert asker.refused(peer=spent)[1] == "TOKEN_REPLAYED"
    for peer in ("", "x.y.z", asker.peer(audience="fn"), asker.data, asker.peer() + "x"):
        assert asker.refused(peer=peer)[0] == 401, peer[:40]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 10_000,
        b'{"use_id": "' + b"x" * 10_000_000 + b'"}',
        b'{"use_id": "u", "use_id": "v", "sql": "s", "purpose": "p"}',
        b'{"use_id": "u\\u0000", "sql": "s", "purpose": "p"}',
        b'{"use_id": "\xff", "sql": "s", "purpose": "p"}',
        {"use_id": 7, "sql": "SELECT 1", "purpose": "p"},
        {"use_id": "u", "sql": None, "purpose": "p"},
        {"use_id": "u", "sql": ["SELECT 1"], "purpose": "p"},
        {"use_id": "u", "sql": "", "purpose": "p"},
        {"use_id": "u", "sql": "SELECT 1", "purpose": "p" * 65},
        {"use_id": "u" * 81, "sql": "SELECT 1", "purpose": "p"},
        {"use_id": "u", "sql": "SELECT 1"},
        {"use_id": "u", "sql": "SELECT 1", "purpose": "p", "rows_max": 1},
    ],
    ids=range(17),
)
def test_malformed_bodies_are_refused(asker: Asker, body: Any) -> None:
    assert asker.refused(body=body)[0] in (400, 413)


def test_the_contract_of_another_product_rules(asker: Asker) -> None:
    body = {"use_id": "u-hidden", "sql": "SELECT name FROM patients", "purpose": PURPOSE}
    assert asker.refused(body=body) == (403, "COLUMN_NOT_AGREED")
    body = {"use_id": "u-other", "sql": ALL, "purpose": "marketing"}
    connection, response = asker.send(body)
    assert (response.status, json.loads(response.read())["code"]) == (403, "PURPOSE_NOT_AGREED")
    connection.close()


def test_a_terminated_contract_cuts_the_stream_within_a_second(asker: Asker) -> None:
    connection, response = asker.send()
    assert response.status == 200
    response.read(100_000)
    asker.world["a"].space.terminate(asker.contract.id, "enough")
    time.sleep(limits.STREAM_CHECK_S)  # a slow reader: what was under way fits in no buffer
    started = time.monotonic()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        rest(response)
    assert time.monotonic() - started < 1
    response.close()
    connection.close()
    until("the post", lambda: [s for s, _ in asker.uses().values()] == ["posted"])
    ((_, rows),) = asker.uses().values()
    assert 0 < (rows or 0) < ROWS
    assert asker.refused() == (403, "CONTRACT_TERMINATED")


def test_a_client_that_leaves_is_posted_once_and_frees_the_worker(asker: Asker) -> None:
    for _ in range(3):  # there is one worker: a lost one would be missed
        connection, response = asker.send()
        assert response.status == 200
        response.read(100_000)
        connection.close()
        response.close()
    until("the posts", lambda: Counter(s for s, _ in asker.uses().values()) == {"posted": 3})
    assert all(0 < (rows or 0) < ROWS for _, rows in asker.uses().values())
    table = asker.world.ask(asker.contract)
    assert table.num_rows == 2
    meters = asker.world["a"].space.bill(asker.contract.id)
    assert meters.uses == 4


def test_the_users_program_that_leaves_ends_it_at_the_provider_too(
    world: World, contract: Contract
) -> None:
    with world["r"].space.sql_stream(ALL, contract, PURPOSE) as batches:
        next(iter(batches))
    asker = Asker(world, contract)
    until("the post", lambda: [s for s, _ in asker.uses().values()] == ["posted"])
    ((_, rows),) = asker.uses().values()
    assert 0 < (rows or 0) < ROWS


def test_forty_queries_do_not_delay_a_terminate(world: World, contract: Contract) -> None:
    done: list[str] = []

    def query() -> None:
        try:
            world.ask(contract, SLOW)
            done.append("ok")
        except (YunheRefused, StreamBroken) as refused:
            done.append(refused.code)

    threads = [threading.Thread(target=query) for _ in range(40)]
    for each in threads:
        each.start()
    until("the first result", lambda: "ok" in done)
    world["a"].space.terminate(contract.id, "enough")
    when_it_returned = list(done)
    for each in threads:
        each.join(60)
    assert when_it_returned.count("ok") < 20, "the terminate stood in the queue of the queries"
    assert len(done) == 40
    assert done.count("ok") < 40
    until(
        "the meters",
        lambda: not world["a"].node.control.uses(contract.id, ("reserved", "released")),
    )
    posted = world["a"].node.control.uses(contract.id, ("posted",))
    assert len({use.use_id for use in posted}) == len(posted)
