"""Values that break readers, in any place of a message: a 4xx or an end with a reason, never a 500.

Right in type, so that the rules behind the reading of the message see them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from protocols.dsp.hand import CTX, ask, request_body
from protocols.dsp.web import WebNode

NASTY: tuple[Any, ...] = (
    "9" * 5000,  # more digits than Python makes a number of
    "9" * 16,
    "\u0663",  # a digit of another script
    "0001-01-01T00:00:00+23:59",  # before the first instant
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59Z",
    "PT" + "9" * 400 + "S",
    "P9999999999Y",
    "1/PT0S",
    "\u202e\u009b31m\u0007",
    "%00%2f..%2f",
    "did:web:%2e%2e",
    "{" * 3000,
    "10000000000000.00",
    2**53,
    10**400,
    1e300,
    -1,
    True,
    [],
    {},
    [[["x"]]],
    {"@value": "9" * 5000},
    {"@id": {"@id": {}}},
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a message, containers too."""
    yield at
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(below, dict | list):
            yield from places(below, (*at, key))
        else:
            yield (*at, key)


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with `new` in that place."""
    if not at:
        return new
    changed = copy.deepcopy(value)
    here = changed
    for step in at[:-1]:
        here = here[step]
    here[at[-1]] = new
    return changed


def every(message: dict[str, Any]) -> Iterator[Any]:
    for at in places(message):
        for nasty in NASTY:
            yield put(message, at, nasty)


def test_requests(provider: WebNode) -> None:
    for number, changed in enumerate(every(request_body())):
        if isinstance(changed, dict) and changed.get("consumerPid") == "c1":
            changed["consumerPid"] = f"c{number}"  # a conversation of its own: it is answered
        got = ask(provider, "/negotiations/request", changed)
        assert got.status_code < 500, (changed, got.text)


def test_transfer_requests(provider: WebNode) -> None:
    body = {
        "@context": CTX,
        "@type": "TransferRequestMessage",
        "consumerPid": "t1",
        "agreementId": "nothing",
        "format": "HttpData-PUSH",
        "callbackAddress": "https://tck.example/",
        "dataAddress": {
            "@type": "DataAddress",
            "endpointType": "https://w3id.org/idsa/v4.1/HTTP",
            "endpoint": "https://tck.example/in",
            "endpointProperties": [
                {"@type": "EndpointProperty", "name": "urn:yunhe:expiresAt", "value": "x"},
                {"@type": "EndpointProperty", "name": "authorization", "value": "y"},
            ],
        },
    }
    for changed in every(body):
        got = ask(provider, "/transfers/request", changed)
        assert 400 <= got.status_code < 500, (changed, got.text)
