"""Status lists: kept and signed by the registrar, asked by everyone else before they believe.

In: credentials issued here, and where each stands; status entries of credentials shown to us.
Out: status list credentials in both profiles; a refusal where a bit is set or cannot be known.
A list is asked for anew after STATUS_CACHE_S; while its issuer is silent the last one counts for
STATUS_GRACE_S, and then nothing does.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from yunhe.identity import bits, jwts, store_claims
from yunhe.identity.errors import (
    CredentialRefused,
    CredentialRevoked,
    DidUnresolvable,
    StatusListFull,
    StatusListUnknown,
    StatusRefused,
    StatusUnavailable,
)
from yunhe.identity.model import Jwk, StatusEntry
from yunhe.identity.vcs import CONTEXT_11, CONTEXT_20, VC11
from yunhe.kernel import limits, suites
from yunhe.kernel.clock import Clock, to_second
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import YunheError

PURPOSES: Final = ("revocation", "suspension")  # the bits that end what a credential is good for
PATH: Final = "/dcp/status"
_PURPOSE: Final = "revocation"
_CACHE: Final = timedelta(seconds=limits.STATUS_CACHE_S)
_GRACE: Final = timedelta(seconds=limits.STATUS_GRACE_S)
_SKEW: Final = timedelta(seconds=limits.SI_TOKEN_SKEW_S)

Keys = Callable[[str, object], Jwk]  # issuer DID, kid -> its key; raises


class StatusBook:
    """The lists of one registrar."""

    def __init__(self, db: Database, did: str, address: str, key: suites.Signer) -> None:
        self._db = db
        self._did = did
        self._base = address + PATH
        self._key = key

    def place(self, tx: Tx, credential_id: str, code: str) -> tuple[int, int]:
        """A random free place for a credential: list and index; neighbours tell nothing."""
        number = 1
        while store_claims.count_status(tx, number) >= limits.STATUS_BITS // 2:
            number += 1
        for _ in range(limits.STATUS_INDEX_TRIES_MAX):
            index = int.from_bytes(tx.new_secret()[:8], "big") % limits.STATUS_BITS
            if store_claims.add_status(tx, number, index, credential_id, code):
                return number, index
        raise StatusListFull

    def entry(self, place: tuple[int, int], profile: str) -> dict[str, Any]:
        """The credentialStatus of a credential.

        One entry, as common wallets read no more than one: its bit is set while the connector is
        suspended, too, and cleared when it is resumed.
        """
        number, index = place
        old = profile == VC11
        return {
            "id": f"{self._url(number, old)}#{index}",
            "type": "StatusList2021Entry" if old else "BitstringStatusListEntry",
            "statusPurpose": _PURPOSE,
            "statusListIndex": str(index),
            "statusListCredential": self._url(number, old),
        }

    def mark(self, tx: Tx, code: str, state: str) -> None:
        """Set the state of every credential of a connector: valid, suspended or revoked."""
        store_claims.mark_status(tx, code, state)

    def published(self, number: int, old: bool) -> str:
        """The signed list as JWT; raises StatusListUnknown for one never begun."""

        def read(tx: Tx) -> list[int]:
            if not store_claims.count_status(tx, number):
                raise StatusListUnknown
            return store_claims.set_bits(tx, number)

        text = bits.encode(self._db.read(read), multibase=not old)
        url, now = self._url(number, old), self._db.clock.now()
        claims = _list_claims(self._did, url, text, now, old)
        typ = "JWT" if old else "vc+jwt"
        key = self._key.now
        return suites.jwt(key, claims, f"{self._did}#{key.kid}", typ)

    def _url(self, number: int, old: bool) -> str:
        return f"{self._base}/{number}" + ("/2021" if old else "")


def _list_claims(issuer: str, url: str, text: str, now: datetime, old: bool) -> dict[str, Any]:
    kind = "StatusList2021" if old else "BitstringStatusList"
    ends = now + _GRACE
    body: dict[str, Any] = {
        "@context": [CONTEXT_11 if old else CONTEXT_20],
        "id": url,
        "type": ["VerifiableCredential", f"{kind}Credential"],
        "issuer": issuer,
        "credentialSubject": {
            "id": f"{url}#list",
            "type": kind,
            "statusPurpose": _PURPOSE,
            "encodedList": text,
        },
    }
    begins = to_second(now)
    whole: dict[str, Any] = {
        "iss": issuer,
        "sub": url,
        "iat": int(now.timestamp()),
        "exp": int(ends.timestamp()),
    }
    if old:
        return {**whole, "vc": {**body, "issuanceDate": begins}}
    return {**whole, **body, "validFrom": begins, "validUntil": to_second(ends)}


@dataclass
class _Held:
    """One list as it was last had; `asked_at` moves with failures too."""

    lock: threading.Lock
    bits: bits.Bits | None = None
    had_at: datetime | None = None
    asked_at: datetime | None = None
    why: str = ""
    answered: bool = False  # with something that is no list of this issuer


class StatusCheck:
    """Asks the lists that credentials name. `fetch` is guarded; `keys` finds an issuer's key."""

    def __init__(self, clock: Clock, fetch: Callable[[str], bytes], keys: Keys) -> None:
        self._clock = clock
        self._fetch = fetch
        self._keys = keys
        self._lists: OrderedDict[tuple[str, str, str], _Held] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, entries: tuple[StatusEntry, ...], issuer: str) -> None:
        """Refuse what is revoked or suspended, or may be.

        Raises CredentialRevoked, CredentialRefused (an entry no list has), StatusRefused (what
        answers is no list of the issuer), StatusUnavailable.
        """
        for entry in entries:
            if entry.purpose not in PURPOSES:
                continue  # `refresh` and `message` say nothing about validity
            found = self._list(entry.url, issuer, entry.purpose)
            try:
                if found.at(entry.index):
                    raise CredentialRevoked(purpose=entry.purpose)
            except bits.BitsUnreadable as error:
                raise CredentialRefused(why=str(error)) from error

    def _list(self, url: str, issuer: str, purpose: str) -> bits.Bits:
        with self._lock:
            held = self._lists.setdefault((url, issuer, purpose), _Held(threading.Lock()))
            self._lists.move_to_end((url, issuer, purpose))
            while len(self._lists) > limits.STATUS_LISTS_MAX:
                self._lists.popitem(last=False)
        # One request asks and the others wait for what it learns; while an issuer is silent,
        # one goes on asking and the others take what the grace allows.
        mine = held.lock.acquire(blocking=not held.why)
        try:
            now = self._clock.now()
            if mine and (held.had_at is None or now - held.had_at >= _CACHE):
                self._ask(held, now, url, issuer, purpose)
        finally:
            if mine:
                held.lock.release()
        if held.bits is None or held.had_at is None or now - held.had_at >= _GRACE:
            raise (StatusRefused if held.answered else StatusUnavailable)(why=held.why)
        return held.bits

    def _ask(self, held: _Held, now: datetime, url: str, issuer: str, purpose: str) -> None:
        pause = timedelta(seconds=limits.STATUS_RETRY_S)
        if held.why and held.asked_at is not None and now - held.asked_at < pause:
            return
        held.asked_at, held.answered = now, False
        try:
            body = self._fetch(url)
        except DidUnresolvable as error:
            held.why = str(error.facts.get("why", error.code))
            return
        except YunheError as error:
            held.why, held.answered = error.code, error.status < 500
            return
        try:
            held.bits, held.why = self._read(body, issuer, purpose, now), ""
            held.had_at = now
        except (bits.BitsUnreadable, jwts.JwtUnreadable) as error:
            held.why, held.answered = str(error), True
        except YunheError as error:
            held.why, held.answered = error.code, error.status < 500

    def _read(self, body: bytes, issuer: str, purpose: str, now: datetime) -> bits.Bits:
        """The bits of a list that `issuer` signed; raises BitsUnreadable, JwtUnreadable."""
        try:
            text = body.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise bits.BitsUnreadable("the list is no JWT") from error
        draft = jwts.read(text, limits.STATUS_LIST_BYTES_MAX)
        claims = draft.claims
        if not draft.suite_known or jwts.text(claims, "iss") != issuer:
            raise bits.BitsUnreadable("the list is not of the issuer")
        if not draft.verifies(self._keys(issuer, draft.header.get("kid"))):
            raise bits.BitsUnreadable("the signature of the list does not verify")
        moment = now.timestamp()
        if "exp" in claims and jwts.seconds(claims, "exp") <= moment:
            raise bits.BitsUnreadable("the list has expired")
        if "iat" in claims and jwts.seconds(claims, "iat") > moment + _SKEW.total_seconds():
            raise bits.BitsUnreadable("the list is dated in the future")
        inner = claims.get("vc")
        body_ = inner if isinstance(inner, dict) else claims
        subject = body_.get("credentialSubject")
        if not isinstance(subject, dict) or purpose not in _texts(subject.get("statusPurpose")):
            raise bits.BitsUnreadable("the list is for another purpose")
        return bits.decode(subject.get("encodedList"))


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
