"""What can be wrong with a DSP message before any verb sees it."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from yunhe.kernel.errors import Invalid, NotFound, Unavailable


class BadMessage(Invalid):
    code = "DSP_MESSAGE_INVALID"
    en = "The message is not valid: {field} {why}."
    zh = "消息不合法：{field} {why}。"
    mend_en = "Send the message as DSP 2025-1 defines it."
    mend_zh = "请按 DSP 2025-1 的定义发送消息。"


class BadPolicy(Invalid):
    code = "DSP_POLICY_INVALID"
    en = "The policy cannot be read: {why}."
    zh = "无法读取策略：{why}。"
    mend_en = "State it with the words of docs/policies.md."
    mend_zh = "请使用 docs/policies.md 中的词汇表述。"


class FilterUnsupported(Invalid):
    code = "DSP_FILTER_UNSUPPORTED"
    en = "The catalogue cannot be filtered like this: {why}."
    zh = "目录不支持该过滤条件：{why}。"
    mend_en = 'Use [{{"keyword": "..."}}] or [{{"id": "..."}}].'
    mend_zh = '请使用 [{{"keyword": "..."}}] 或 [{{"id": "..."}}]。'


class DatasetUnknown(NotFound):
    code = "DSP_DATASET_UNKNOWN"
    en = "No such dataset."
    zh = "不存在该数据集。"


class PeerRefused(Unavailable):
    code = "DSP_PEER_REFUSED"
    en = "The other node answered {status}: {why}"
    zh = "对方节点返回 {status}：{why}"
    mend_en = "Act on the other node's reason; it is quoted."
    mend_zh = "请按所引用的对方原因处理。"


class VersionUnsupported(Unavailable):
    code = "DSP_VERSION_UNSUPPORTED"
    en = "The other node speaks {offered}; this one speaks {ours}."
    zh = "对方节点支持 {offered}；本节点支持 {ours}。"
    mend_en = "Ask its operator to open 2025-1 over HTTPS, and to say so in its version document."
    mend_zh = "请对方运营者开放 2025-1（HTTPS）并在版本文档中声明。"


class PeerSilent(Unavailable):
    code = "DSP_PEER_SILENT"
    en = "The other node does not answer: {why}."
    zh = "对方节点没有应答：{why}。"
    mend_en = "Check the address; try again when the node is reachable."
    mend_zh = "请核对地址，待对方节点可达后重试。"


def silent(url: str, error: Exception) -> PeerSilent:
    """The refusal for a node that did not answer: who, and why in words."""
    en, zh = "the connection broke off", "连接中断"
    if isinstance(error, httpx.TimeoutException):
        en, zh = "no answer in time", "未及时应答"
    elif isinstance(error, httpx.ConnectError):
        en, zh = "no connection", "无法建立连接"
    host = urlsplit(url).netloc
    return PeerSilent(repr(error), why=f"{host}: {en}", why_zh=f"{host}：{zh}")
