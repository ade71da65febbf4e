"""What the ledger refuses."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Invalid, NotFound


class TransferInvalid(Invalid):
    code = "TRANSFER_INVALID"
    en = "The transfer is not valid: {why}."
    zh = "转账不合法：{why}。"


class TransferUnknown(NotFound):
    code = "LEDGER_TRANSFER_UNKNOWN"
    en = "No such transfer."
    zh = "不存在该转账。"


class AccountUnknown(NotFound):
    code = "ACCOUNT_UNKNOWN"
    en = "No such account."
    zh = "不存在该账户。"


class TransferDiffers(Conflict):
    code = "TRANSFER_DIFFERS"
    en = "A transfer with this id exists and says something else."
    zh = "该编号的转账已存在且内容不同。"
    mend_en = "Use a fresh id for another transfer; transfers are never changed."
    mend_zh = "其他转账请使用新的编号；转账一经写入不可更改。"


class PendingResolved(Conflict):
    code = "PENDING_RESOLVED"
    en = "The pending transfer was {step} before."
    zh = "该待定转账此前已处理（{step}）。"
    mend_en = "A pending transfer is posted or voided once."
    mend_zh = "待定转账只能入账或作废一次。"
