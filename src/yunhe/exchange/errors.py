"""What metering and settlement refuse, each naming the use or statement it is about."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Internal, Invalid, NotFound, Unavailable


class BillUnknown(NotFound):
    code = "BILL_UNKNOWN"
    en = "No bill is kept here for this contract."
    zh = "本节点没有该合约的账目。"


class NotTheProvider(Conflict):
    code = "NOT_THE_PROVIDER"
    en = "Only the provider of a contract issues its statements; this node is its consumer."
    zh = "账单由合约的提供方出具；本节点是使用方。"
    mend_en = "Ask the provider to issue it; it then comes here by itself."
    mend_zh = "请提供方出账；出账后账单会自动送达。"


class StatementUnknown(NotFound):
    code = "STATEMENT_UNKNOWN"
    en = "No such statement."
    zh = "不存在该账单。"


class BundleTooLong(Conflict):
    code = "BUNDLE_TOO_LONG"
    en = "The contract has {uses} uses here; one bundle holds at most {most}."
    zh = "该合约在本节点有 {uses} 次使用；一个证据包最多容纳 {most} 次。"
    mend_en = "Ask for a bundle a statement: `yunhe contracts bundle CONTRACT --statement ID`."
    mend_zh = "请按账单逐期导出：`yunhe contracts bundle 合约 --statement 账单号`。"


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


class ReceiptAwaited(Conflict):
    code = "RECEIPT_AWAITED"
    en = "The delivery of use {use_id} was cut off; its receipt is awaited until {until}."
    zh = "使用 {use_id} 的交付曾中断；在 {until} 之前等待其回执。"
    mend_en = "Issue the statement when the consumer's receipt has come, or after that time."
    mend_zh = "请在收到使用方回执后或该时间之后再出账。"


class UseInDoubt(Conflict):
    code = "USE_IN_DOUBT"
    en = "The use {use_id} is under way, or its outcome is being settled with the provider."
    zh = "使用 {use_id} 正在进行，或其结果正与提供方核对。"
    mend_en = "Ask under a new use_id; this one is charged once at most."
    mend_zh = "请使用新的 use_id；本编号至多计费一次。"


class UseUnderWay(Unavailable):
    code = "USE_UNDER_WAY"
    en = "The use {use_id} has not ended yet."
    zh = "使用 {use_id} 尚未结束。"
    mend_en = "Ask again in a moment."
    mend_zh = "请稍后再询问。"


class StatementEarly(Unavailable):
    code = "STATEMENT_EARLY"
    en = "The outcome of use {use_id} is not known here yet."
    zh = "使用 {use_id} 的结果在本节点尚未确定。"
    mend_en = "Send the statement again in a moment."
    mend_zh = "请稍后重新发送账单。"
