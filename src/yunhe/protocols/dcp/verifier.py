"""Who a foreign node is: its token verified, its wallet asked, its credentials held to the rules.

In: an Authorization header. Out: a Peer as the rest of the house knows it. Tokens of our own
nodes inline their credential and take the short way. What a foreign wallet showed for an access
token counts for FOREIGN_KNOWN_S, so that a conversation asks it once; its status is asked of the
list each time. Another access token may open other credentials, so it is asked anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from yunhe import identity
from yunhe.identity import Credential, Identity, Peer
from yunhe.kernel import ids, limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import YunheError
from yunhe.protocols.dcp.client import HOLDER, ClaimsClient
from yunhe.protocols.dcp.schema import SchemaCheck

_Key = tuple[str, str]  # DID, digest of the access token
_KNOWN: Final = timedelta(seconds=limits.FOREIGN_KNOWN_S)
_REUSED: Final = timedelta(seconds=limits.ACCESS_TOKEN_REUSED_S)


class Verifier:
    """Authenticates whoever calls the DSP face or the data door, by either way."""

    def __init__(self, who: Identity, client: ClaimsClient) -> None:
        self._who = who
        self._client = client
        self._schema = SchemaCheck(who.fetch)
        self._shown: OrderedDict[_Key, tuple[datetime, list[Credential]]] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(self, authorization: str) -> Peer:
        """The node behind a header; its token is spent by this.

        Raises what Peers.authenticate_peer, ForeignTokens.authenticate and
        PresentationCheck.verify raise, PresentationIncomplete, NoSuchService, PeerFailed.
        """
        if not identity.carries_access_token(authorization):
            return self._who.authenticate_peer(authorization)
        return self._foreign(authorization)

    def verify(self, authorization: str) -> tuple[Peer, Callable[[Tx], Peer]]:
        """As `authenticate`, but a token of our own kind is spent by `admit(tx)`, the second.

        That raises TokenReplayed and PeerSuspended.
        """
        foreign, read = identity.told_apart(authorization)
        if foreign:
            peer = self._foreign(authorization)
            return peer, lambda _tx: peer
        verified = self._who.peers.verify(authorization, read)
        return verified.peer, lambda tx: self._who.peers.admit(tx, verified)

    def _foreign(self, authorization: str) -> Peer:
        # Spent before the wallet is asked: a replayed token causes no request of ours.
        asker = self._who.foreign.authenticate(authorization)
        if not asker.token:
            raise identity.AccessTokenMissing
        found = self._credentials(asker)
        member = next((one for one in found if identity.MEMBERSHIP in one.types), None)
        if member is None:
            raise identity.PresentationIncomplete(type=identity.MEMBERSHIP)
        return _peer(asker, member.subject)

    def _credentials(self, asker: identity.SelfIssued) -> list[Credential]:
        """What the wallet of `asker` shows, or showed a moment ago; each in good standing now."""
        now = self._who.clock.now()
        key = (asker.did, sha256_hex(asker.token.encode("utf-8", "surrogatepass")))
        with self._lock:
            at, found = self._shown.get(key, (None, []))
        if at is not None and timedelta(0) <= now - at < _KNOWN:
            self._who.presentations.standing(found)
            return found
        given = self._client.query(asker.did, asker.token, (identity.MEMBERSHIP_SCOPE,))
        found = self._who.presentations.verify(given, asker.did, self._schema)
        if any(identity.MEMBERSHIP in one.types for one in found):
            with self._lock:
                self._shown[key] = (now, found)
                self._shown.move_to_end(key)
                while len(self._shown) > limits.CREDENTIAL_CACHE_MAX:
                    self._shown.popitem(last=False)
        return found


def _peer(asker: identity.SelfIssued, said: dict[str, Any]) -> Peer:
    code, subject_code = "", ""
    if said.get("connectorCode"):
        try:
            parsed = ids.parse(str(said["connectorCode"]))
        except ids.BadCode as error:
            raise identity.CredentialRefused(why="its connector code is not valid") from error
        if parsed.subject != said.get("subjectCode"):
            raise identity.CredentialRefused(why="its codes do not fit each other")
        code, subject_code = parsed.stem, parsed.subject
    return Peer(
        did=asker.did,
        member=True,
        code=code,
        subject_code=subject_code,
        name=str(said.get("name") or asker.did),
        jwk=asker.jwk,
        name_en=str(said.get("nameEn") or ""),
        address=str(said.get("address") or ""),
    )


class Speaker:
    """Our token for a peer: inline credential for our own kind, an access token for the others."""

    def __init__(self, who: Identity) -> None:
        self._who = who
        self._opened: OrderedDict[str, tuple[datetime, str]] = OrderedDict()
        self._lock = threading.Lock()

    def mint(self, did: str) -> str:
        """A token for one request to `did`."""
        if not self._foreign(did):
            return self._who.mint(did)
        return self._who.foreign.mint(did, self._access_token(did))

    def _access_token(self, did: str) -> str:
        """One access token for a conversation: who asks our wallet with it need not ask again."""
        now = self._who.clock.now()
        with self._lock:
            at, found = self._opened.get(did, (None, ""))
            if at is None or not timedelta(0) <= now - at < _REUSED:
                found = self._who.wallet.access_token(did, (identity.MEMBERSHIP_SCOPE,))
                self._opened[did] = (now, found)
            self._opened.move_to_end(did)
            while len(self._opened) > limits.CREDENTIAL_CACHE_MAX:
                self._opened.popitem(last=False)
            return found

    def _foreign(self, did: str) -> bool:
        try:
            services = self._who.ring.document(did).services
        except YunheError:
            return False  # the call itself will say what is wrong with the peer
        return HOLDER in services and "TdsService" not in services
