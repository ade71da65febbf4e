"""An internet in one process, with a provider, a consumer and a node that decides by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from protocols.dsp.web import Internet, WebNode
from yunhe.contracts import (
    AutomaticDecider,
)


@pytest.fixture
def net() -> Internet:
    return Internet()


@pytest.fixture
def provider(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    node = WebNode(tmp_path, "provider", net)
    yield node
    node.close()


@pytest.fixture
def consumer(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    node = WebNode(tmp_path, "consumer", net)
    yield node
    node.close()


@pytest.fixture
def manual(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    """A provider that holds every request, addressed by a peer that is not there."""
    net.fail = lambda request: httpx.Response(200) if "tck" in str(request.url) else None
    node = WebNode(tmp_path, "manual", net, AutomaticDecider(manual=True))
    yield node
    node.close()
