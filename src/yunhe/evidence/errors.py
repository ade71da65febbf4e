"""What can go wrong with the log and its proofs."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Internal, Invalid, NotFound, Unavailable


class LogCorrupt(Internal):
    """`index` is the first entry that does not hold; `what` says how."""

    code = "LOG_CORRUPT"
    en = "The evidence log does not verify at entry {index}: {what}."
    zh = "存证日志在第 {index} 条未通过校验：{what}。"
    mend_en = (
        "Stop the node, keep its database as evidence, and restore the last backup that verifies."
    )
    mend_zh = "请停止节点，保留数据库作为证据，并恢复到最近一份可通过校验的备份。"


class LogKeyChanged(Internal):
    code = "LOG_KEY_CHANGED"
    en = "The log {origin} was signed by another key than the node's present one."
    zh = "存证日志 {origin} 由另一密钥签署，与节点当前密钥不符。"
    mend_en = "Restore the log key that belongs to this database."
    mend_zh = "请恢复与该数据库对应的日志密钥。"


class LogForked(Internal):
    code = "LOG_FORKED"
    en = "Another sequencer has extended the log meanwhile; nothing was signed."
    zh = "另一排序器已同时扩展日志；未签署任何内容。"


class EntryNotFound(NotFound):
    code = "ENTRY_NOT_FOUND"
    en = "No such evidence entry: {entry_id}."
    zh = "不存在该存证：{entry_id}。"


class TileNotFound(NotFound):
    code = "TILE_NOT_FOUND"
    en = "The log has no such tile, or not yet at this width."
    zh = "日志中没有该切片，或其宽度尚未达到。"
    mend_en = "Ask for tiles that the latest checkpoint's size requires."
    mend_zh = "请按最新检查点的大小请求切片。"


class ProofPending(Unavailable):
    code = "PROOF_PENDING"
    en = "The entry is recorded and will have its proof within a second."
    zh = "存证已记录，证明将在一秒内生成。"


class NotErasable(Conflict):
    code = "ENTRY_NOT_ERASABLE"
    en = "This entry's body cannot be erased: {why}."
    zh = "该存证内容不可销毁：{why}。"


class BadTrust(Invalid):
    code = "BAD_TRUST"
    en = "The keys to verify with are not usable: {why}."
    zh = "用于校验的密钥不可用：{why}。"
    mend_en = "Let `yunhe trust` write the file, or give it as described in docs/evidence.md."
    mend_zh = "请用 `yunhe trust` 生成该文件，或按 docs/evidence.md 的格式提供。"
