"""Sending TDS messages to other nodes and trusting no answer that is not signed by them.

In: an address, the DID expected there, a message. Out: the data of the answer, or an error: the
peer's own refusal, or that it could not be reached or believed.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import httpx

from yunhe.identity import GuardedClient, Identity, MemberOnly
from yunhe.kernel import canonical, limits
from yunhe.kernel.errors import YunheError
from yunhe.protocols.tds import framing
from yunhe.protocols.tds.errors import (
    AnswerUntrusted,
    BadSignValue,
    PeerRefused,
    PeerUnavailable,
    raise_for,
)


class TdsClient:
    """Calls other nodes; connections are kept open and shared by threads."""

    def __init__(self, identity: Identity, transport: httpx.BaseTransport | None = None) -> None:
        """`transport` replaces the guarded network transport, in tests."""
        self._identity = identity
        self._http = (
            GuardedClient(identity.egress, limits.TDS_CALL_S_MAX)
            if transport is None
            else httpx.Client(transport=transport, trust_env=False)
        )

    def call(
        self,
        address: str,
        did: str,
        name: str,
        body: dict[str, Any],
        timeout: float = limits.TDS_CALL_S_MAX,
        credential: bool = True,
    ) -> dict[str, Any]:
        """Send message `name` to the node `did` at base URL `address`; the answer's `data`.

        `timeout` in seconds. Raises PeerUnavailable (try again), PeerRefused (with the peer's
        code), AnswerUntrusted (not signed by `did`), AddressForbidden.
        """
        sequence = uuid.uuid4().hex
        frame = framing.sign(self._identity.key, body, name, sequence, self._identity.clock.now())
        carried = self._identity.own_credential() if credential else ""
        token = self._identity.mint(did, credential)
        headers = {
            **frame.headers(),
            "authorization": f"Bearer {token}",
            "content-type": framing.MEDIA_TYPE,
        }
        url = f"{address.rstrip('/')}/tds/{name}"
        status, got, raw = self._post(did, url, canonical.dumps(body), headers, timeout)
        envelope = self._trusted(did, name, sequence, status, got, raw)
        data = envelope.get("data")
        data = data if isinstance(data, dict) else {}
        message = str(envelope.get("message", ""))[: limits.TDS_MESSAGE_CHARS_MAX]
        try:
            raise_for(did, str(envelope.get("code", "")), message, data)
        except PeerRefused as refused:
            if credential and not carried and self._between_credentials(refused):
                raise PeerUnavailable(detail=message, did=did) from refused
            raise
        return data

    def _between_credentials(self, refused: PeerRefused) -> bool:
        """Whether we are a member, and only without a credential for our newest key as yet."""
        return refused.peer_code == MemberOnly.code and bool(self._identity.own_code())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(
        self, did: str, url: str, content: bytes, headers: dict[str, str], timeout: float
    ) -> tuple[int, httpx.Headers, bytes]:
        deadline = time.monotonic() + timeout
        raw = bytearray()
        try:
            with self._http.stream(
                "POST", url, content=content, headers=headers, timeout=timeout
            ) as got:
                for chunk in got.iter_raw():
                    raw += chunk
                    if len(raw) > limits.TDS_REPLY_BYTES_MAX:
                        raise AnswerUntrusted(did=did, why="it is too large", why_zh="应答过大")
                    if time.monotonic() > deadline:
                        raise PeerUnavailable(detail="too slow", did=did)
                return got.status_code, got.headers, bytes(raw)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PeerUnavailable(detail=str(error), did=did) from error

    def _trusted(
        self, did: str, name: str, sequence: str, status: int, headers: httpx.Headers, raw: bytes
    ) -> dict[str, Any]:
        """The envelope, once it is proven to be `did`'s answer to this very message."""
        if status >= 500 and "signValue" not in headers:
            raise PeerUnavailable(detail=f"HTTP {status}", did=did)
        try:
            frame = framing.read(headers, self._identity.clock.now())
            envelope = framing.read_body(raw, limits.TDS_REPLY_BYTES_MAX)
            if frame.sequence != sequence or frame.name != name:
                en, zh = "it answers another message", "它应答的是另一条消息"
                raise AnswerUntrusted(did=did, why=en, why_zh=zh)
            self._check(did, frame, envelope)
        except AnswerUntrusted:
            raise
        except BadSignValue as error:
            en, zh = "no key that is known of it signed this", "签名不是其任何已知密钥所作"
            raise AnswerUntrusted(did=did, why=en, why_zh=zh) from error
        except YunheError as error:
            en, zh = "it is not a signed answer", "不是带签名的应答"
            raise AnswerUntrusted(detail=str(error), did=did, why=en, why_zh=zh) from error
        return envelope

    def _check(self, did: str, frame: framing.Frame, envelope: dict[str, Any]) -> None:
        """Refuse what `did` has not signed; a frame names no key, so it may be one it has now."""
        try:
            framing.check_signature(frame, envelope, self._identity.keys_of(did))
        except BadSignValue:
            framing.check_signature(frame, envelope, self._identity.keys_anew(did))
