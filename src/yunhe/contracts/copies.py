"""Whether our copy of a contract still is what was signed (T16 8.1: checked before each use).

In: a contract as the database gives it. Out: the name of the part that was changed since, if any.
Whoever can write into the database cannot make our signature, nor an entry of the log.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from yunhe.contracts import lifecycle, store
from yunhe.contracts.bargain import same_policy
from yunhe.contracts.desk import AgreementForm
from yunhe.contracts.errors import AgreementUnreadable
from yunhe.contracts.model import Agreement, Contract, Draft, Side
from yunhe.contracts.policy import Policy
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import NotFound
from yunhe.kernel.keys import BadSignature, verify_jws_detached

# (our DID, JWS, when it was made) -> our public key of that time
_SignerAt = Callable[[str, str, datetime], Mapping[str, Any]]
SOUND: Final = ""


class Log(Protocol):
    """What the evidence log keeps of a contract."""

    def entry(self, entry_id: str) -> Any:
        """The entry with its body; raises a NotFound."""
        ...


class Finding(NamedTuple):
    """The changed part of a contract (SOUND: none), and whether that was not said before."""

    part: str
    fresh: bool


class Copies:
    """Checks contracts; what was found is kept for as long as the row says the same."""

    def __init__(self, form: AgreementForm, did: str, signer_at: _SignerAt, log: Log) -> None:
        """`did` is ours; `signer_at` knows our keys of all times."""
        self._form, self._did, self._signer_at, self._log = form, did, signer_at, log
        self._found: OrderedDict[str, tuple[tuple[Any, ...], str]] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, contract: Contract) -> Finding:
        """What is wrong with this copy: "document", "policy", a signature, a member's name."""
        row = _row(contract)
        with self._lock:
            kept, part = self._found.get(contract.id, ((), SOUND))
            if kept == row:
                self._found.move_to_end(contract.id)
                return Finding(part, False)
        part = self._changed(contract)
        with self._lock:
            self._found[contract.id] = (row, part)
            if len(self._found) > limits.POLICIES_CACHED_MAX:
                self._found.popitem(last=False)
        return Finding(part, True)

    def _changed(self, contract: Contract) -> str:
        signed = contract.agreement
        facts = {
            "document_sha256": sha256_hex(signed.document),
            "provider_jws": signed.provider_jws,
            "consumer_jws": signed.consumer_jws,
        }
        try:
            logged = self._log.entry(contract.entry_id).body or facts  # erased: no word of it
        except NotFound:
            return "entry"
        for part, here in facts.items():
            if logged.get(part) != here:
                return part.removesuffix("_sha256")
        ours = signed.provider_jws if contract.role is Side.PROVIDER else signed.consumer_jws
        if not self._signed(ours, signed):
            return "signature"
        try:
            return _apart(contract, self._form.read(signed.document))
        except AgreementUnreadable:
            return "document"

    def _signed(self, ours: str, signed: Agreement) -> bool:
        try:
            key = self._signer_at(self._did, ours, signed.signed_at)
            verify_jws_detached(dict(key), ours, signed.document)
        except BadSignature:
            return False
        return True


def agreed_policy(tx: Tx, contract_id: str) -> Policy | None:
    """The policy of an agreement, for whoever keeps one of its own beside it."""
    found = store.agreement(tx, contract_id)
    return None if found is None else found.policy


def _row(contract: Contract) -> tuple[Any, ...]:
    """All of a contract that a use goes by and that never changes while it is in force."""
    return (
        contract.agreement,
        contract.role,
        contract.peer_did,
        contract.product_code,
        contract.expires_at,
        contract.entry_id,
    )


def _apart(contract: Contract, said: Draft) -> str:
    """The first member in which the row differs from the document that both signed."""
    signed = contract.agreement
    if not same_policy(contract.policy, said.policy):
        return "policy"
    provides = contract.role is Side.PROVIDER
    pairs = {
        "id": (contract.id, said.id),
        "product_code": (contract.product_code, said.product_code),
        "provider_did": (signed.provider_did, said.provider_did),
        "consumer_did": (signed.consumer_did, said.consumer_did),
        "peer_did": (contract.peer_did, said.consumer_did if provides else said.provider_did),
        "expires_at": (contract.expires_at, lifecycle.expiry(said.policy)),
    }
    return next((part for part, (here, there) in pairs.items() if here != there), SOUND)
