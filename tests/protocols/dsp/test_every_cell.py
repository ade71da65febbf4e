"""Every cell of both state tables over HTTP: what is allowed moves, the rest changes nothing.

The expected outcome is read from the same two visible tables as the rules themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tck.node import KIT, US, Cut
from tck.script import USE

from protocols.dsp import shapes
from protocols.dsp.web import AppClient
from yunhe.contracts import (
    Agreement,
    Draft,
    Negotiation,
    Side,
    State,
    Transfer,
    TransferState,
    store,
)
from yunhe.kernel.db import Tx
from yunhe.protocols.dsp import OdrlAgreement

FIXTURES = Path(__file__).parents[2] / "contracts" / "fixtures"
BASE = "/dsp/2025-1"
PRODUCT = "CAT0101"
TAILS = {
    "request": ("request", "ContractRequestMessage"),
    "offer": ("offers", "ContractOfferMessage"),
    "accept": ("events", "ContractNegotiationEventMessage"),
    "agree": ("agreement", "ContractAgreementMessage"),
    "verify": ("agreement/verification", "ContractAgreementVerificationMessage"),
    "finalize": ("events", "ContractNegotiationEventMessage"),
    "terminate": ("termination", "ContractNegotiationTerminationMessage"),
}
TRANSFER_TAILS = {
    "start": ("start", "TransferStartMessage"),
    "suspend": ("suspension", "TransferSuspensionMessage"),
    "complete": ("completion", "TransferCompletionMessage"),
    "terminate": ("termination", "TransferTerminationMessage"),
}
SIDES = {"C": Side.CONSUMER, "P": Side.PROVIDER}


def cells(name: str) -> list[tuple[str, str, Side, str]]:
    """(state, message, sender, next state or '.'), without the row of what does not exist yet."""
    text = (FIXTURES / name).read_text()
    head, *rows = [line.split() for line in text.strip().splitlines()]
    return [
        (row[0], column.split("/")[0], SIDES[column[-1]], cell)
        for row in rows
        if row[0] != "-"
        for column, cell in zip(head[1:], row[1:], strict=True)
    ]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    """A node that answers nothing by itself, and whose outbox stands still."""
    silent = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200)))
    made = Cut(tmp_path_factory.mktemp("cells"), "https://cut.example", "https://kit", silent)
    made.script = replace(made.script, flows={})
    yield made
    made.stop()


def document(tx: Tx, role: Side) -> Agreement:
    """An agreement on the terms that stand on every table here."""
    parties = (US, KIT) if role is Side.PROVIDER else (KIT, US)
    draft = Draft(f"urn:uuid:{tx.new_id()}", "X", *parties, USE, tx.now)
    written = OdrlAgreement().write(draft)
    return Agreement(draft.id, written, "X", *parties, USE, tx.now)


def negotiation_in(cut: Cut, state: str, role: Side) -> Negotiation:
    """A negotiation of ours in any state."""
    begun = cut.contracts.request(KIT, "https://kit", "X", "o", USE)

    def shape(tx: Tx) -> Negotiation:
        agreement = document(tx, role) if state in ("AGREED", "VERIFIED", "FINALIZED") else None
        if agreement is not None:
            store.insert_agreement(tx, agreement)
        made = replace(
            begun, role=role, state=State(state), peer_pid=f"kit-{begun.id}", agreement=agreement
        )
        store.save_negotiation(tx, made)
        return made

    return cut.db.write(shape)


def said(n: Negotiation, verb: str) -> dict[str, Any]:
    offer = {"@id": "o2", "@type": "Offer", "target": "X", "permission": [{"action": "use"}]}
    parties = (US, KIT) if n.role is Side.PROVIDER else (KIT, US)
    match verb:
        case "request" | "offer":
            return {"offer": offer}
        case "accept" | "finalize":
            return {"eventType": "ACCEPTED" if verb == "accept" else "FINALIZED"}
        case "agree":
            named = {"@id": f"a-{n.id}", "@type": "Agreement"}
            return {"agreement": {**offer, **named, "assigner": parties[0], "assignee": parties[1]}}
    return {}


def post(cut: Cut, kind: str, talk: Any, tail: tuple[str, str], more: Any) -> httpx.Response:
    body = {
        "@type": tail[1],
        "providerPid": talk.provider_pid,
        "consumerPid": talk.consumer_pid,
        **more,
    }
    got = AppClient(cut.app).post(f"{BASE}/{kind}/{talk.id}/{tail[0]}", json=body)
    shapes.check(got.json())
    return got


@pytest.mark.parametrize(("state", "verb", "sender", "expected"), cells("negotiation_states.txt"))
def test_negotiation(cut: Cut, state: str, verb: str, sender: Side, expected: str) -> None:
    n = negotiation_in(cut, state, sender.other)
    got = post(cut, "negotiations", n, TAILS[verb], said(n, verb))
    after = cut.contracts.negotiation(n.id)
    if expected == ".":
        assert got.status_code == 400, got.text
        assert got.json()["@type"] == "ContractNegotiationError"
        assert (after.state, after.version) == (state, n.version)
    else:
        assert got.status_code == 200, got.text
        assert after.state == expected


def transfer_in(cut: Cut, state: str, role: Side) -> Transfer:
    contract_id = "ATPC0101" if role is Side.CONSUMER else "ATP0101"
    begun = cut.contracts.request_transfer("ATPC0101")
    made = replace(
        begun,
        role=role,
        state=TransferState(state),
        peer_pid=f"kit-{begun.id}",
        contract_id=contract_id,
    )
    cut.db.write(lambda tx: store.save_transfer(tx, made))
    return made


TRANSFERS = [cell for cell in cells("transfer_states.txt") if cell[1] != "request"]


@pytest.mark.parametrize(("state", "verb", "sender", "expected"), TRANSFERS)
def test_transfer(cut: Cut, state: str, verb: str, sender: Side, expected: str) -> None:
    t = transfer_in(cut, state, sender.other)
    got = post(cut, "transfers", t, TRANSFER_TAILS[verb], {})
    after = cut.contracts.transfer(t.id)
    if expected == ".":
        assert got.status_code == 400, got.text
        assert got.json()["@type"] == "TransferError"
        assert after == t
    else:
        assert got.status_code == 200, got.text
        assert after.state == expected
