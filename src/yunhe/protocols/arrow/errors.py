"""Why a pushed body is not taken, or a received one not there."""

from __future__ import annotations

from yunhe.contracts import Transfer
from yunhe.kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)


class InboxClosed(Unauthenticated):
    code = "INBOX_CLOSED"
    en = "No push is awaited here under this token."
    zh = "此处没有使用该令牌的待接收推送。"
    mend_en = "A token counts for one transfer and once; ask for a new push."
    mend_zh = "令牌仅对一次传输有效且只能使用一次；请重新请求推送。"


class InboxTaken(Conflict):
    code = "INBOX_TAKEN"
    en = "All of this push has come already."
    zh = "该推送已全部接收。"
    mend_en = "A token counts once; ask for a new push."
    mend_zh = "令牌只能使用一次；请重新请求推送。"


class InboxHalted(Conflict):
    code = "INBOX_HALTED"
    en = "The push takes no bytes now: {why}."
    zh = "推送暂不接收数据：{why_zh}。"
    mend_en = "Ask with HEAD how much has come, and go on from there when the transfer runs."
    mend_zh = "请用 HEAD 查询已接收的字节数，待传输恢复后从该处继续。"


class InboxMalformed(Invalid):
    code = "INBOX_MALFORMED"
    en = "The pushed body is not what was agreed: {why}."
    zh = "推送内容不符合约定：{why_zh}。"
    mend_en = "Send one whole Arrow IPC stream, in ranges that follow one another."
    mend_zh = "请发送一个完整的 Arrow IPC 流，各分段须前后相接。"


class InboxTooLarge(TooLarge):
    code = "INBOX_TOO_LARGE"
    en = "The push is larger than what is taken here: {limit} bytes."
    zh = "推送超过此处的接收上限：{limit} 字节。"
    mend_en = "Push it in parts, with SQL that selects each."
    mend_zh = "请用 SQL 分批推送。"


class InboxFull(Unavailable):
    code = "INBOX_FULL"
    en = "The receiver's disk has no room for the push."
    zh = "接收方磁盘空间不足。"
    mend_en = "The receiver's operator makes room; the push is tried again."
    mend_zh = "请接收方运维释放空间；推送将自动重试。"


class NothingReceived(NotFound):
    code = "NOTHING_RECEIVED"
    en = "This transfer has brought no file, or it was removed."
    zh = "该传输没有收到文件，或文件已被删除。"
    mend_en = "See the state of the transfer; ask for a new push."
    mend_zh = "请查看传输状态，或重新请求推送。"


def halted(t: Transfer) -> InboxHalted:
    """A transfer in this state takes no bytes."""
    state = t.state.value
    return InboxHalted(why=f"the transfer is {state}", why_zh=f"传输状态为 {state}")


def malformed(detail: str) -> InboxMalformed:
    """What came is no whole stream; `detail` is for the log."""
    why_zh = "不是完整的 Arrow IPC 流或摘要不符"
    return InboxMalformed(detail, why="it is not the whole Arrow IPC stream", why_zh=why_zh)
