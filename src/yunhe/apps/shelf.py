"""A version in the catalogue, and who takes it from there.

In: an author's wish to have a version listed, the functional node's decision, nodes that take what
is listed: to deploy it under contracts of their own, or to run it. Out: submissions (`catalog`),
signed manifests and programs; whom to tell when a version ends. Evidence: `app.submitted`,
`app.listed`, `app.returned`, `app.rejected`, `app.taken`, `app.taken_in`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from yunhe import catalog
from yunhe.apps import store
from yunhe.apps.desk import TAKE, Body, Desk, piece, text
from yunhe.apps.errors import (
    AppAnswerInvalid,
    AppJobsTooMany,
    AppRevoked,
    AppStateRefused,
    AppUnknown,
)
from yunhe.apps.manifest import Manifest, read
from yunhe.apps.model import App, AppState, Holder, Listing, ListingState
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx

_DECIDED: Final = {
    "approve": ListingState.LISTED,
    "return": ListingState.RETURNED,
    "reject": ListingState.REJECTED,
}
_THERE: Final = (ListingState.SUBMITTED, ListingState.LISTED)


class Shelf:
    """Versions of ours that others may take, and how this node takes others'; thread-safe."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.db.events.on(catalog.ApplicationReviewed, self._reviewed)

    # -- at the author --------------------------------------------------------------------------

    def submit(self, digest: str, keywords: Sequence[str] = ()) -> Listing:
        """Ask the functional node to list a published version; again: how it stands.

        Raises AppUnknown, AppStateRefused, NoParent.
        """
        desk = self._desk

        def verb(tx: Tx) -> Listing:
            found = _ours(tx, digest)
            if found.state is not AppState.PUBLISHED:
                raise AppStateRefused(state=str(found.state), verb="submit")
            known = store.find_listing(tx, digest)
            if known is not None and known.state in _THERE:
                return known
            number = 1 if known is None else known.version + 1
            said = tuple(keywords)
            made = Listing(digest, number, ListingState.SUBMITTED, said, (), tx.now)
            store.put_listing(tx, made)
            record = {
                "local_id": catalog.PROGRAM + digest,
                "version": number,
                "title_zh": found.manifest.title_zh,
                "title_en": found.manifest.title_en,
                "keywords": list(said),
                "manifest": dict(found.manifest.body),
                "jws": found.jws,
                **desk.origin(),
            }
            self._note(tx, "app.submitted", found.manifest, "")
            tx.emit(catalog.ApplicationSubmitted(catalog.PROGRAM + digest, number, record))
            return store.find_listing(tx, digest) or made

        return desk.db.write(verb)

    def leave(self, tx: Tx, digest: str, reason: str) -> None:
        """A version that is withdrawn or revoked is found no longer; in the verb that ends it."""
        known = store.find_listing(tx, digest)
        if known is None or known.state not in _THERE:
            return
        number, local_id = known.version + 1, catalog.PROGRAM + digest
        gone = replace(known, version=number, state=ListingState.DELISTED, changed_at=tx.now)
        store.put_listing(tx, gone)
        record = {"local_id": local_id, "version": number, "code": digest, "reason": reason}
        tx.emit(catalog.WithdrawalSubmitted("delist", local_id, number, record))

    def _reviewed(self, tx: Tx, event: catalog.ApplicationReviewed) -> None:
        digest = event.local_id.removeprefix(catalog.PROGRAM)
        known = store.find_listing(tx, digest)
        if known is None:
            return
        if known.state is ListingState.DELISTED and event.decision == "approve":
            # It was listed after we had taken it back: taken back once more.
            store.put_listing(tx, replace(known, state=ListingState.LISTED))
            self.leave(tx, digest, "")
        if known.state is not ListingState.SUBMITTED or known.version != event.version:
            return
        state = _DECIDED[event.decision]
        made = replace(known, state=state, reasons=event.reasons, changed_at=tx.now)
        store.put_listing(tx, made)
        self._note(tx, f"app.{state}", _ours(tx, digest).manifest, "")

    def listing(self, digest: str) -> Listing | None:
        """How a version of ours stands in the catalogue."""
        return self._desk.db.read(lambda tx: store.find_listing(tx, digest))

    def holders(self, digest: str) -> list[Holder]:
        """The nodes that took a version of ours, hosts and those who deploy it."""
        return self._desk.db.read(lambda tx: store.holders(tx, digest))

    def taken(self, peer_did: str, body: Body) -> Body:
        """A node takes a listed version, and is told from now when it ends; again: the same.

        Raises AppUnknown for one that is not listed, AppRevoked, AppStateRefused, AppJobsTooMany.
        """
        digest = text(body, "digest", 64)

        def verb(tx: Tx) -> App:
            found = _ours(tx, digest)
            known = store.find_listing(tx, digest)
            if known is None or known.state is not ListingState.LISTED:
                raise AppRevoked if found.state is AppState.REVOKED else AppUnknown
            if found.state is not AppState.PUBLISHED:
                raise AppStateRefused(state=str(found.state), verb="take")
            if store.holds(tx, digest, peer_did):
                return found
            if len(store.holders(tx, digest)) >= limits.APP_HOLDERS_MAX:
                raise AppJobsTooMany(limit=limits.APP_HOLDERS_MAX)
            store.add_holder(tx, digest, peer_did)
            self._note(tx, "app.taken", found.manifest, peer_did)
            return found

        found = self._desk.db.write(verb)
        return {"manifest": dict(found.manifest.body), "jws": found.jws}

    def give(self, peer_did: str, body: Body) -> Body:
        """A piece of a program, for a host that it is being deployed to, or that took it."""
        digest = text(body, "digest", 64)

        def read_(tx: Tx) -> App:
            if peer_did not in store.peers_of(tx, digest):
                raise AppUnknown
            return _ours(tx, digest)

        return piece(self._desk.code(self._desk.db.read(read_).manifest), body)

    # -- at whoever takes it --------------------------------------------------------------------

    def agreed(self, manifest: Manifest) -> str:
        """A third party brings this manifest: its author's signature, now, after asking the author,
        who is known by that to be listed, to stand by it, and to tell us when it ends.

        Raises RefusedByHost (the author's own refusal), AppAnswerInvalid, Unavailable.
        """
        answer = self._desk.ask(manifest.author, TAKE, {"digest": manifest.digest})
        if answer.get("manifest") != manifest.body:
            raise AppAnswerInvalid(why="it is another version", why_zh="不是同一版本")
        return text(answer, "jws", limits.JWS_BYTES_MAX)

    def take(self, digest: str) -> App:
        """A version that another author has listed, to deploy it; again: the same.

        Raises EntryNotFound, AppSignatureInvalid, and as `agreed`.
        """
        desk = self._desk
        known = desk.db.read(lambda tx: store.find_app(tx, digest))
        if known is not None:
            return known
        author = desk.author_of(digest)
        answer = desk.ask(author, TAKE, {"digest": digest})
        manifest = read(answer.get("manifest"))
        if (manifest.digest, manifest.author) != (digest, author):
            raise AppAnswerInvalid(why="it is another version", why_zh="不是同一版本")
        jws = text(answer, "jws", limits.JWS_BYTES_MAX)
        desk.check_signature(manifest, jws)

        def verb(tx: Tx) -> App:
            published = AppState.PUBLISHED
            made = App(digest, False, manifest, jws, published, "", tx.now, tx.now, "")
            if store.add_app(tx, made):
                self._note(tx, "app.taken_in", manifest, author)
            return store.find_app(tx, digest) or made

        return desk.db.write(verb)

    def _note(self, tx: Tx, kind: str, manifest: Manifest, peer_did: str) -> None:
        said = {"digest": manifest.digest, "application": manifest.reference}
        more = {"peer": peer_did} if peer_did else {}
        self._desk.evidence.record(tx, kind, {**said, **more, "at": iso(tx.now)})


def _ours(tx: Tx, digest: str) -> App:
    found = store.find_app(tx, digest)
    if found is None or not found.ours:
        raise AppUnknown
    return found
