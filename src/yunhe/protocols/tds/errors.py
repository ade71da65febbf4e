"""Result codes of N03 Annex C (A BC DEF), from our errors and back.

In: a YunheError and a message name. Out: six digits for the envelope. In: an envelope of a peer.
Out: the error to raise here.
"""

from __future__ import annotations

from typing import Any, Final

from yunhe import identity
from yunhe.kernel.canonical import BadJson
from yunhe.kernel.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    YunheError,
)
from yunhe.protocols.tds.messages import MESSAGES


class HeaderMissing(Invalid):
    code = "TDS_HEADER_MISSING"
    en = "The header {name} is missing."
    zh = "缺少请求头 {name}。"


class HeaderInvalid(Invalid):
    code = "TDS_HEADER_INVALID"
    en = "The header {name} is not valid."
    zh = "请求头 {name} 格式不正确。"


class HeaderTooLong(Invalid):
    code = "TDS_HEADER_TOO_LONG"
    en = "The header {name} is too long."
    zh = "请求头 {name} 超长。"


class VersionUnknown(Invalid):
    code = "TDS_VERSION_UNKNOWN"
    en = "This node speaks version {version} of the message."
    zh = "本节点支持的消息版本为 {version}。"


class StaleTimestamp(Invalid):
    code = "TDS_TIMESTAMP"
    en = "The timestamp is more than {window_s} s off."
    zh = "时间戳偏差超过 {window_s} 秒。"
    mend_en = "Set the clock of the sender and send again."
    mend_zh = "请校准发送方时钟后重新发送。"


class UnknownMessage(Invalid):
    code = "TDS_MESSAGE_UNKNOWN"
    en = "This node does not know the message {name}."
    zh = "本节点不支持消息 {name}。"
    mend_en = "See docs/identity.md for the messages of this node."
    mend_zh = "请参阅 docs/identity.md 中本节点支持的消息。"


class UnreadableMessage(Invalid):
    code = "TDS_MESSAGE_UNREADABLE"
    en = "The body is not an acceptable JSON object."
    zh = "消息体不是可接受的 JSON 对象。"
    mend_en = "Send one JSON object of at most 1 MiB and 32 levels, without doubles."
    mend_zh = "请发送单个 JSON 对象：不超过 1 MiB、32 层，且无重复成员。"


class BadSignValue(Unauthenticated):
    code = "TDS_SIGNATURE"
    en = "The signValue does not verify."
    zh = "signValue 验证不通过。"
    mend_en = "Sign the RFC 8785 bytes of body, msgcode, msgversion, sequenceNum and timestamp."
    mend_zh = "请对 body、msgcode、msgversion、sequenceNum、timestamp 的 RFC 8785 字节签名。"


class AnswerUntrusted(Unauthenticated):
    code = "TDS_ANSWER_UNTRUSTED"
    en = "The answer of {did} cannot be trusted: {why}."
    zh = "{did} 的应答不可信：{why}。"
    mend_en = (
        "Check the peer's address and DID, and whether its key was rotated: a trust root's new key "
        "is added to trust_roots in node.toml."
    )
    mend_zh = "请核对对方地址与 DID；若其密钥已轮换，请将可信根的新密钥加入 trust_roots。"


class PeerUnavailable(Unavailable):
    code = "PEER_UNAVAILABLE"
    en = "The peer {did} does not answer at the moment."
    zh = "对方节点 {did} 暂时无应答。"


class PeerRefused(Denied):
    """The peer's refusal. `facts`: peer_code (its stable code), result (Annex C), said."""

    code = "PEER_REFUSED"
    en = "The peer refused ({peer_code}): {said}"
    zh = "对方节点拒绝（{peer_code}）：{said}"
    mend_en = "{remedy}"
    mend_zh = "{remedy}"

    @property
    def peer_code(self) -> str:
        """The stable code the peer gave, e.g. SUBJECT_NOT_REGISTERED."""
        return str(self.facts.get("peer_code", ""))

    @property
    def result(self) -> str:
        """The six digits of Annex C."""
        return str(self.facts.get("result", ""))


# First match wins, so the particular stands before the general: (error, A, DEF).
_RESULTS: Final[tuple[tuple[type[YunheError], str, str], ...]] = (
    (HeaderMissing, "2", "001"),
    (HeaderTooLong, "2", "003"),
    (VersionUnknown, "2", "005"),
    (StaleTimestamp, "2", "006"),
    (UnknownMessage, "2", "007"),
    (UnreadableMessage, "2", "008"),
    (BadJson, "2", "008"),
    (TooLarge, "2", "003"),
    (identity.DidUnreachable, "1", "001"),
    (identity.TokenExpired, "1", "005"),
    (identity.CredentialExpired, "1", "005"),
    (identity.TokenSignature, "1", "006"),
    (identity.TokenKeyUnknown, "1", "006"),
    (BadSignValue, "1", "006"),
    (identity.CredentialRefused, "1", "006"),
    (identity.PeerSuspended, "3", "002"),
    (identity.AlreadyRegistered, "3", "003"),
    (identity.ApplicationPending, "3", "003"),
    (Unauthenticated, "1", "004"),
    (Denied, "1", "004"),
    (RateLimited, "1", "001"),
    (Unavailable, "1", "001"),
    (Invalid, "2", "002"),
    (NotFound, "3", "001"),
    (Conflict, "3", "000"),
)

_TRY_AGAIN: Final = frozenset({"000", "001", "002", "003"})  # of A = 1: system, busy, time, net


def business_of(name: str) -> str:
    """BC of a message; 00 for one we do not know."""
    message = MESSAGES.get(name)
    return message.business if message else "00"


def result_code(error: YunheError | None, name: str) -> str:
    """Six digits A BC DEF for an error, or for success when there is none (N03 Annex C)."""
    business = business_of(name)
    if error is None:
        return f"0{business}000"
    for kind, group, number in _RESULTS:
        if isinstance(error, kind):
            return f"{group}{business}{number}"
    return f"1{business}000"


def http_status(error: YunheError) -> int:
    """Of a message that reached its handler: 200, but 401, 403, 429 and 5xx as they are."""
    return error.status if error.status in (401, 403, 429) or error.status >= 500 else 200


def raise_for(did: str, code: str, message: str, data: dict[str, Any]) -> None:
    """Raise what a peer's signed answer means; returns when it means success.

    Raises PeerUnavailable where trying again may help, else PeerRefused.
    """
    if len(code) == 6 and code[0] == "0" and code[3:] == "000":
        return
    problem = data.get("problem")
    said: dict[str, Any] = problem if isinstance(problem, dict) else {}
    if len(code) == 6 and code[0] == "1" and code[3:] in _TRY_AGAIN:
        raise PeerUnavailable(detail=f"{code} {message}", did=did)
    given = said.get("zh")
    zh: dict[str, Any] = given if isinstance(given, dict) else {}
    remedy = str(said.get("remedy", ""))[:500]
    raise PeerRefused(
        peer_code=str(said.get("code", code))[:64],
        result=code[:64],
        said=message,
        said_zh=str(zh.get("detail", message))[:500],
        remedy=remedy,
        remedy_zh=str(zh.get("remedy", remedy))[:500],
    )
