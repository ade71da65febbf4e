"""A key is rotated while the two negotiate: what waits in the outbox bears the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.nodes import LISTED, Node, Pair
from yunhe.contracts import ContractAgreement, ContractVerification
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.keys import jws_kid


class Documents:
    """The keys that each DID has had, by their names, as its document lists them."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.asked = 0

    def signer_of(self, _did: str, jws: str) -> Any:
        self.asked += 1
        return self.keys[str(jws_kid(jws))]


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def pair(tmp_path: Path, clock: ManualClock, documents: Documents) -> Pair:
    nodes = [
        Node(tmp_path, name, clock, signer_of=documents.signer_of)
        for name in ("provider", "consumer")
    ]
    for node in nodes:
        documents.keys[node.key.kid] = node.key.public_jwk()
    return Pair(nodes[0], nodes[1])


@pytest.mark.parametrize("waits", [ContractAgreement, ContractVerification])
def test_a_document_signed_before_the_rotation_is_the_signers(
    pair: Pair, documents: Documents, waits: type
) -> None:
    n = pair.request(LISTED)
    signer = pair.provider if waits is ContractAgreement else pair.consumer
    while not any(letter.kind == waits.kind for letter in signer.pending()):
        pair.step(next(node for node in (pair.consumer, pair.provider) if node.pending()))
    signer.rotate()
    pair.pump()
    contract = pair.consumer.contracts.contract(
        pair.consumer.contracts.negotiation(n.id).contract_id
    )
    assert contract.signature_level == "both"
    assert pair.provider.contracts.contract(contract.id).signature_level == "both"
    assert documents.asked == 1


def test_nobody_is_asked_while_the_token_is_by_the_same_key(
    pair: Pair, documents: Documents
) -> None:
    pair.agree()
    assert documents.asked == 0
