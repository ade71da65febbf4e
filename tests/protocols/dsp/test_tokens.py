"""A token is for one message: spent in its transaction, and also where it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from protocols.dsp.hand import BASE, TCK, request_body
from protocols.dsp.web import AppClient, WebNode
from yunhe.identity import Peer
from yunhe.kernel import outbox
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Unauthenticated
from yunhe.protocols.dsp import Callers, Catalog, router


class Replayed(Unauthenticated):
    code = "TOKEN_REPLAYED"
    en = "The token was used before."
    zh = "令牌已被使用。"


class Spending:
    """A verifier that takes any token, once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def verify(self, authorization: str) -> tuple[Peer, Callable[[Tx], Peer]]:
        peer = Peer(did=TCK, member=True, code="", subject_code="", name=TCK, jwk={})

        def spend(tx: Tx) -> Peer:
            if outbox.seen(tx, "token", authorization):
                raise Replayed
            return peer

        return peer, spend

    def authenticate(self, authorization: str) -> Peer:
        return self._db.write(self.verify(authorization)[1])


class Door:
    """A node whose callers' tokens are spent with their messages."""

    def __init__(self, node: WebNode) -> None:
        self.refused: list[str] = []
        callers = Callers(node.db, Spending(node.db), lambda _from, why: self.refused.append(why))
        app = FastAPI()
        app.include_router(
            router(
                node.contracts,
                Catalog(node.did, node.url, None),  # type: ignore[arg-type]
                callers.authenticate,
                node.db.clock.now,
                sender=callers.sender,
            )
        )
        self._http = AppClient(app)

    def ask(self, token: str, path: str, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._http.post(BASE + path, content=content, headers={"authorization": token})


def test_a_token_is_spent_with_its_message(manual: WebNode) -> None:
    door = Door(manual)
    commits = manual.db.commits
    assert door.ask("t1", "/negotiations/request", request_body("c1")).status_code == 201
    assert manual.db.commits == commits + 1
    again = door.ask("t1", "/negotiations/request", request_body("c2"))
    assert (again.status_code, again.json()["code"]) == (401, "TOKEN_REPLAYED")
    assert door.refused == ["TOKEN_REPLAYED"]
    assert len(manual.contracts.negotiations()) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/negotiations/request", b"{"),
        ("/negotiations/request", {"@type": "Nothing"}),
        ("/negotiations/request", request_body(offer={"@id": "o"})),
        ("/negotiations/urn:uuid:nobody/termination", {"@type": "ContractRequestMessage"}),
        (
            "/negotiations/urn:uuid:nobody/termination",
            {
                **{key: request_body()[key] for key in ("@context", "consumerPid")},
                "@type": "ContractNegotiationTerminationMessage",
                "providerPid": "urn:uuid:nobody",
            },
        ),
    ],
)
def test_a_token_is_spent_by_a_message_that_is_refused(
    manual: WebNode, path: str, body: Any
) -> None:
    door = Door(manual)
    assert door.ask("t1", path, body).status_code in (400, 404)
    again = door.ask("t1", "/negotiations/request", request_body("c2"))
    assert (again.status_code, again.json()["code"]) == (401, "TOKEN_REPLAYED")
    assert door.refused == ["TOKEN_REPLAYED"]
    assert manual.contracts.negotiations() == []
