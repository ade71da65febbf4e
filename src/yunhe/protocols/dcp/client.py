"""Calls to the services that DID documents name: wallets to ask, holders and issuers to write to.

In: a peer's DID, a message. Out: its answer, bounded. The address is a stranger's word: the HTTP
client is the guarded one, and the token is for that DID alone.
"""

from __future__ import annotations

from typing import Any, Final

import httpx

from yunhe import identity
from yunhe.identity import Identity, guarded_body
from yunhe.kernel import limits
from yunhe.kernel.bodies import ACCEPTED
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.kernel.outbox import GiveUp, Message, Outbox, Retry, enqueue
from yunhe.protocols.dcp import wire
from yunhe.protocols.dcp.errors import NoSuchService, PeerFailed

HOLDER: Final = "CredentialService"
ISSUER: Final = "IssuerService"
REQUEST: Final = "dcp.CredentialRequest"


class ClaimsClient:
    """`http` is a guarded client (identity.GuardedClient)."""

    def __init__(self, http: httpx.Client, who: Identity) -> None:
        self._http = http
        self._who = who

    def post(
        self, did: str, service: str, path: str, body: wire.Json, token: str = ""
    ) -> tuple[int, bytes]:
        """POST to a service of `did`; `token` goes into our self-issued one.

        Raises NoSuchService, PeerFailed, DidUnresolvable, AddressForbidden.
        """
        endpoint = self._who.ring.document(did).services.get(service)
        if endpoint is None:
            raise NoSuchService(service=service)
        bearer = f"Bearer {self._who.foreign.mint(did, token)}"
        headers = {"Accept-Encoding": ACCEPTED, "Authorization": bearer}
        try:
            with self._http.stream("POST", endpoint + path, json=body, headers=headers) as response:
                raw = guarded_body(response, limits.JSON_BYTES_MAX)
                if len(raw) > limits.JSON_BYTES_MAX:
                    raise PeerFailed(why="its answer is too long")
                return response.status_code, raw
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PeerFailed(detail=str(error), why=type(error).__name__) from error

    def query(self, holder: str, token: str, scopes: tuple[str, ...]) -> list[Any]:
        """The presentations that a holder's wallet gives for its own access token.

        Raises PresentationRefused when it says no, else as `post`.
        """
        body = wire.message("PresentationQueryMessage", scope=list(scopes))
        status, raw = self.post(holder, HOLDER, "/presentations/query", body, token)
        if status >= 500:
            raise PeerFailed(why=f"it answers {status}")
        if status >= 300:
            raise identity.PresentationRefused(why=f"the credential service answers {status}")
        try:
            found = loads_strict(raw)
        except YunheError as error:
            raise identity.PresentationRefused(why="the answer is not JSON") from error
        given = found.get("presentation") if isinstance(found, dict) else None
        if not isinstance(given, list):
            raise identity.PresentationRefused(why="the answer holds no presentations")
        return given


class ClaimsDelivery:
    """Brings credentials to their holders, and our requests to issuers, through the outbox.

    `formats` are the names of the profiles in a message; DCP leaves them to the parties.
    """

    def __init__(self, client: ClaimsClient, who: Identity) -> None:
        self._client = client
        self._who = who
        self.formats: dict[str, str] = {}

    def install(self, outbox: Outbox) -> None:
        """Take both kinds of message from the outbox."""
        outbox.deliver(identity.ISSUANCE_KIND, self._bring)
        outbox.deliver(REQUEST, self._ask)

    def request_membership(self, tx: Tx, issuer: str) -> None:
        """Ask a registrar of ours for its membership credentials in every profile."""
        ids = tuple(one.id for one in identity.supported(identity.MEMBERSHIP))
        pid = self._who.wallet.request(tx, issuer, ids)
        enqueue(tx, REQUEST, issuer, f"dcp:{pid}", {"holder_pid": pid, "objects": list(ids)})

    def _bring(self, message: Message) -> dict[str, Any] | None:
        said = message.payload
        credentials = [
            {
                "credentialType": one["type"],
                "payload": one["jwt"],
                "format": self.formats.get(one["profile"], one["profile"]),
            }
            for one in said["credentials"]
        ]
        body = wire.message(
            "CredentialMessage",
            issuerPid=said["issuer_pid"],
            holderPid=said["holder_pid"],
            status=said["status"],
            credentials=credentials,
        )
        if said["reason"]:
            body["rejectionReason"] = said["reason"]
        self._send(message.peer, HOLDER, body, said["token"])
        return None

    def _ask(self, message: Message) -> dict[str, Any] | None:
        said = message.payload
        objects = [{"id": id_} for id_ in said["objects"]]
        body = wire.message(
            "CredentialRequestMessage", holderPid=said["holder_pid"], credentials=objects
        )
        self._send(message.peer, ISSUER, body, "")
        return None

    def _send(self, peer: str, service: str, body: wire.Json, token: str) -> None:
        try:
            status, _ = self._client.post(peer, service, "/credentials", body, token)
        except Unavailable as error:
            raise Retry(error.sentence()) from error
        except YunheError as error:
            if error.status >= 500:
                raise Retry(error.sentence()) from error
            raise GiveUp(error.sentence()) from error
        if status >= 500 or status in (408, 425, 429):
            raise Retry(f"the peer answers {status}")
        if status >= 300:
            raise GiveUp(f"the peer answers {status}")
