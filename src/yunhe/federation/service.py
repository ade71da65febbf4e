"""The federation of one node: one parent above, members below, found from anywhere.

In: events of catalog and identity, messages of peers as domain JSON. Out: messages through the
outbox, answers, search results. A functional node answers from its own register; a connector
asks its parent. A node that is both, without a parent, is its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from yunhe import catalog, identity
from yunhe.federation.errors import NotServed, NotTheParent
from yunhe.federation.model import (
    KINDS,
    REVIEW,
    Payload,
    Status,
    Wire,
    detail_from,
    detail_json,
    hit_from,
    hit_json,
    program_from,
    program_json,
)
from yunhe.federation.places import Places
from yunhe.federation.upward import Upward
from yunhe.identity import Identity, Peer
from yunhe.kernel import limits, outbox
from yunhe.kernel.chores import Chores
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.kernel.outbox import Outbox
from yunhe.kernel.settings import NodeConfig

log = logging.getLogger(__name__)
_STATES = {"approve": "registered", "return": "returned", "reject": "rejected"}


class Federation:
    """This node among the others. `install` once, then `start`."""

    def __init__(
        self,
        db: Database,
        who: Identity,
        holder: catalog.Holder,
        register: catalog.Register,
        box: Outbox,
        config: NodeConfig,
        wire: Wire,
    ) -> None:
        self._db = db
        self._identity = who
        self._holder = holder
        self._register = register
        self._box = box
        self._config = config
        self._serves = "functional-node" in config.roles
        self._up = Upward(db, who, holder, wire, config)
        self._asking = Chores("federation-poll", limits.POLL_S, self._ask_parent)
        self.places = Places(lambda code: self.detail(code).hit)
        self.register_self = self._up.register_self
        self.status: Callable[[], Status] = self._up.status
        self.poll = self._up.poll
        self._verbs: Mapping[str, Callable[[Payload, Peer, str], Payload]] = {
            "RegisterSubject": self._on_subject,
            "RegisterConnector": self._on_connector,
            "SubmitCredentialRequest": self._on_credential_request,
            "GetIdentityProviderList": self._on_provider_list,
            "GetApplication": self._on_get_application,
            "SearchDataCatalog": self._on_search,
            "GetDataCatalogDetail": self._on_detail,
            "FindApplications": self._on_find_programs,
        }

    def install(self) -> None:
        """Subscribe to events and to the fate of messages; once, before `start`."""
        on = self._db.events.on
        on(catalog.ResourceSubmitted, lambda tx, e: self._submit(tx, "resource", e))
        on(catalog.ProductSubmitted, lambda tx, e: self._submit(tx, "product", e))
        on(catalog.ApplicationSubmitted, lambda tx, e: self._submit(tx, "application", e))
        on(catalog.ListingSubmitted, lambda tx, e: self._submit(tx, "listing", e))
        on(catalog.WithdrawalSubmitted, lambda tx, e: self._submit(tx, e.kind, e))
        on(catalog.Reviewed, self._tell_entry)
        on(identity.ApplicationDecided, self._tell_applicant)
        on(identity.ConnectorStateChanged, self._connector_changed)
        self._up.install(self._box)

    def start(self) -> None:
        """Ask after undecided applications now and then, in the background."""
        self._asking.start()

    def stop(self) -> None:
        """Stop asking."""
        self._asking.stop()

    def _ask_parent(self) -> None:
        try:
            self.poll()
        except YunheError as error:  # away, as parents are: nothing for the operator to mend
            log.info("the parent could not be asked: %s", error)

    # -- what this node's own slices say --------------------------------------------------------

    def _submit(
        self,
        tx: Tx,
        kind: str,
        event: catalog.ResourceSubmitted
        | catalog.ProductSubmitted
        | catalog.ApplicationSubmitted
        | catalog.ListingSubmitted
        | catalog.WithdrawalSubmitted,
    ) -> None:
        if self._config.parent_did or not self._serves:
            self._up.submit(tx, kind, event.local_id, event.record)
        else:
            self._register.receive(kind, event.record, self._identity.own_peer())

    def _tell_entry(self, tx: Tx, event: catalog.Reviewed) -> None:
        told = {
            "application_id": event.application_id,
            "kind": event.kind,
            "local_id": event.local_id,
            "version": event.version,
            "state": _STATES[event.decision],
            "code": event.code,
            "reasons": list(event.reasons),
        }
        if event.origin_did == self._config.did:
            self._up.entry_decided(tx, event.kind, event.local_id, event.version, told)
        elif event.origin_address:
            conversation = f"review:{event.local_id}:{event.origin_did}"[:255]
            self._tell(tx, event.origin_did, event.origin_address, conversation, told)

    def _tell_applicant(self, tx: Tx, event: identity.ApplicationDecided) -> None:
        told = {
            "application_id": event.application_id,
            "kind": event.kind.value,
            "local_id": "",
            "version": 0,
            "state": _STATES[event.decision],
            "code": event.code,
            "reasons": list(event.reasons),
        }
        # An organisation's postal address is no place to call; it asks by GetApplication.
        if event.address.startswith(("https://", "http://")):
            conversation = f"review:registration:{event.applicant_did}"[:255]
            self._tell(tx, event.applicant_did, event.address, conversation, told)

    def _tell(self, tx: Tx, did: str, address: str, conversation: str, told: Payload) -> None:
        outbox.enqueue(tx, f"tds.{REVIEW}", did, conversation, told, address=address)

    def _connector_changed(self, tx: Tx, event: identity.ConnectorStateChanged) -> None:
        """A suspended or cancelled connector's listings vanish in the same verb (R9)."""
        if event.state == "active":
            self._register.thaw(tx, event.did)
        else:
            self._register.freeze(tx, event.did)

    # -- what other nodes say -------------------------------------------------------------------

    def receive(self, name: str, payload: Payload, peer: Peer, message_id: str = "") -> Payload:
        """Handle one message of an authenticated peer; the answer is domain JSON.

        Raises NotServed, NotTheParent, and what identity and catalog raise; nothing is stored
        then. Repeats are answered like the first time.
        """
        if name == REVIEW:
            return self._on_review_result(payload, peer, message_id)
        if not self._serves:
            raise NotServed(name=name)
        if name in KINDS:
            return self._on_submission(KINDS[name], payload, peer)
        verb = self._verbs.get(name)
        if verb is None:
            raise NotServed(name=name)
        return verb(payload, peer, message_id)

    def _on_submission(self, kind: str, payload: Payload, peer: Peer) -> Payload:
        return _registration(self._register.receive(kind, payload.get("record"), peer))

    def _on_review_result(self, payload: Payload, peer: Peer, message_id: str) -> Payload:
        if peer.did != self._config.parent_did:
            raise NotTheParent
        kind = str(payload.get("kind", ""))
        local_id, version = str(payload.get("local_id", "")), payload.get("version")
        number = version if isinstance(version, int) else 0

        def verb(tx: Tx) -> Payload:
            if message_id and outbox.seen(tx, peer.did, message_id):
                return {}
            if kind in ("subject", "connector"):
                self._up.registration_decided(tx, kind, payload)
            else:
                self._up.entry_decided(tx, kind, local_id, number, payload)
            return {}

        return self._db.write(verb)

    def _on_subject(self, payload: Payload, peer: Peer, _id: str) -> Payload:
        form = identity.SubjectForm(**_texts(payload))
        return _application(self._identity.apply_subject(form, peer))

    def _on_connector(self, payload: Payload, peer: Peer, _id: str) -> Payload:
        form = identity.ConnectorForm(**_texts(payload))
        return _application(self._identity.apply_connector(form, peer))

    def _on_credential_request(self, _payload: Payload, peer: Peer, _id: str) -> Payload:
        return {"credential": self._identity.registrar.renew_credential(peer)}

    def _on_provider_list(self, _payload: Payload, _peer: Peer, _id: str) -> Payload:
        roots = self._identity.trust_roots()
        return {"roots": [{"did": did, "keys": list(keys)} for did, keys in roots]}

    def _on_get_application(self, payload: Payload, peer: Peer, _id: str) -> Payload:
        key = str(payload.get("application_id", ""))
        try:
            return _application(self._identity.application(key, peer))
        except identity.ApplicationNotFound:
            found = self._register.registration(key)
        if found.origin_did != peer.did:
            raise catalog.EntryNotFound(entry=key[:80])
        return _registration(found)

    def _on_search(self, payload: Payload, peer: Peer, _id: str) -> Payload:
        page = self._register.search(
            str(payload.get("text", "")),
            peer.did,
            _number(payload, "limit", 20),
            _number(payload, "offset", 0),
            str(payload.get("order", "")),
            _filters(payload.get("filters")),
        )
        return {"total": page.total, "hits": [hit_json(hit) for hit in page.hits]}

    def _on_detail(self, payload: Payload, peer: Peer, _id: str) -> Payload:
        return detail_json(self._register.detail(str(payload.get("code", "")), peer.did))

    def _on_find_programs(self, payload: Payload, _peer: Peer, _id: str) -> Payload:
        text, digest = str(payload.get("text", "")), str(payload.get("digest", ""))
        limit, offset = _number(payload, "limit", 20), _number(payload, "offset", 0)
        total, found = self._register.find_programs(text, digest, limit, offset)
        return {"total": total, "items": [program_json(each) for each in found]}

    # -- finding --------------------------------------------------------------------------------

    def search(
        self,
        text: str,
        limit: int = 20,
        offset: int = 0,
        order: str = "",
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> catalog.Page:
        """Find products: a functional node in its register, a connector at its parent, live.

        Hits carry provider DID, connector address, code, titles, price and the language found
        in. Raises SearchTooWide, NoParent, Unavailable.
        """
        if self._serves:
            return self._register.search(text, self._config.did, limit, offset, order, filters)
        given = {key: list(values) for key, values in (filters or {}).items()}
        asked = {"text": text, "limit": limit, "offset": offset, "order": order, "filters": given}
        answer = self._up.ask("SearchDataCatalog", asked)
        try:
            hits = tuple(hit_from(hit) for hit in answer["hits"][: limits.PEER_SEARCH_LIMIT_MAX])
            return catalog.Page(int(answer["total"]), hits)
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(detail=f"odd answer: {error}", what="the parent's search") from error

    def find_programs(
        self, text: str, digest: str = "", limit: int = 20, offset: int = 0
    ) -> tuple[int, tuple[catalog.Program, ...]]:
        """How many listed programs match and a page of them, as `search` finds products;
        `digest`: how it begins. Raises SearchTooWide, NoParent, Unavailable.
        """
        if self._serves:
            return self._register.find_programs(text, digest, limit, offset)
        asked = {"text": text, "digest": digest, "limit": limit, "offset": offset}
        answer = self._up.ask("FindApplications", asked)
        try:
            rows = answer["items"][: limits.PEER_SEARCH_LIMIT_MAX]
            return int(answer["total"]), tuple(program_from(row) for row in rows)
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(detail=f"odd answer: {error}", what="the parent's search") from error

    def author_of(self, digest: str) -> str:
        """The DID of a listed program's author; raises EntryNotFound and as `find_programs`."""
        for each in self.find_programs("", digest, 1)[1]:
            if each.digest == digest:
                return each.author_did
        raise catalog.EntryNotFound(entry=digest[:65])

    def detail(self, code: str) -> catalog.Detail:
        """A listed product in full, from the register or the parent; raises EntryNotFound."""
        if self._serves:
            return self._register.detail(code, self._config.did)
        answer = self._up.ask("GetDataCatalogDetail", {"code": code})
        try:
            return detail_from(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(detail=f"odd answer: {error}", what="the parent's answer") from error


def _registration(found: catalog.Registration) -> Payload:
    return {
        "application_id": found.id,
        "kind": found.kind,
        "local_id": found.local_id,
        "version": found.version,
        "state": found.state,
        "code": found.code,
        "reasons": list(found.reasons),
    }


def _application(found: identity.Application) -> Payload:
    return {
        "application_id": found.id,
        "kind": found.kind.value,
        "local_id": "",
        "version": found.version,
        "state": found.state.value,
        "code": found.code,
        "reasons": list(found.reasons),
    }


def _texts(payload: Payload) -> dict[str, str]:
    names = ("subject_code", "name", "name_en", "address")
    form = payload.get("form")
    if not isinstance(form, dict):
        raise identity.FormInvalid(field="form", why="is missing")
    for name in names:
        if not isinstance(form.get(name, ""), str):
            raise identity.FormInvalid(field=name, why="is not text")
    return {name: form.get(name, "") for name in names}


def _number(payload: Payload, name: str, default: int) -> int:
    value = payload.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise catalog.SearchTooWide(why=f"{name} is not a whole number")
    return value


def _filters(value: object) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(
        isinstance(values, list) and all(isinstance(item, str) for item in values)
        for values in value.values()
    ):
        raise catalog.SearchTooWide(why="filters are not lists of texts")
    return {str(key): tuple(values) for key, values in value.items()}
