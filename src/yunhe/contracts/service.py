"""The verbs of the slice, as one object a node.

In: wishes of our users, messages of peers, reports of the outbox. Out: negotiations, contracts,
transfers. Each verb is one transaction; the work is in negotiate_provider.py,
negotiate_consumer.py, lifecycle.py, transfers.py, receive.py and sent.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from yunhe.contracts import (
    idle,
    lifecycle,
    negotiate_consumer,
    negotiate_provider,
    receive,
    sent,
    store,
    transfers,
)
from yunhe.contracts.copies import SOUND, Copies
from yunhe.contracts.datatokens import DataTokens
from yunhe.contracts.decide import AutomaticDecider, Decider, Decision
from yunhe.contracts.desk import AgreementForm, Desk, Recorder, ours
from yunhe.contracts.errors import (
    AccessNotReady,
    ContractAltered,
    ContractUnknown,
    NegotiationUnknown,
    TransferUnknown,
)
from yunhe.contracts.messages import (
    MESSAGES,
    ContractAgreement,
    ContractVerification,
    Message,
    NegotiationMessage,
    TransferMessage,
)
from yunhe.contracts.model import (
    Access,
    Contract,
    DataAddress,
    DataClaims,
    Negotiation,
    OfferedProduct,
    OpenMax,
    Party,
    Side,
    Signer,
    SignerOf,
    Strategy,
    Transfer,
    Why,
)
from yunhe.contracts.policy import Policy, Terms, policy_from_terms
from yunhe.contracts.pushes import Pushes
from yunhe.contracts.rules import TransferVerb, Verb
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.keys import JoseName, SigningKey, jws_kid, own_name
from yunhe.kernel.outbox import Outbox, pending

_POLL_S = 0.05


class Contracts:
    """Negotiation, contracts and transfers of one node."""

    def __init__(
        self,
        db: Database,
        evidence: Recorder,
        key: SigningKey,
        did: str,
        form: AgreementForm,
        products: Callable[[str], OfferedProduct | None],
        callback: str,
        data_endpoint: str,
        decider: Decider | None = None,
        formats: tuple[str, ...] = (transfers.PULL,),
        jose_name: JoseName = own_name,
        signer_of: SignerOf | None = None,
        open_max: OpenMax | None = None,
        copies: Copies | None = None,
    ) -> None:
        """`key` is the node's did key; `products(code)` finds a listed product of ours;
        `callback` is our DSP base URL; `data_endpoint` is where our data plane answers, which
        serves `formats` of transfers; `jose_name(did)` is the algorithm's name the peer reads;
        `signer_of(did, jws)` the peer's key that made a signature, also one before its present
        key, and may fetch; `open_max`: how much one counterparty may have open;
        `copies` tells, before each use, whether a contract's rows are what was signed."""
        self._db = db
        self._tokens = DataTokens(key, did)
        self._signer_of = signer_of
        self._copies = copies
        self._desk = Desk(
            db=db,
            evidence=evidence,
            key=key,
            did=did,
            form=form,
            products=products,
            decider=decider or AutomaticDecider(),
            callback=callback,
            data_endpoint=data_endpoint,
            formats=formats,
            jose_name=jose_name,
            open_max=open_max or OpenMax(),
        )
        self._idle_at = db.clock.now()
        self.pushes = Pushes(self._desk)

    def install(self, outbox: Outbox) -> None:
        """Hear from the outbox what became of our messages."""
        desk = self._desk
        for message in MESSAGES:
            outbox.on_delivered(message.kind, sent.delivered)
            outbox.on_gave_up(message.kind, lambda tx, told, why: sent.gave_up(desk, tx, told, why))

    # --- negotiation ------------------------------------------------------------------------

    def request(
        self,
        peer_did: str,
        address: str,
        product_code: str,
        offer_id: str,
        terms: Terms | Policy,
        strategy: Strategy | None = None,
    ) -> Negotiation:
        """As consumer, ask the provider at `address` (its DSP base URL) for the product."""
        policy = policy_from_terms(terms) if isinstance(terms, Terms) else terms
        return self._db.write(
            lambda tx: negotiate_consumer.open_request(
                self._desk, tx, peer_did, address, product_code, (offer_id, policy), strategy
            )
        )

    def offer(
        self, peer_did: str, address: str, product_code: str, terms: Terms | Policy
    ) -> Negotiation:
        """As provider, offer the product to a consumer unasked."""
        policy = policy_from_terms(terms) if isinstance(terms, Terms) else terms
        return self._db.write(
            lambda tx: negotiate_provider.open_offer(
                self._desk, tx, peer_did, address, product_code, policy
            )
        )

    def receive(
        self, message: Message, peer: Party, admit: Callable[[Tx], Party] | None = None
    ) -> Negotiation | Transfer:
        """Take a peer's message and answer it, in one transaction.

        `admit` comes first in it: it spends the peer's token, and says who the peer is.
        """
        known, signer = peer, self._signer(message, peer)

        def hear(tx: Tx) -> Negotiation | Transfer:
            peer = known if admit is None else admit(tx)
            peer = peer if signer is None else Signer(peer.did, signer)
            if isinstance(message, NegotiationMessage):
                return receive.negotiation_message(self._desk, tx, message, peer)
            if isinstance(message, TransferMessage):
                return receive.transfer_message(self._desk, tx, message, peer)
            raise TypeError(type(message).__name__)

        return self._db.write(hear)

    def _signer(self, message: Message, peer: Party) -> Mapping[str, Any] | None:
        """The key of a peer that signed a document with another than its token.

        Documents wait in an outbox, and keys are rotated meanwhile. Before the verb: it may fetch.
        """
        if not isinstance(message, ContractAgreement | ContractVerification):
            return None
        if not message.signature or self._signer_of is None or peer.jwk is None:
            return None
        if jws_kid(message.signature) in (None, peer.jwk.get("kid")):
            return None
        return self._signer_of(peer.did, message.signature)

    def act(self, negotiation_id: str, decision: Decision) -> Negotiation:
        """Say what a user or a script decided; raises NegotiationUnknown, VerbOutOfOrder."""
        return self._db.write(
            lambda tx: receive.act(self._desk, tx, ours(tx, negotiation_id), decision)
        )

    def accept(self, negotiation_id: str) -> Negotiation:
        """Take the other's terms: the consumer accepts the offer, the provider agrees."""

        def yes(tx: Tx) -> Negotiation:
            n = ours(tx, negotiation_id)
            verb = Verb.ACCEPT if n.role is Side.CONSUMER else Verb.AGREE
            return receive.act(self._desk, tx, n, Decision(verb))

        return self._db.write(yes)

    def counter(self, negotiation_id: str, terms: Terms | Policy) -> Negotiation:
        """Answer with own terms."""
        policy = policy_from_terms(terms) if isinstance(terms, Terms) else terms

        def answer(tx: Tx) -> Negotiation:
            n = ours(tx, negotiation_id)
            verb = Verb.REQUEST if n.role is Side.CONSUMER else Verb.OFFER
            return receive.act(self._desk, tx, n, Decision(verb, policy))

        return self._db.write(answer)

    def terminate_negotiation(self, negotiation_id: str, reason: str) -> Negotiation:
        """End a negotiation that is not final yet."""
        why = Why("BY_CHOICE", (reason,) if reason else ())
        return self.act(negotiation_id, Decision(Verb.TERMINATE, why=why))

    def negotiation(self, negotiation_id: str) -> Negotiation:
        """One negotiation, with the next retry time where a message waits for its peer."""

        return self._db.read(lambda tx: _talk(tx, negotiation_id))

    def outcome(self, negotiation_id: str) -> tuple[Negotiation, Contract | None]:
        """One negotiation, and the contract where it has come to one, of one moment."""

        def find(tx: Tx) -> tuple[Negotiation, Contract | None]:
            n = _talk(tx, negotiation_id)
            return n, _bond(tx, n.contract_id) if n.contract_id else None

        return self._db.read(find)

    def standing(self, negotiation_id: str) -> tuple[int, str]:
        """The version of a negotiation and whom it waits for (see Negotiation.waiting_for).

        Read alone; raises NegotiationUnknown.
        """

        def find(tx: Tx) -> tuple[int, str]:
            found = store.standing(tx, negotiation_id)
            if found is None:
                raise NegotiationUnknown
            return found

        return self._db.read(find)

    def negotiations(self, limit: int = limits.CONTRACT_LIST_MAX) -> list[Negotiation]:
        """The latest negotiations first; those whose message waits for its peer say so."""

        def find(tx: Tx) -> list[Negotiation]:
            found = store.list_negotiations(tx, limit)
            return [replace(n, **_stuck(tx, n.id)) if n.waiting_for else n for n in found]

        return self._db.read(find)

    def wait(self, negotiation_id: str, since_version: int, wait_s: float) -> Negotiation:
        """The negotiation once its version exceeds `since_version`, or after `wait_s`."""
        until = time.monotonic() + wait_s
        while True:
            rung = self._desk.bell.rung()
            n = self.negotiation(negotiation_id)
            left = until - time.monotonic()
            if n.version > since_version or left <= 0:
                return n
            self._desk.bell.wait(rung, min(_POLL_S, left))

    # --- contracts --------------------------------------------------------------------------

    def contract(self, contract_id: str) -> Contract:
        """One contract in any state, with what waits for its peer; raises ContractUnknown."""

        return self._db.read(lambda tx: _bond(tx, contract_id))

    def contracts(
        self,
        state: str | None = None,
        product_code: str | None = None,
        limit: int = limits.CONTRACT_LIST_MAX,
    ) -> list[Contract]:
        """The latest contracts first; `state`: in_force, terminated, expired."""
        return self._db.read(lambda tx: store.list_contracts(tx, limit, state, product_code))

    def in_force(self, contract_id: str, peer_did: str | None = None) -> Contract:
        """The contract, if it binds now; raises ContractUnknown, -Terminated, -Expired, and
        ContractAltered where our copy is not what was signed."""
        return self._sound(
            self._db.read(
                lambda tx: lifecycle.in_force(tx, contract_id, self._db.clock.now(), peer_did)
            )
        )

    def _sound(self, contract: Contract) -> Contract:
        """The contract, unless its copy was changed: that is evidenced once and refused."""
        part, fresh = (SOUND, False) if self._copies is None else self._copies.look(contract)
        if part == SOUND:
            return contract
        if fresh:

            def tell(tx: Tx) -> None:
                body = {"contract": contract.id, "part": part, "at": iso(tx.now)}
                self._desk.evidence.record(tx, "contract.altered", body)

            self._db.write(tell)
        raise ContractAltered(contract_id=contract.id, part=part)

    def terminate(self, contract_id: str, reason: str, by: str = "") -> Contract:
        """End a contract at the commit and tell the peer; again is a no-op."""
        why = Why("CONTRACT_TERMINATED", (reason,) if reason else ())
        return self._db.write(
            lambda tx: lifecycle.terminate(self._desk, tx, contract_id, why, by or self._desk.did)
        )

    def expire_due(self, limit: int = limits.CONTRACT_LIST_MAX) -> int:
        """Write down the end of contracts whose time has come; for the node's timer."""
        return self._db.write(lambda tx: lifecycle.expire_due(self._desk, tx, limit))

    def end_idle(self, limit: int = limits.CONTRACT_LIST_MAX) -> int:
        """End what nobody goes on with, once an hour however often it is called; how many."""
        now = self._db.clock.now()
        if now < self._idle_at:
            return 0
        found = self._db.write(lambda tx: idle.end_idle(self._desk, tx, limit))
        if found < limit:
            self._idle_at = now + timedelta(seconds=limits.IDLE_SWEEP_S)
        return found

    # --- transfers --------------------------------------------------------------------------

    def request_transfer(
        self,
        contract_id: str,
        format_: str = transfers.PULL,
        data_address: DataAddress | None = None,
    ) -> Transfer:
        """As consumer, ask the provider to open its data address, or to push to `data_address`."""
        return self._db.write(
            lambda tx: transfers.request(self._desk, tx, contract_id, format_, data_address)
        )

    def access(self, contract_id: str, wait_s: float = 10.0) -> Access:
        """As consumer, where and with which token to fetch; opens or renews it when needed.

        A token near its end is renewed in the background, a missing one is waited for. Raises
        AccessNotReady, and as `in_force`.
        """
        until = time.monotonic() + wait_s
        asked = False
        while True:
            rung = self._desk.bell.rung()
            now = self._db.clock.now()
            contract, data, refused = self._usable(contract_id, now)
            self._sound(contract)
            fresh_until = now + timedelta(seconds=limits.DATA_TOKEN_RENEW_S)
            if (data is None or data.expires_at <= fresh_until) and not asked:
                asked = True
                rung += self._db.write(lambda tx: self._ask(tx, contract_id))  # that is no news
                if data is None:
                    self._desk.bell.wait(rung, min(_POLL_S, until - time.monotonic()))
                    continue
            if data is not None:
                return Access(contract, data.endpoint, data.token, data.expires_at)
            self._wait_for_access(contract_id, refused, rung, until)

    def _usable(
        self, contract_id: str, now: datetime
    ) -> tuple[Contract, DataAddress | None, Why | None]:
        """The contract, the present data address, and without one why the last was refused."""

        def find(tx: Tx) -> tuple[Contract, DataAddress | None, Why | None]:
            contract = lifecycle.in_force(tx, contract_id, now)
            data = transfers.usable(tx, contract_id, now)
            refused = transfers.last_refusal(tx, contract_id) if data is None else None
            return contract, data, refused

        return self._db.read(find)

    def _ask(self, tx: Tx, contract_id: str) -> bool:
        """Whether it was asked for: where an answer is awaited, it is not asked again."""
        wanted = not transfers.awaited(tx, contract_id, tx.now)
        if wanted:
            transfers.request(self._desk, tx, contract_id)
        return wanted

    def _wait_for_access(
        self, contract_id: str, refused: Why | None, rung: int, until: float
    ) -> None:
        left = until - time.monotonic()
        if refused is not None or left <= 0:
            if refused is None:
                raise AccessNotReady(
                    contract_id=contract_id, why="no answer yet", why_zh="尚无应答"
                )
            en, zh = (" ".join((refused.code, refused.text(lang))).strip() for lang in ("en", "zh"))
            raise AccessNotReady(
                contract_id=contract_id, why=en.rstrip("."), why_zh=zh.rstrip("。")
            )
        self._desk.bell.wait(rung, min(_POLL_S, left))

    def authenticate_data_token(self, token: str, peer_did: str) -> DataClaims:
        """As provider, what a data token allows `peer_did`; see transfers.read_token."""
        now = self._db.clock.now()
        claims = self._tokens.claims(token)
        return self._db.read(lambda tx: transfers.read_token(tx, claims, peer_did, now))

    def addressed(self, transfer_id: str) -> Transfer:
        """The transfer with the address that our start or request, about to leave, says of it.

        A pull's address has a fresh token.
        """
        t = self.transfer(transfer_id)
        told = transfers.told_address(self._desk, t, self._db.clock.now())
        push = self.pushes.find(transfer_id) if told and t.format == transfers.PUSH else None
        if told is not None and push is not None:
            told = replace(told, method=push.method, ranged=push.ranged)
        return replace(t, data_address=told)

    def transfer(self, transfer_id: str) -> Transfer:
        """One transfer; raises TransferUnknown."""

        def find(tx: Tx) -> Transfer:
            found = store.transfer(tx, transfer_id)
            if found is None:
                raise TransferUnknown
            return found

        return self._db.read(find)

    def transfers(self, contract_id: str) -> list[Transfer]:
        """The latest transfers of a contract first."""
        return self._db.read(lambda tx: store.transfers_of(tx, contract_id))

    def act_transfer(self, transfer_id: str, verb: TransferVerb, reason: str = "") -> Transfer:
        """Start (resume), suspend, complete or terminate from our side."""
        why = Why("BY_CHOICE", (reason,)) if reason else None
        return self._db.write(
            lambda tx: transfers.say(self._desk, tx, transfers.ours(tx, transfer_id), verb, why)
        )


def _talk(tx: Tx, negotiation_id: str) -> Negotiation:
    n = store.negotiation(tx, negotiation_id)
    if n is None:
        raise NegotiationUnknown
    return replace(n, **_stuck(tx, n.id))


def _bond(tx: Tx, contract_id: str) -> Contract:
    found = store.contract(tx, contract_id)
    if found is None:
        raise ContractUnknown
    talks = [t.id for t in store.transfers_of(tx, contract_id)[: limits.TRANSFERS_OPEN_MAX]]
    return replace(found, **_stuck(tx, found.negotiation_id, *talks))


def _stuck(tx: Tx, *conversations: str) -> dict[str, Any]:
    """What the first message says that failed and waits to be sent again; empty: none does."""
    for conversation in conversations:
        for waiting in pending(tx, conversation):
            if waiting["state"] == "pending" and waiting["attempts"]:
                why = waiting["last_error"] or ""
                return {"next_retry": waiting["next_at"], "stuck_because": why}
    return {}
