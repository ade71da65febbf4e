"""Every message that a node sends or answers is as DCP 1.0's schemas want it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from identity.nodes import REVIEWER
from protocols.dcp.office import Town, token
from protocols.dcp.shapes import SHAPES, fits
from protocols.dcp.test_flow import BOTH, issued, shown
from yunhe.identity import MEMBERSHIP_SCOPE, Identity
from yunhe.protocols.dcp import wire


def sent(here: Town) -> list[str]:
    """The types of the messages on the wire so far, each held against its model."""
    return [fits(json.loads(request.content)) for request in here.said if request.content]


def test_all_that_goes_between_holder_issuer_and_verifier(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    here.verifiers["research"].authenticate(shown(hospital, research))
    assert set(sent(here)) == {
        "CredentialRequestMessage",
        "CredentialMessage",
        "PresentationQueryMessage",
    }
    wallet = hospital.wallet.access_token(research.own_did, (MEMBERSHIP_SCOPE,))
    query = wire.message("PresentationQueryMessage", scope=[MEMBERSHIP_SCOPE])
    answer = here.post(research, hospital, "/holder/presentations/query", query, token=wallet)
    assert fits(answer.json()) == "PresentationResponseMessage"
    assert len(answer.json()["presentation"]) == 2
    metadata = here.send(httpx.Request("GET", "http://office.example/dcp/issuer/metadata"))
    assert fits(metadata.json()) == "IssuerMetadata"


def test_a_rejection_and_the_status_of_a_request(
    here: Town, office: Identity, hospital: Identity
) -> None:
    office.registrar.suspend(office.connectors()[0].code, ("audit",), REVIEWER)
    body = wire.message(
        "CredentialRequestMessage", holderPid="p1", credentials=[{"id": id_} for id_ in BOTH]
    )
    assert fits(body) == "CredentialRequestMessage"
    made = here.post(hospital, office, "/issuer/credentials", body)
    headers = {"authorization": f"Bearer {token(hospital, office)}"}
    status = here.send(httpx.Request("GET", made.headers["location"], headers=headers))
    assert fits(status.json()) == "CredentialStatus"
    here.deliver()
    assert all(sent(here))


PIDS = {"issuerPid": "i", "holderPid": "h"}
CONTAINER = {"payload": "a.b.c", "credentialType": "T", "format": "vc20-bssl/jwt"}
GOOD = [
    wire.message("PresentationQueryMessage", scope=["s"]),
    wire.message("PresentationResponseMessage", presentation=["a.b.c"]),
    wire.message("CredentialRequestMessage", holderPid="h", credentials=[{"id": "x"}]),
    wire.message("CredentialMessage", **PIDS, status="ISSUED", credentials=[CONTAINER]),
    wire.message("CredentialStatus", **PIDS, status="RECEIVED"),
]


@pytest.mark.parametrize("good", GOOD, ids=lambda body: body["type"])
def test_the_models_refuse_what_the_schemas_refuse(good: dict[str, Any]) -> None:
    assert fits(good) in SHAPES
    wrong = [{"@context": []}, {"@context": "x"}, {"type": "Other"}, {"more": 1}]
    wrong += [{name: 7} for name in good] + [{"status": "DONE"}]
    for change in wrong:
        with pytest.raises((AssertionError, KeyError)):
            fits({**good, **change})
    spare = {"credentials"} if good["type"] == "CredentialMessage" else set()  # of a rejection
    for name in good.keys() - spare:
        with pytest.raises((AssertionError, KeyError)):
            fits({key: value for key, value in good.items() if key != name})
