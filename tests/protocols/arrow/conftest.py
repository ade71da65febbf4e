"""The relay and its provider, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.arrow.providers import Books, Desk, Provider
from yunhe.contracts import Access
from yunhe.kernel.egress import Egress
from yunhe.protocols import arrow


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A consumer's relay whose contract points at a provider under the test's control."""
    provider, books = Provider(), Books()
    endpoint = [f"http://127.0.0.1:{provider.port}/data/v1/query"]
    token = ["token"]
    contract: Any = SimpleNamespace(id="c", peer_did="did:web:p.example")
    ends = datetime.now(UTC) + timedelta(minutes=5)
    parts: Any = SimpleNamespace(
        access=lambda _id, _wait=0.0: Access(contract, endpoint[0], token[0], ends),
    )
    relay = arrow.Relay(parts, lambda _did: "peer-token", books, books.receipt, Egress(local=True))
    yield Desk(relay, provider, books, endpoint, token)
    provider.close()
    relay.close()
