"""Key rotation: a new key signs at once, the old one verifies for an overlap.

In: a purpose. Out: one evidence entry that names both keys; the old public key stays in the DID
document until it retires. Two steps that a crash may part: the commit, then the file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from yunhe.identity import store_claims
from yunhe.identity.model import RetiredKey
from yunhe.kernel import keys, limits, suites
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx

if TYPE_CHECKING:
    from yunhe.evidence import EvidenceLog

SUITE_OF: Final = {"did": "Ed25519", "dcp": "ES256"}


class Rotation:
    """Rotates the keys of one node that its DID document shows."""

    def __init__(self, db: Database, evidence: EvidenceLog, key_store: keys.KeyStore) -> None:
        self._db = db
        self._evidence = evidence
        self._keys = key_store
        self._watchers: list[Callable[[], None]] = []
        self._turn = threading.Lock()  # of two at once the second would replace a key nobody knows

    def finish(self) -> None:
        """At a start: put keys in place whose rotation was committed before a crash."""
        for purpose, suite in SUITE_OF.items():
            waits = self._keys.prepared(purpose, suite)
            if waits and self._retired(self._current(purpose).kid):
                self._keys.promote(purpose, suite)

    def _retired(self, kid: str) -> bool:
        return self._db.read(lambda tx: store_claims.is_retired(tx, kid))

    def rotate(self, purpose: str) -> tuple[str, str]:
        """Retire the key of `purpose` (did or dcp) for a new one: their kids, old and new.

        Whoever holds the key of this node's store signs with the new one when this returns. Raises
        KeyUnreadable.
        """
        if purpose not in SUITE_OF:
            raise keys.KeyUnreadable(purpose=purpose)
        with self._turn:
            return self._rotate(purpose, SUITE_OF[purpose])

    def announce(self, purpose: str) -> dict[str, Any]:
        """The public key that the next `rotate` of `purpose` will take, made now if need be.

        Whoever pins our key is told it before it signs. Raises KeyUnreadable.
        """
        if purpose not in SUITE_OF:
            raise keys.KeyUnreadable(purpose=purpose)
        with self._turn:
            return self._keys.prepare(purpose, SUITE_OF[purpose]).public_jwk()

    def _rotate(self, purpose: str, suite: str) -> tuple[str, str]:
        old, new = self._current(purpose).now, self._keys.prepare(purpose, suite)

        def verb(tx: Tx) -> None:
            until = tx.now + timedelta(days=limits.KEY_OVERLAP_DAYS)
            if store_claims.retire_key(tx, old.kid, purpose, old.public_jwk(), until):
                body = {
                    "purpose": purpose,
                    "old": old.kid,
                    "new": new.kid,
                    "new_jwk": new.public_jwk(),
                    "old_verifies_until": iso(until),
                }
                self._evidence.record(tx, "identity.key_rotated", body)

        self._db.write(verb)
        self._keys.promote(purpose, suite)
        for changed in self._watchers:
            changed()
        return old.kid, new.kid

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every rotation."""
        self._watchers.append(changed)

    def retired(self) -> list[dict[str, Any]]:
        """The public keys of ours that sign no more and still verify."""
        now = self._db.clock.now()
        return [row.jwk for row in self._db.read(lambda tx: store_claims.retired_keys(tx, now))]

    def before(self) -> list[RetiredKey]:
        """Every key of ours that was retired, and until when it verifies or did."""
        rows = self._db.read(store_claims.all_retired_keys)
        return [RetiredKey(row.jwk, row.until) for row in rows]

    def _current(self, purpose: str) -> suites.Signer:
        if SUITE_OF[purpose] == "ES256":
            return self._keys.es256(purpose)
        return self._keys.key(purpose)
