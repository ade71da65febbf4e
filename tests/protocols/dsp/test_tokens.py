"""A token is for one message: spent in its transaction, and also where it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI, Request

from contracts.nodes import Peer
from protocols.dsp.hand import BASE, TCK, request_body
from protocols.dsp.web import AppClient, WebNode
from yunhe.kernel import outbox
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Unauthenticated
from yunhe.protocols.dsp import Caller, Catalog, router


class Replayed(Unauthenticated):
    code = "TOKEN_REPLAYED"
    en = "The token was used before."
    zh = "令牌已被使用。"


class Door:
    """A node whose callers' tokens are spent with their messages."""

    def __init__(self, node: WebNode) -> None:
        self._node = node
        app = FastAPI()
        app.include_router(
            router(
                node.contracts,
                Catalog(node.did, node.url, None),  # type: ignore[arg-type]
                node.authenticate,
                node.db.clock.now,
                sender=self._sender,
            )
        )
        self._http = AppClient(app)

    def _sender(self, request: Request) -> Caller:
        token = request.headers["token"]

        def admit(tx: Tx) -> Peer:
            if outbox.seen(tx, "token", token):
                raise Replayed
            return Peer(TCK, None)

        return Caller(Peer(TCK, None), admit, lambda: self._node.db.write(admit))

    def ask(self, token: str, path: str, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._http.post(BASE + path, content=content, headers={"token": token})


def test_a_token_is_spent_with_its_message(manual: WebNode) -> None:
    door = Door(manual)
    commits = manual.db.commits
    assert door.ask("t1", "/negotiations/request", request_body("c1")).status_code == 201
    assert manual.db.commits == commits + 1
    again = door.ask("t1", "/negotiations/request", request_body("c2"))
    assert (again.status_code, again.json()["code"]) == (401, "TOKEN_REPLAYED")
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
    assert manual.contracts.negotiations() == []
