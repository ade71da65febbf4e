"""Applications as TDS messages †: bodies are ours alone.

In: message bodies of peers. Out: verbs of `apps`, on the author's side and the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yunhe.apps import Apps
from yunhe.identity import Peer
from yunhe.protocols.tds.router import Handler

_Verb = Callable[[str, dict[str, Any]], dict[str, Any]]


def programs(apps: Apps) -> dict[str, Handler]:
    """The handlers of every message about applications; each is idempotent by the ids in it."""
    return {name: _handler(verb) for name, verb in apps.messages().items()}


def _handler(verb: _Verb) -> Handler:
    def handle(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        return verb(peer.did, {name: of for name, of in body.items() if name != "messageId"})

    return handle
