"""What can go wrong on the client's side, and the refusals that a node sent."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPException
from typing import Any, Final

import httpx

from yunhe.kernel import tongues
from yunhe.kernel.errors import Conflict, Invalid, Unavailable, YunheError


def _told(self: YunheError) -> str:
    """Met in a notebook, where nothing else is seen: what it was, why, and what to do."""
    lang = tongues.reader()
    return f"{self.code}: {self.sentence(lang)} {self.remedy(lang)}".rstrip()


class YunheRefused(YunheError):
    """A node's refusal, read from its RFC 9457 problem body.

    `.code`, `.status` and `.facts` are the node's; `.sentence(lang)` and `.remedy(lang)` are its
    words in `en` or `zh`; `.zh` is the Chinese member as sent.
    """

    code, status = "REFUSED_BY_NODE", 400
    en = "The node refused; its own code and words come with the refusal."
    zh = "节点拒绝了请求；拒绝原因以节点返回的代码和说明为准。"
    mend_en = "Follow the remedy that the node gives."
    mend_zh = "请按节点给出的建议处理。"

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        zh = problem.get("zh")
        facts = problem.get("facts")
        self.zh_words: dict[str, str] = zh if isinstance(zh, dict) else {}
        self.words = (str(problem.get("detail", "")), str(problem.get("remedy", "")))
        # The node's values stand before those of the class.
        vars(self).update(code=str(problem["code"]), status=status)
        super().__init__(**(facts if isinstance(facts, dict) else {}))

    __str__ = _told

    def sentence(self, lang: str = "en") -> str:
        """What the node said, in `zh` where it said it."""
        return self.zh_words.get("detail", self.words[0]) if lang == "zh" else self.words[0]

    def remedy(self, lang: str = "en") -> str:
        """How to mend it, in `zh` where the node said it."""
        return self.zh_words.get("remedy", self.words[1]) if lang == "zh" else self.words[1]


class NodeUnreachable(Unavailable):
    code = "NODE_UNREACHABLE"
    en = "The node at {url} does not answer: {why}."
    zh = "无法连接节点 {url}：{why_zh}。"
    mend_en = "Check the address and that the node is running, then try again."
    mend_zh = "请核对地址并确认节点正在运行，然后重试。"

    __str__ = _told

    def __init__(self, detail: str = "", **facts: Any) -> None:
        facts.setdefault("why_zh", facts.get("why"))
        super().__init__(detail, **facts)


_WHYS: Final[tuple[tuple[tuple[type[BaseException], ...], str, str], ...]] = (
    ((ConnectionRefusedError,), "connection refused", "连接被拒绝"),
    ((socket.gaierror,), "no such host", "找不到该主机"),
    ((ssl.SSLCertVerificationError,), "its certificate is not trusted", "其证书不受信任"),
    ((ssl.SSLError,), "no TLS connection", "无法建立 TLS 连接"),
    ((TimeoutError, httpx.TimeoutException), "no answer in time", "未及时应答"),
    ((httpx.ConnectError,), "no connection", "无法建立连接"),
    (
        (ConnectionError, HTTPException, httpx.NetworkError, httpx.RemoteProtocolError),
        "the connection broke off",
        "连接中断",
    ),
)


def unreachable(url: str, error: BaseException) -> NodeUnreachable:
    """The error for a node that did not answer, with the reason in words."""
    causes, each = [error], error.__cause__ or error.__context__
    while each is not None and len(causes) < 10:
        causes.append(each)
        each = each.__cause__ or each.__context__
    for kinds, en, zh in _WHYS:
        if any(isinstance(cause, kinds) for cause in causes):
            return NodeUnreachable(detail=repr(error), url=url, why=en, why_zh=zh)
    return NodeUnreachable(detail=repr(error), url=url, why=type(error).__name__)


class UnexpectedAnswer(Unavailable):
    code = "UNEXPECTED_ANSWER"
    en = "What answered at {url} is not a Yunhe node of this version: {why}."
    zh = "{url} 的应答不符合本版本运河节点的格式：{why}。"
    mend_en = "Check the address; a proxy may stand before the node."
    mend_zh = "请核对地址；节点前可能有代理。"

    __str__ = _told


class InsecureUrl(Invalid):
    code = "INSECURE_URL"
    en = "A token would travel in clear text to {url}."
    zh = "令牌将以明文发送到 {url}。"
    mend_en = "Use an https address, or say `insecure=True` (`--insecure`) in a closed network."
    mend_zh = "请使用 https 地址；封闭网络内可指定 insecure=True（--insecure）。"

    __str__ = _told


class ArrowMissing(Invalid):
    code = "ARROW_MISSING"
    en = "{package} is not installed, and the answer of a query is a table."
    zh = "未安装 {package}，无法读取查询结果表。"
    mend_en = "Install it: pip install 'yunhe[arrow]' (pandas and polars by their own names)."
    mend_zh = "请安装：pip install 'yunhe[arrow]'（pandas、polars 按其名称安装）。"

    __str__ = _told


class StreamBroken(Unavailable):
    code = "STREAM_BROKEN"
    en = "The result of use {use_id} ended before its end."
    zh = "使用 {use_id} 的结果流未完整结束。"
    mend_en = "Nothing partial was returned. See the state of the use, then ask again."
    mend_zh = "未返回任何部分结果。请查看该次使用的状态后重试。"

    __str__ = _told


class PushEnded(Conflict):
    code = "PUSH_ENDED"
    en = "The push {transfer_id} ended before all had come: {why}"
    zh = "推送 {transfer_id} 未完整到达即已结束：{why_zh}"
    mend_en = "Nothing partial was written. Mend what is named, then ask for a new push."
    mend_zh = "未写入任何部分结果。请先解决所述问题，再重新请求推送。"

    __str__ = _told


class PushTimeout(Unavailable):
    code = "PUSH_TIMEOUT"
    en = "The push {transfer_id} is still {state} after {seconds} seconds."
    zh = "推送 {transfer_id} 在 {seconds} 秒后仍处于 {state} 状态。"
    mend_en = "It goes on by itself: `yunhe transfers show {transfer_id}`, then `fetch`."
    mend_zh = "推送会自动继续：先运行 yunhe transfers show {transfer_id}，到达后再运行 fetch。"

    __str__ = _told


class NegotiationEnded(Conflict):
    code = "NEGOTIATION_ENDED"
    en = "The negotiation {negotiation_id} ended without a contract: {why}."
    zh = "协商 {negotiation_id} 已结束，未达成合约：{why_zh}。"
    mend_en = "Read the provider's terms and ask for less."
    mend_zh = "请查看提供方条款并降低要求。"

    __str__ = _told


class NegotiationHeld(Conflict):
    code = "NEGOTIATION_HELD"
    en = "The other side's last offer in {negotiation_id} goes beyond what you accept by yourself."
    zh = "协商 {negotiation_id} 中对方的最新要约超出了您的自动接受范围。"
    mend_en = (
        "Look: `yunhe negotiations show {negotiation_id}`. Then `yunhe negotiations accept`, "
        "`counter --ask NAME=VALUE` or `end --reason WHY`, each with that id "
        "(SDK: accept_offer, counter_offer, end_negotiation)."
    )
    mend_zh = (
        "请先查看：`yunhe negotiations show {negotiation_id}`，再以同一编号执行 "
        "`yunhe negotiations accept`、`counter --ask 名称=值` 或 `end --reason 原因`"
        "（SDK：accept_offer、counter_offer、end_negotiation）。"
    )

    __str__ = _told


class NegotiationTimeout(Unavailable):
    code = "NEGOTIATION_TIMEOUT"
    en = "The negotiation {negotiation_id} is still {state} after {seconds} s."
    zh = "协商 {negotiation_id} 在 {seconds} 秒后仍为 {state} 状态。"
    mend_en = "It goes on at the node; later: `yunhe negotiations show {negotiation_id}`."
    mend_zh = "协商仍在节点上继续；稍后请执行 `yunhe negotiations show {negotiation_id}`。"

    __str__ = _told
