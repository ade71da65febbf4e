"""What can go wrong on the wire between holders, issuers and verifiers."""

from __future__ import annotations

from yunhe.kernel.errors import Unauthenticated, Unavailable


class NoSuchService(Unauthenticated):
    code = "DCP_SERVICE_MISSING"
    en = "The DID document of the peer names no {service}."
    zh = "对方 DID 文档未列出 {service}。"
    mend_en = "Add the service entry of DCP 1.0 to the DID document."
    mend_zh = "请在 DID 文档中加入 DCP 1.0 的服务条目。"


class PeerFailed(Unavailable):
    code = "DCP_PEER_FAILED"
    en = "The credential service of the peer did not answer: {why}."
    zh = "对方凭证服务未响应：{why}。"
    mend_en = "Try again when it answers."
    mend_zh = "请在其恢复后重试。"
