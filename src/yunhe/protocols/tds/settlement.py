"""Receipts, statements and their answers as TDS messages †: bodies are ours alone.

In: message bodies of peers. Out: verbs of exchange; what is malformed never reaches a verb.
"""

from __future__ import annotations

from typing import Any

from yunhe.exchange import Exchange
from yunhe.identity import Peer
from yunhe.protocols.tds.router import Handler
from yunhe.vault import END, REPORT, Vault


def settlement(exchange: Exchange, vault: Vault) -> dict[str, Handler]:
    """The handlers of receipts, outcomes, statements, their answers, and the vault's notes.

    Each is idempotent by the id inside the signed document, so a repeat is answered alike.
    """

    def receipt(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        return exchange.receive_receipt(peer.did, body.get("receipt"), body.get("jws"))

    def statement(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        return exchange.receive_statement(peer.did, body.get("statement"), body.get("jws"))

    def answer(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        said = {name: value for name, value in body.items() if name != "messageId"}
        return exchange.receive_answer(peer.did, said)

    def outcome(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        return exchange.use_outcome(peer.did, body)

    def note(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        return vault.provider.reported(peer.did, body)

    def ended(body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        return vault.told_ended(peer.did, body)

    return {
        "SendReceipt": receipt,
        "GetUseOutcome": outcome,
        "SendStatement": statement,
        "AcknowledgeStatement": answer,
        REPORT: note,
        END: ended,
    }
