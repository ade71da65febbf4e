"""The composition root: builds every service of one node once and joins them.

In: a NodeConfig. Out: a `Node` with its HTTP app; the only file that knows all slices. No
business rule stands here, only who gives what to whom.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter
from starlette.types import ASGIApp

from yunhe import (
    api,
    apps,
    catalog,
    contracts,
    control,
    dataplane,
    evidence,
    exchange,
    fabric,
    federation,
    identity,
    ledger,
    migrations,
    monitor,
    sources,
    vault,
)
from yunhe.kernel import limits, logs
from yunhe.kernel.asgi import Hands, Threads
from yunhe.kernel.chores import Chores
from yunhe.kernel.clock import Clock, SystemClock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Tx, open_database
from yunhe.kernel.errors import ClockJumped, YunheError
from yunhe.kernel.head import bounded_server
from yunhe.kernel.keys import KeyStore, secret_file
from yunhe.kernel.outbox import Outbox
from yunhe.kernel.premises import data_folder, listening, settle
from yunhe.kernel.settings import NodeConfig
from yunhe.protocols import arrow, dcp, delta, dsp, flight, tds, tlog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offered:
    """A listed product as negotiation sees it: contracts.OfferedProduct."""

    code: str
    terms: contracts.Terms
    negotiable: contracts.Terms | None


class Node:
    """One node: connector, functional node, or both. `start` it, serve its `app`, `stop` it."""

    def __init__(self, config: NodeConfig, clock: Clock | None = None, holder: str = "") -> None:
        """`holder`: which of the node's several processes this is (`doors.py`)."""
        self.config = config
        self.holder_of_uses = holder
        self.clock = clock or SystemClock()
        self.crash = CrashPoints(config.crash)
        self.keys = KeyStore(config.data_dir / "keys")
        self.db = open_database(config.database, self.clock, self.crash)
        migrations.upgrade(self.db)
        self.outbox = Outbox(self.db, self.crash)
        self.figures = monitor.Figures()
        self._trust()
        self._supply()
        self._agreement()
        self._use()
        self._beyond()
        self.watched = self._watch()
        self.waiters = api.Waiters(alone=self.db.dialect == "sqlite")
        self.db.events.on(contracts.NegotiationMoved, self._moved)
        self.app: ASGIApp = api.create_app(self._services(), self._routers())
        self._timer = Chores("node-timer", limits.NODE_TICK_S, *self._chores())

    # -- building, in the order of the house ------------------------------------------------

    def _trust(self) -> None:
        origin = urlsplit(self.config.address).netloc + "/log"
        self.evidence = evidence.EvidenceLog(self.db, self.keys.key("log"), origin)
        self.evidence.install()
        self.identity = identity.Identity(
            self.db, self.evidence, self.keys, self.clock, self.config
        )

    def _supply(self) -> None:
        config = self.config
        self.sources = sources.of_node(config)
        self.supply = catalog.Supply(self.db, self.evidence, self.sources)
        holding = catalog.Holding(
            config.did, config.subject_code, config.subject_name, config.address
        )
        self.holder = catalog.Holder(
            self.db, self.evidence, self.sources, _read_terms, holding, _check_terms
        )
        self.register = catalog.Register(
            self.db,
            self.evidence,
            _read_terms,
            config.region,
            config.review,
            config.data_dir / "search",
            _check_terms,
            self.identity.ring.signer_of,
        )

    def _agreement(self) -> None:
        address, did = self.config.address, self.config.did
        form, signer_of = dsp.OdrlAgreement(), self.identity.ring.signer_of
        self.contracts = contracts.Contracts(
            self.db,
            self.evidence,
            self.keys.key("did"),
            did,
            form,
            self._offered,
            callback=address + dsp.PATH,
            data_endpoint=self.config.data_address + arrow.ENDPOINT,
            formats=(contracts.PULL, contracts.PUSH),
            jose_name=self.identity.jose_name,
            signer_of=signer_of,
            open_max=contracts.OpenMax(
                self.config.negotiations_open_max, self.config.transfers_open_max
            ),
            copies=contracts.Copies(form, did, signer_of, self.evidence),
        )
        self.contracts.install(self.outbox)
        self._http = identity.GuardedClient(self.config.egress, limits.PEER_CALL_S_MAX)
        claims = dcp.ClaimsClient(self._http, self.identity)
        self.verifier = dcp.Verifier(self.identity, claims)
        self.claims_delivery = dcp.ClaimsDelivery(claims, self.identity)
        self.claims_delivery.install(self.outbox)
        self.db.events.on(identity.CredentialStored, self._became_member)
        self.dsp_client = dsp.DspClient(self._http, dcp.Speaker(self.identity).mint)
        self.dsp_replies = dsp.Replies(self.outbox.later)
        dsp.DspDelivery(
            self.contracts,
            self.dsp_client,
            self.clock.now,
            self.dsp_replies,
            opening=lambda contract_id: self.plane.prepare(contract_id),
        ).install(self.outbox)

    def _use(self) -> None:
        config = self.config
        agreed = contracts.agreed_policy
        self.control = control.Control(self.db, self.evidence, self.holder_of_uses, agreed)
        self.ledger = ledger.Ledger(self.db)
        self.exchange = exchange.Exchange(
            self.db,
            self.evidence,
            self.control,
            self.ledger,
            config.did,
            self.keys.key("did"),
            self.identity.ring.signer_of,
            self.identity.jose_name,
        )
        self.pool = dataplane.Pool(
            config.workers,
            worker=dataplane.WorkerLimits.of(config),
            development=config.development,
        )
        secret = secret_file(config.data_dir / "keys" / "mask.key")
        self.tracing = vault.Tracing(self.db, secret)
        self._watermark = lru_cache(limits.POLICIES_CACHED_MAX)(self._mark_of)
        self.plane = dataplane.FeedingPlane(
            db=self.db,
            evidence=self.evidence,
            contracts=self.contracts,
            control=self.control,
            tables=self._tables,
            pool=self.pool,
            mask_secret=secret,
            crash=self.crash,
            supply=self.supply,
            databases=dataplane.Databases(self.sources.live, config.data_dir / "pulled"),
            region_of=self.identity.region_of,
            told=self.figures.query,
        )
        parts = (self.db, self.evidence, self.contracts, self.control, self.keys.key("did"))
        signer_of = self.identity.ring.signer_of
        self.vault = vault.of_node(*parts, self.identity, signer_of, self.exchange, config)
        self.sealed = dataplane.SealedSql(self.vault, self.pool)
        self.relay = arrow.Relay(
            self.contracts,
            self.identity.mint,
            self.exchange,
            self._received,
            config.egress,
        )
        use = (self.db, self.contracts, self.plane, self.control, self.exchange)
        may = self.identity.check_standing
        self.flight = self._flight() if config.flight_listen else None
        self.pusher, self.inbox = arrow.pushing(*use, may, self._received, self.vault, config)
        self.vault.keep_in(self.inbox.file)
        self.sharing = delta.sharing(self.db, self.evidence, self.contracts, self.relay, config)

    def _beyond(self) -> None:
        self.tds_client = tds.TdsClient(self.identity)
        wire = tds.TdsWire(self.tds_client, self.identity.address_of)
        self.federation = federation.Federation(
            self.db,
            self.identity,
            self.holder,
            self.register,
            self.outbox,
            self.config,
            wire,
        )
        self.federation.install()
        use = (self.contracts, self.exchange, self.federation, self.relay.describe, self._ask)
        self.fabric = fabric.of_node(self.db, fabric.Doors(*use), self.config)
        self.apps = apps.Apps.of(self._programs(wire))
        self.exchange.install(self.outbox)
        self.vault.install(self.outbox)
        wire.install(self.outbox)

    def _routers(self) -> list[APIRouter]:
        handlers = tds.handlers(self.federation, tds.settlement(self.exchange, self.vault))
        handlers |= tds.programs(self.apps)
        made = [tds.router(self.identity, handlers), tds.did_router(self.identity)]
        made.append(tlog.router(self.evidence))
        made.append(dcp.router(self.identity, self.config.address))
        callers = dsp.Callers(self.db, self.verifier, self.identity.refusals.refused)
        shown = dsp.Catalog(self.config.did, self.config.address + dsp.PATH, self._shelf())
        made.append(dsp.version_router(dcp.advertised()))
        if "connector" not in self.config.roles:
            made.append(dsp.catalog_router(shown, callers.authenticate))
            return made
        made += [
            dsp.router(
                self.contracts,
                shown,
                callers.authenticate,
                self.clock.now,
                self.config.development,
                self.dsp_replies,
                callers.sender,
            ),
            arrow.router(self.identity, self.contracts, self.plane, self.verifier.authenticate),
            arrow.inbox_router(self.inbox, self.identity.refusals.refused),
            self.sharing.router(self.identity.refusals.refused),
        ]
        return made

    def _shelf(self) -> dsp.Shelf:
        """What the DSP catalogue shows: own products, and a functional node's federation."""
        shelves: list[dsp.Shelf] = [dsp.OwnShelf(self.holder)]
        if "functional-node" in self.config.roles:
            shelves.append(dsp.FederationShelf(self.register, self.config.did, dsp.PATH))
        return dsp.Shelves(shelves) if len(shelves) > 1 else shelves[0]

    def _watch(self) -> monitor.Watched:
        parts = (self.db, self.outbox, self.evidence, self.pool, self.exchange, self.identity)
        schema = partial(migrations.standing, self.db)
        watched = monitor.Watched(self.config, *parts, self.federation, schema, self._http)
        self.figures.watch(watched)
        return watched

    def _services(self) -> api.Services:
        return api.Services(
            config=self.config,
            identity=self.identity,
            evidence=self.evidence,
            holder=self.holder,
            register=self.register,
            federation=self.federation,
            contracts=self.contracts,
            control=self.control,
            exchange=self.exchange,
            offers=lambda code, did, address: self.dsp_client.offers(address, did, code),
            dsp_base=self.dsp_client.versions.base,
            ask=self._ask,
            explain=self.plane.explain,
            left=self.relay.left,
            inbox=self.inbox,
            figures=self.figures,
            readiness=monitor.Readiness(self.watched),
            checks=monitor.Checks(self.watched),
            fabric=self.fabric,
            profiles=self.sharing.profiles,
            vault=self.vault,
            apps=self.apps,
            sealed=self.sealed,
            tracing=self.tracing,
            sent=self.pusher.sent,
            bundle=self._bundle,
            waiters=self.waiters,
            hands=Hands(limits.API_HANDS),
            queries=Threads(limits.QUERY_THREADS),
            streams=Threads(limits.STREAM_THREADS),
        )

    def _flight(self) -> flight.Face:
        parts = (self.identity, self.contracts, self.plane, self.relay)
        return flight.Face(self.config, *parts, self.verifier.authenticate)

    def _programs(self, wire: tds.TdsWire) -> apps.Desk:
        who, sign = self.identity, self.keys.key("did")
        return apps.Desk(
            self.db,
            self.evidence,
            self.contracts,
            self.control,
            self.plane,
            self._tables,
            apps.keys(self.config.did, sign, who.ring.signer_of),
            self.exchange,
            self._received,
            lambda did, name, body: wire.call(who.address_of(did), did, name, body),
            self.holder.add_resource,
            self.config,
            self.federation.author_of,
        )

    # -- what one slice asks of another -----------------------------------------------------

    def _offered(self, code: str) -> Offered | None:
        found = self.holder.on_offer(code, _on_offer)
        return None if found is None else Offered(code, *found)

    def _tables(self, contract: contracts.Contract) -> Mapping[str, dataplane.TableBinding]:
        product = self.holder.product(contract.product_code)
        return dataplane.bindings(product.tables)

    def _ask(
        self, contract_id: str, sql: str, purpose: str, use_id: str, principal: str
    ) -> arrow.Passing:
        asked = arrow.Asked(use_id, sql, purpose, principal)
        return self.relay.open(contract_id, asked)

    def _received(self, consumed: control.Consumed) -> None:
        marked = self._watermark(consumed.contract_id)
        self.db.write(lambda tx: self.exchange.record_receipt(tx, consumed, marked))

    def _mark_of(self, contract_id: str) -> str:
        return str(self.contracts.contract(contract_id).terms.watermark or "")

    def _moved(self, tx: Tx, event: contracts.NegotiationMoved) -> None:
        now = (event.version, event.waiting_for)
        # The last of the moves of a verb: those between were never seen.
        key = event.negotiation_id
        tx.after_commit(lambda: self.waiters.notify(key, now), key=(self.waiters, key))

    def _became_member(self, tx: Tx, event: identity.CredentialStored) -> None:
        # What foreign verifiers ask our wallet for, beside what our own kind takes inline.
        self.claims_delivery.request_membership(tx, event.issuer)

    def _bundle(self, contract_id: str, statement_id: str) -> dict[str, Any]:
        parties = (self.contracts, self.identity, self.evidence, self.exchange)
        signed = self.keys.key("did"), self.clock.now()
        return exchange.bundle(contract_id, *parties, *signed, statement_id)

    # -- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Recover what a crash left, then start the threads and the workers."""
        self.fabric.recover()
        self.control.recover(held=self.contracts.pushes.held_uses() | self.apps.host.held())
        if "connector" in self.config.roles:
            self.pool.start()
            self.pusher.start()
            self.apps.start()
        self.register.start()
        self.evidence.start()
        self.outbox.start()
        self.federation.start()
        self.exchange.sweep_uses(self._awaited)
        if self.flight is not None:
            self.flight.start()
        self._timer.start()

    def stop(self) -> None:
        """Stop in the opposite order; what is queued stays in the database."""
        self._timer.stop()
        if self.flight is not None:
            self.flight.stop()
        self.apps.stop()
        self.pusher.stop()
        self.federation.stop()
        self.outbox.stop()
        self.evidence.stop()
        self.register.stop()
        self.pool.stop()
        self.relay.close()
        self.tds_client.close()
        self._http.close()
        self.identity.close()
        self.db.close()

    def _chores(self) -> Sequence[Callable[[], object]]:
        return (
            self.contracts.expire_due,
            self.contracts.end_idle,
            self.identity.refusals.flush,
            self.plane.catch_up,
            self.inbox.sweep,
            self.sharing.files.sweep,
            self.vault.sweep,
            self.apps.host.sweep,
            lambda: self.exchange.sweep_uses(self._awaited),
        )

    def _awaited(self) -> set[str]:
        return self.relay.live() | self.inbox.live() | self.apps.runs.live()


def _read_terms(policy: dict[str, Any]) -> contracts.Terms:
    return contracts.terms_from_policy(contracts.Policy.from_json(policy))


def _on_offer(form: catalog.ProductForm) -> tuple[contracts.Terms, contracts.Terms | None]:
    bounds = None if form.bounds is None else _read_terms(form.bounds)
    return _read_terms(form.policy), bounds


def _check_terms(
    terms: contracts.Terms, tables: Sequence[catalog.Table], *, whole: bool
) -> list[tuple[str, YunheError]]:
    return dataplane.term_faults(terms, dataplane.bindings(tables), whole=whole)


def first_token(node: Node) -> None:
    """Write the first admin token to `admin.token` where there is no token at all."""
    if node.identity.tokens.list_tokens():
        return
    _, secret = node.identity.create_token("admin", ("admin",))
    path = node.config.data_dir / "admin.token"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(secret + "\n")
    log.warning("the first admin token is in %s", path)


def server(node: Node, up: Callable[[], object] = lambda: None) -> uvicorn.Server:
    """The HTTP server of a node, with the bounds it is served under; `up` is called once it is."""
    return bounded_server(node.app, node.config.listen_host, node.config.listen_port, up)


def _watched(clock: SystemClock, served: uvicorn.Server) -> None:
    """End the server where the clock would stand still for long."""
    if clock.behind() > timedelta(seconds=limits.CLOCK_STAND_S_MAX):
        served.config.timeout_graceful_shutdown = limits.CLOCK_GOODBYE_S
        served.should_exit = True


def serve(config: NodeConfig, up: Callable[[Node], object] = lambda _node: None) -> None:
    """Run the node until SIGTERM or Ctrl-C; `up` is called once it listens.

    Raises ClockJumped, all in order, where the machine's clock was set back by more than moments:
    a node that is made anew stands on the new time with all it remembers.
    """
    logs.begin()
    clock = SystemClock()
    config = replace(config, data_dir=config.data_dir.resolve())
    # Nothing is written before folder and address are certainly ours.
    with (
        data_folder(config.data_dir),
        listening(config.listen_host, config.listen_port) as sockets,
    ):
        node = Node(config, clock)
        first_token(node)
        node.start()
        settle()
        # The server raises the signal that ended it once more: as an interrupt it comes past
        # the orderly stop, not around it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        served = server(node, lambda: up(node))
        watch = Chores("node-clock", limits.NODE_TICK_S, lambda: _watched(clock, served))
        watch.start()
        try:
            served.run(sockets)
        except KeyboardInterrupt:
            log.info("told to stop")
            return
        finally:
            watch.stop()
            node.stop()
    if (behind := clock.behind().total_seconds()) > limits.CLOCK_STAND_S_MAX:
        jumped = ClockJumped(seconds=round(behind))
        log.error("%s", jumped)
        raise jumped
