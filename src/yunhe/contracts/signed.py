"""Whether the other party signed an agreement.

In: what its message carries, and its key. Out: the signature once it verifies, or why it does not,
for which a negotiation ends.
"""

from __future__ import annotations

from yunhe.contracts.errors import SignatureReason
from yunhe.contracts.model import Party, Side, Why
from yunhe.kernel.keys import BadSignature, verify_jws_detached

_WRONG = {
    Side.PROVIDER: (
        SignatureReason.PROVIDER_SIGNATURE,
        "The provider's signature does not verify over the agreement.",
        "提供方对协议的签名未通过验证。",
    ),
    Side.CONSUMER: (
        SignatureReason.CONSUMER_SIGNATURE,
        "The consumer's signature does not verify over the agreement.",
        "使用方对协议的签名未通过验证。",
    ),
}


def signature_of(signer: Side, peer: Party, said: str, document: bytes) -> str | Why:
    """What `peer` signed `document` with, as a detached JWS; "" where it signed nothing, or only
    its transport vouches for it."""
    if not said or peer.jwk is None:
        return ""
    try:
        verify_jws_detached(dict(peer.jwk), said, document)
    except BadSignature as bad:
        code, en, zh = _WRONG[signer]
        return Why(code, (en, zh, bad.sentence("en")))
    return said
