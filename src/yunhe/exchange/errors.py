"""What metering and settlement refuse, each naming the use or statement it is about."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Internal, Invalid, NotFound


class BillUnknown(NotFound):
    code = "BILL_UNKNOWN"
    en = "No bill is kept here for this contract."
    zh = "本节点没有该合约的账目。"


class StatementUnknown(NotFound):
    code = "STATEMENT_UNKNOWN"
    en = "No such statement."
    zh = "不存在该账单。"


class NothingToBill(Conflict):
    code = "NOTHING_TO_BILL"
    en = "Every use of the contract stands on a statement already."
    zh = "该合约的全部使用均已列入账单。"
    mend_en = "Issue a statement after further uses, or read the last one."
    mend_zh = "请在有新的使用后再出账，或查看最近一期账单。"


class UsesInFlight(Conflict):
    code = "USES_IN_FLIGHT"
    en = "Data is leaving under this contract right now (use {use_id})."
    zh = "该合约下正有数据交付（使用 {use_id}）。"
    mend_en = "Issue the statement in a moment, when the delivery is over."
    mend_zh = "请待交付结束后再出账。"


class BillMoved(Conflict):
    code = "BILL_MOVED"
    en = "A use was metered while the statement was drawn up."
    zh = "出账期间有新的使用被计量。"
    mend_en = "Issue the statement again."
    mend_zh = "请重新出账。"


class MeterMissing(Internal):
    code = "METER_MISSING"
    en = "The use {use_id} was charged, but its meter row is gone; nothing is settled."
    zh = "使用 {use_id} 已计费，但其计量记录缺失；未作任何结算。"
    mend_en = "Restore the meter row from a backup; the evidence entry {entry_id} says what it was."
    mend_zh = "请从备份恢复计量记录；存证 {entry_id} 载明其内容。"


class MeterNotEvidenced(Internal):
    code = "METER_NOT_EVIDENCED"
    en = "The meter row of use {use_id} has no sound evidence entry ({entry_id}): {why}."
    zh = "使用 {use_id} 的计量记录没有可靠的存证（{entry_id}）：{why}。"
    mend_en = "Restore the evidence log from a backup that verifies, then issue again."
    mend_zh = "请恢复可通过校验的存证日志后重新出账。"


class DocumentInvalid(Invalid):
    code = "DOCUMENT_INVALID"
    en = "The {what} is not acceptable: {why}."
    zh = "{what} 不可接受：{why}。"
    mend_en = "Send the document in the form of docs/metering.md."
    mend_zh = "请按 docs/metering.md 的格式发送。"


class NotAParty(Denied):
    code = "NOT_A_PARTY"
    en = "The sender is not the other party of this contract."
    zh = "发送方不是该合约的另一方。"
    mend_en = "Only the parties of a contract exchange its receipts and statements."
    mend_zh = "只有合约双方可以交换其回执与账单。"


class ReceiptDiffers(Conflict):
    code = "RECEIPT_DIFFERS"
    en = "Another receipt for the use {use_id} was signed before."
    zh = "使用 {use_id} 此前已签署过不同的回执。"
    mend_en = "A receipt is signed once; a use has one outcome."
    mend_zh = "回执只签署一次，一次使用只有一个结果。"
