"""A node in its TCK configuration: the real services and protocol, seeds, a script, two triggers.

In: a folder, its own address and the kit's. Out: `Cut`, the connector under test, with its app.
What differs from node.py of the house: every caller is TCK_PARTICIPANT, the products are the
kit's datasets, the agreements of its transfer tests stand already, and the script decides.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from tck.script import USE, Script, decision
from yunhe import contracts, evidence, identity, migrations
from yunhe.contracts import store
from yunhe.kernel import limits
from yunhe.kernel.clock import SystemClock
from yunhe.kernel.db import Tx, open_database
from yunhe.kernel.egress import Egress
from yunhe.kernel.keys import KeyStore
from yunhe.kernel.outbox import Outbox
from yunhe.protocols import dsp

KIT = "TCK_PARTICIPANT"
US = "did:web:localhost"
PAUSE_S = 0.25  # the kit sets up its handlers step by step, and reads a state 100 ms after


@dataclass(frozen=True)
class Caller:
    """Every caller: contracts.Party without a key, so that the transport alone vouches."""

    did: str = KIT
    jwk: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset of the kit: contracts.OfferedProduct."""

    code: str
    terms: contracts.Terms = field(default_factory=lambda: contracts.Terms((), ()))
    negotiable: contracts.Terms | None = None


def _token(_did: str) -> str:
    return KIT


def _anyone(_request: Request) -> Caller:
    return Caller()


@dataclass(frozen=True)
class Datasets:
    """The kit's datasets as the catalogue reads them: dsp.Shelf."""

    codes: Sequence[str]

    def beside(self, code: str, back: bool, limit: int, caller: str) -> list[dsp.CatalogEntry]:
        """See dsp.Shelf."""
        ordered = reversed(self.codes) if back else self.codes
        rest = [c for c in ordered if not code or (c < code if back else c > code)]
        return [self._shown(c) for c in rest[:limit]]

    def entry(self, code: str, caller: str) -> dsp.CatalogEntry | None:
        """See dsp.Shelf."""
        return self._shown(code) if code in self.codes else None

    @staticmethod
    def _shown(code: str) -> dsp.CatalogEntry:
        return dsp.CatalogEntry(code, "", code, "", "", (), USE)


class NegotiationTrigger(BaseModel):
    """What the kit posts to have us begin a negotiation."""

    providerId: str  # noqa: N815
    offerId: str  # noqa: N815
    datasetId: str  # noqa: N815
    connectorAddress: str  # noqa: N815


class TransferTrigger(BaseModel):
    """What the kit posts to have us begin a transfer."""

    agreementId: str  # noqa: N815
    format: str


class Cut:
    """The connector under test. `start` it, serve its `app`, `stop` it."""

    def __init__(
        self,
        folder: Path,
        address: str,
        kit_address: str,
        http: httpx.Client | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.base = address + dsp.PATH
        self.script = Script()
        self.db = open_database(f"sqlite:///{folder / 'tck.db'}", SystemClock())
        migrations.upgrade(self.db)
        keys = KeyStore(folder / "keys")
        self.evidence = evidence.EvidenceLog(self.db, keys.key("log"), "localhost/log")
        self.evidence.install()
        self.contracts = contracts.Contracts(
            self.db,
            self.evidence,
            keys.key("did"),
            US,
            dsp.OdrlAgreement(),
            self._product,
            callback=self.base,
            data_endpoint=f"{address}/data",
            decider=self.script,
        )
        self.outbox = Outbox(self.db)
        self.contracts.install(self.outbox)
        self._http = http or identity.GuardedClient(Egress(local=True), limits.PEER_CALL_S_MAX)
        now = self.db.clock.now
        client = dsp.DspClient(self._http, _token)
        self._replies = dsp.Replies(self.outbox.later)
        dsp.DspDelivery(self.contracts, client, now, self._replies).install(self.outbox)
        self._pause_s = pause_s
        self._times: Counter[tuple[str, str]] = Counter()
        self.db.events.on(contracts.NegotiationMoved, self._negotiation_moved)
        self.db.events.on(contracts.TransferMoved, self._transfer_moved)
        self.db.write(lambda tx: self._seed(tx, kit_address))
        self.app = self._app()

    def _product(self, code: str) -> Dataset | None:
        return Dataset(code) if code in self._datasets() else None

    def _datasets(self) -> list[str]:
        offered = [f.key for f in self.script.flows.values() if f.group == "CN"]
        return [*offered, "CAT0101", "CAT0102"]

    def _seed(self, tx: Tx, kit_address: str) -> None:
        """The agreements of the kit's transfer tests, as if they had been negotiated."""
        for flow in self.script.flows.values():
            if flow.group in ("TP", "TP_C"):
                role = contracts.Side.PROVIDER if flow.group == "TP" else contracts.Side.CONSUMER
                self._seed_one(tx, flow.key, role, kit_address)

    def _seed_one(self, tx: Tx, id_: str, role: contracts.Side, address: str) -> None:
        ours = role is contracts.Side.PROVIDER
        draft = contracts.Draft(
            id=id_,
            product_code="CAT0101",
            provider_did=US if ours else KIT,
            consumer_did=KIT if ours else US,
            policy=USE,
            at=tx.now,
        )
        agreement = contracts.Agreement(
            id=id_,
            document=dsp.OdrlAgreement().write(draft),
            product_code=draft.product_code,
            provider_did=draft.provider_did,
            consumer_did=draft.consumer_did,
            policy=USE,
            signed_at=tx.now,
        )
        store.insert_agreement(tx, agreement)
        entry = self.evidence.record(tx, "contract.in_force", {"contract": id_})
        contract = contracts.Contract(
            id=id_,
            role=role,
            peer_did=KIT,
            address=address,
            product_code=draft.product_code,
            policy=USE,
            state="in_force",
            version=1,
            agreement=agreement,
            negotiation_id="",
            in_force_at=tx.now,
            entry_id=entry.entry_id,
        )
        store.insert_contract(tx, contract)

    # -- what the script says unasked --------------------------------------------------------

    def _negotiation_moved(self, tx: Tx, event: contracts.NegotiationMoved) -> None:
        tx.after_commit(lambda: self._later(self._go_on, event.negotiation_id, event.state.value))

    def _transfer_moved(self, tx: Tx, event: contracts.TransferMoved) -> None:
        tx.after_commit(lambda: self._later(self._carry_on, event.transfer_id, event.state.value))

    def _later(self, act: Any, id_: str, state: str) -> None:
        times = self._times[id_, state]
        self._times[id_, state] += 1
        timer = threading.Timer(self._pause_s, act, (id_, state, times))
        timer.daemon = True
        timer.start()

    def _go_on(self, id_: str, state: str, _times: int) -> None:
        n = self.contracts.negotiation(id_)
        word = self.script.negotiation_word(n)
        if n.state.value == state and word.startswith("~"):
            with contextlib.suppress(contracts.VerbOutOfOrder):  # the kit moved it meanwhile
                self.contracts.act(id_, decision(word))

    def _carry_on(self, id_: str, state: str, times: int) -> None:
        t = self.contracts.transfer(id_)
        word = self.script.transfer_word(t, times)
        if t.state.value == state and word.startswith("~"):
            with contextlib.suppress(contracts.VerbOutOfOrder):
                self.contracts.act_transfer(id_, contracts.TransferVerb(word[1:]))

    # -- faces -------------------------------------------------------------------------------

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(dsp.version_router())
        catalog = dsp.Catalog(US, self.base, Datasets(sorted(self._datasets())))
        now = self.db.clock.now
        app.include_router(dsp.router(self.contracts, catalog, _anyone, now, True, self._replies))

        @app.post("/tck/negotiations/requests")
        def negotiate(wish: NegotiationTrigger) -> Response:
            self.contracts.request(
                wish.providerId, wish.connectorAddress, wish.datasetId, wish.offerId, USE
            )
            return Response()

        @app.post("/tck/transfers/requests")
        def transfer(wish: TransferTrigger) -> Response:
            self.contracts.request_transfer(wish.agreementId, wish.format)
            return Response()

        return app

    def start(self) -> None:
        """Start sending and sequencing."""
        self.evidence.start()
        self.outbox.start()

    def stop(self) -> None:
        """Stop; the folder may be removed then."""
        self.outbox.stop()
        self.evidence.stop()
        self._http.close()
        self.db.close()
