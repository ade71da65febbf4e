"""Seeded defects of programs beside the data, of the vault and of marks; see defects.py."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from attack.defects import Defect, all_of, clock_stands, count_stands, nothing, put
from yunhe.api import vault as vault_face
from yunhe.apps import gate, host, runner, shelf
from yunhe.apps import store as app_store
from yunhe.apps.desk import Desk
from yunhe.apps.model import Listing, ListingState
from yunhe.control.service import Control
from yunhe.dataplane import views
from yunhe.vault import reading
from yunhe.vault import service as vault_service
from yunhe.vault.reading import Ask


def _everything_out(rule: Any, manifest: Any, result: Any, groups: Any, grant: Any) -> gate.Passed:
    return gate.Passed(pa.table(result.get("columns") or {"n": [1]}))


def _still_there(tx: Any, deployment_id: str) -> Any:
    """Whatever became of a version, it runs."""
    found = app_store.find_deployment(tx, deployment_id)
    return app_store.find_app(tx, found.digest) if found else None


def _of_any_version(agreed: str, asked: str) -> bool:
    return agreed.partition("@")[0] == asked.partition("@")[0]


def _listed(tx: Any, digest: str) -> Listing:
    return Listing(digest, 1, ListingState.LISTED, (), (), tx.now)


def _believed(form: Any, parts: Any, who: Any) -> Ask:
    return Ask(form.purpose, who.name, form.application)


DEFECTS: Final[dict[str, Defect]] = {
    "apps: release rule off": Defect(put(gate, "judge", _everything_out), (), ("apps",)),
    "apps: signatures unread": Defect(put(Desk, "check_signature", nothing), (), ("apps",)),
    "apps: revocation ignored": Defect(
        all_of(put(host, "runnable", _still_there), put(runner, "runnable", _still_there)),
        (),
        ("apps",),
    ),
    "apps: runs not metered": Defect(put(Control, "post_held", nothing), (), ("apps",)),
    "apps: any version will do": Defect(put(host, "covers", _of_any_version), (), ("apps",)),
    "apps: the unlisted given": Defect(put(shelf.store, "find_listing", _listed), (), ("apps",)),
    "apps: bits uncounted": Defect(put(app_store, "spend_bits", lambda *_: True), (), ("apps",)),
    "vault: reads uncounted": Defect(count_stands, (), ("vault",)),
    "vault: the delivery uncounted": Defect(put(reading, "learn", nothing), (), ("vault",)),
    "vault: read after its end": Defect(clock_stands, (), ("vault",)),
    "vault: keys kept": Defect(put(vault_service, "_shred", nothing), (), ("vault",)),
    "vault: names believed": Defect(put(vault_face, "_ask", _believed), (), ("vault",)),
    "watermark omitted": Defect(put(views, "marked", lambda raw, *_: raw), (), ("vault",)),
}
