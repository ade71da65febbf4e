"""A whole production node for one group of the kit, and what the kit wants beside it.

In: a folder, addresses, the part the node plays. Out: `Cut` with its app. The token endpoint is
the one of DCP's own (non-normative) appendix; the script entitles every holder of the kit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from yunhe import identity
from yunhe.identity.vcs import VC11, VC20
from yunhe.kernel.canonical import dumps
from yunhe.kernel.db import Tx
from yunhe.kernel.settings import NodeConfig, TrustRoot
from yunhe.node import Node

SECRET: Final = "known to the kit and to nobody else"  # noqa: S105  it guards nothing real
SENSITIVE: Final = "SensitiveDataCredential"
HOLDER_PID: Final = "yunhe-tck"
# The kit of this version reads formats by the names of its own Java enum.
FORMATS: Final = {VC11: "VC1_0_JWT", VC20: "VC2_0_JOSE"}


def entitle(_tx: Tx, did: str, _type: str) -> tuple[dict[str, Any], str] | None:
    """Whoever asks is entitled: identity.issuer.Entitle."""
    return {"id": did, "foo": "bar"}, did


class Cut:
    """The node under test. `start` it, serve its `app`, `stop` it."""

    def __init__(self, folder: Path, address: str, kit_did: str, issuer: bool) -> None:
        config = NodeConfig(
            name="tck",
            subject_code="91330100MA00000665",
            subject_name="TCK",
            subject_name_en="TCK",
            address=address,
            data_dir=folder / "data",
            roles=("functional-node",) if issuer else ("connector",),
            development=True,
            workers=1,
            trust_roots=() if issuer else (TrustRoot(f"{kit_did}:issuer"),),
        )
        self.node = Node(config)
        if issuer:
            who = self.node.identity
            who.issuer.objects = identity.supported(identity.MEMBERSHIP, SENSITIVE)
            who.issuer.entitle = entitle
            self.node.claims_delivery.formats = FORMATS
        else:
            self._expect(f"{kit_did}:issuer")

    def _expect(self, issuer: str) -> None:
        wallet = self.node.identity.wallet
        self.node.db.write(lambda tx: wallet.expect(tx, HOLDER_PID, issuer, ()))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The node's app, and the token endpoint before it."""
        if scope["type"] == "http" and scope["path"] == "/tck/sts/token":
            answer = self._token(await Request(scope, receive).body())
            await answer(scope, receive, send)
        else:
            await self.node.app(scope, receive, send)

    def _token(self, body: bytes) -> Response:
        """The holder's token for a verifier, as an OAuth 2 client credentials grant."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form.get("client_secret") != SECRET:
            return Response(status_code=401)
        who, audience = self.node.identity, form["audience"]
        token = who.wallet.access_token(audience, tuple(form["bearer_access_scope"].split()))
        made = {"access_token": who.foreign.mint(audience, token), "token_type": "Bearer"}
        return Response(dumps(made), media_type="application/json")

    def start(self) -> None:
        """Start the node."""
        self.node.start()

    def stop(self) -> None:
        """Stop the node."""
        self.node.stop()
