"""The author's side: sign a version, deploy it under contracts, end it everywhere.

In: what an author writes; answers and reports of hosts. Out: signed manifests, messages to hosts.
Evidence: `app.published`, `app.<step>`, `app.deployment_asked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yunhe.apps import store
from yunhe.apps.desk import DEPLOY, REVOKE, Body, Desk, keep, text
from yunhe.apps.errors import (
    AppAnswerInvalid,
    AppRevoked,
    AppStateRefused,
    AppUnknown,
    RefusedByHost,
)
from yunhe.apps.manifest import compose
from yunhe.apps.model import (
    APP_STEPS,
    App,
    AppState,
    Deployment,
    DeploymentState,
    Side,
)
from yunhe.apps.shelf import Shelf
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Conflict
from yunhe.kernel.outbox import enqueue


class Author:
    """What an author asks of its own node; thread-safe."""

    def __init__(self, desk: Desk, shelf: Shelf) -> None:
        self._desk, self._shelf = desk, shelf

    # -- versions -------------------------------------------------------------------------------

    def draft(self, form: Mapping[str, Any], code: bytes) -> App:
        """A new version, not yet signed; again: the same one. Raises AppManifestInvalid."""
        manifest = compose(form, self._desk.keys.did, code)
        keep(self._desk.code(manifest), code)

        def verb(tx: Tx) -> App:
            same = [
                each
                for each in store.apps(tx)
                if each.ours
                and (each.manifest.name, each.manifest.version) == (manifest.name, manifest.version)
                and each.digest != manifest.digest
            ]
            if same:
                raise Conflict(why=f"{manifest.name}@{manifest.version} has other content already")
            made = App(manifest.digest, True, manifest, "", AppState.DRAFT, "", tx.now, tx.now, "")
            store.add_app(tx, made)
            return _app(tx, made.digest)

        return self._desk.db.write(verb)

    def app(self, digest: str) -> App:
        """One version; raises AppUnknown."""
        return self._desk.db.read(lambda tx: _app(tx, digest))

    def apps(self) -> list[App]:
        """The versions that this node knows, its own and those deployed here, latest first."""
        return self._desk.db.read(store.apps)

    def step(self, digest: str, verb: str, reason: str = "") -> App:
        """publish, suspend, resume, withdraw or revoke; hosts are told of all but the first.

        Raises AppUnknown, AppStateRefused.
        """
        desk = self._desk
        before, after = APP_STEPS[verb]

        def change(tx: Tx) -> App:
            found = _app(tx, digest)
            if not found.ours:
                raise AppUnknown
            if found.state not in before:
                raise AppStateRefused(state=str(found.state), verb=verb)
            jws = found.jws or desk.keys.sign(found.manifest.signed)
            body = {
                "digest": digest,
                "application": found.manifest.reference,
                "author": desk.keys.did,
                "step": verb,
                "reason": reason[: limits.REASON_CHARS_MAX],
                "at": iso(tx.now),
            }
            kind = "app.published" if verb == "publish" else f"app.{verb}"
            more = {"manifest": dict(found.manifest.body), "jws": jws} if verb == "publish" else {}
            entry = desk.evidence.record(tx, kind, body | more)
            values = {"state": after, "jws": jws, "why": body["reason"], "entry_id": entry.entry_id}
            if not store.change_app(tx, digest, before, values):
                raise AppStateRefused(state=str(found.state), verb=verb)
            if verb in ("suspend", "resume", "revoke"):
                self._tell_hosts(tx, digest, body)
            if verb in ("withdraw", "revoke"):
                self._shelf.leave(tx, digest, body["reason"])
            return _app(tx, digest)

        return desk.db.write(change)

    def _tell_hosts(self, tx: Tx, digest: str, body: Body) -> None:
        """Those it is deployed to by us, and those who took it from the catalogue."""
        for peer in sorted(store.peers_of(tx, digest, (DeploymentState.REFUSED,))):
            # A conversation of its own: a report that waits must not hold a revocation up.
            enqueue(tx, f"tds.{REVOKE}", peer, f"app-step:{digest}:{peer}"[:255], {"note": body})

    # -- deployments ----------------------------------------------------------------------------

    def deploy(self, digest: str, contract_id: str) -> Deployment:
        """Ask the provider of a contract to take a published version, ours or one that another
        author has listed; again: how it stands.

        Raises EntryNotFound, AppStateRefused, AppRevoked, RefusedByHost, and why the contract does
        not bind.
        """
        desk = self._desk
        contract = desk.contracts.in_force(contract_id)
        found = self._shelf.take(digest)
        _check_published(found)

        def ask(tx: Tx) -> Deployment:
            known = store.deployed(tx, Side.AUTHOR, digest, contract.id)
            if known is not None:
                return known
            body = {"digest": digest, "contract_id": contract.id, "host": contract.peer_did}
            entry = desk.evidence.record(tx, "app.deployment_asked", body | {"at": iso(tx.now)})
            made = Deployment(
                f"dep-{tx.new_id()}",
                Side.AUTHOR,
                digest,
                contract.id,
                contract.peer_did,
                DeploymentState.ASKED,
                "",
                "",
                tx.now,
                tx.now,
                entry.entry_id,
            )
            store.add_deployment(tx, made)
            return made

        made = desk.db.write(ask)
        body = {
            "deployment_id": made.id,
            "contract_id": contract.id,
            "manifest": dict(found.manifest.body),
            "jws": found.jws,
        }
        try:
            return self._stands(made.id, desk.ask(contract.peer_did, DEPLOY, body))
        except RefusedByHost as refused:
            self._stands(made.id, {"state": "refused", "why": refused.code})
            raise

    def _stands(self, deployment_id: str, said: Mapping[str, Any]) -> Deployment:
        """Take over how a host says a deployment stands."""

        def verb(tx: Tx) -> Deployment:
            found = store.find_deployment(tx, deployment_id, Side.AUTHOR)
            if found is None:
                raise AppUnknown
            try:
                state = DeploymentState(str(said.get("state")))
            except ValueError as error:
                raise AppAnswerInvalid(why="no such state", why_zh="状态未知") from error
            why = str(said.get("why", ""))[: limits.REASON_CHARS_MAX]
            if (state, why) != (found.state, found.why):
                values = {"state": state, "why": why, "by": found.peer_did}
                store.change_deployment(tx, found, values)
            return replace(found, state=state, why=why)

        return self._desk.db.write(verb)

    def deployments(self, digest: str = "") -> list[Deployment]:
        """Where versions are deployed, as author and as host, latest first."""
        return self._desk.db.read(lambda tx: store.deployments(tx, digest))

    def reported(self, peer_did: str, said: Body) -> Body:
        """A host tells what became of a deployment of ours; raises AppUnknown."""
        key = text(said, "id", 80)
        found = self._desk.db.read(lambda tx: store.find_deployment(tx, key, Side.AUTHOR))
        if found is None or found.peer_did != peer_did:
            raise AppUnknown
        self._stands(key, said)
        return {"received": True}


def _app(tx: Tx, digest: str) -> App:
    found = store.find_app(tx, digest)
    if found is None:
        raise AppUnknown
    return found


def _check_published(found: App) -> None:
    if found.state is AppState.REVOKED:
        raise AppRevoked
    if found.state is not AppState.PUBLISHED:
        raise AppStateRefused(state=str(found.state), verb="deploy")
