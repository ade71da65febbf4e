"""What can go wrong between two parties: policies, negotiation, contracts, data tokens."""

from __future__ import annotations

from yunhe.kernel.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)


class TermNotUnderstood(Denied):
    code = "TERM_NOT_UNDERSTOOD"
    en = "The policy says {term} ({value}), which this node cannot enforce; so it denies."
    zh = "策略含有本节点无法执行的条款 {term}（{value}），因此拒绝。"
    mend_en = "Use a term of docs/policies.md, or agree without this one."
    mend_zh = "请改用 docs/policies.md 中的条款，或去掉该条款后再协商。"


class MessageOutOfOrder(Invalid):
    code = "MESSAGE_OUT_OF_ORDER"
    en = "{sender} cannot say '{message}' while the {what} is {state}."
    zh = "{what} 处于 {state} 状态时，{sender} 不能发送 {message}。"
    mend_en = "Read the present state and answer that."
    mend_zh = "请读取当前状态后再作答。"


class NegotiationsTooMany(RateLimited):
    code = "NEGOTIATIONS_TOO_MANY"
    en = "This participant has {limit} negotiations open here, as many as it may."
    zh = "该参与方在本节点未结束的协商已达上限 {limit} 个。"
    mend_en = (
        "Finish or terminate open ones; without a word for {days} days they end by themselves. "
        "The node's operator can raise negotiations_open_max."
    )
    mend_zh = (
        "请完成或终止未结束的协商；连续 {days} 天无进展的协商会自动结束。"
        "节点运维人员可调高 negotiations_open_max。"
    )


class TransfersTooMany(RateLimited):
    code = "TRANSFERS_TOO_MANY"
    en = "This participant has {limit} transfers open here, as many as it may."
    zh = "该参与方在本节点未结束的传输已达上限 {limit} 个。"
    mend_en = "Complete or terminate open ones. The node's operator can raise transfers_open_max."
    mend_zh = "请完成或终止未结束的传输。节点运维人员可调高 transfers_open_max。"


class VerbOutOfOrder(Conflict):
    code = "VERB_OUT_OF_ORDER"
    en = "'{message}' is not possible while the {what} is {state}."
    zh = "{what} 处于 {state} 状态时不能执行 {message}。"
    mend_en = "Read the {what} again; docs/negotiation.md shows what each state permits."
    mend_zh = "请重新读取后再操作；各状态允许的操作见 docs/negotiation.md。"


class MessageMisaddressed(Invalid):
    code = "MESSAGE_MISADDRESSED"
    en = "The message's {field} does not belong to this conversation."
    zh = "消息中的 {field} 不属于该会话。"
    mend_en = "Send the identifiers that both sides exchanged at the start."
    mend_zh = "请使用双方开始时交换的标识。"


class NegotiationUnknown(NotFound):
    code = "NEGOTIATION_UNKNOWN"
    en = "No such negotiation."
    zh = "不存在该协商。"


class TransferUnknown(NotFound):
    code = "TRANSFER_UNKNOWN"
    en = "No such transfer."
    zh = "不存在该传输。"


class TransferFormatRefused(Invalid):
    code = "TRANSFER_FORMAT_REFUSED"
    en = "A transfer as {format} is not possible: {why}."
    zh = "无法以 {format} 方式传输：{why}。"
    mend_en = "Ask in a format that the dataset's distributions name."
    mend_zh = "请使用数据集 distribution 中列出的格式。"


class TransfersSuspended(Conflict):
    code = "TRANSFERS_SUSPENDED"
    en = "Transfers under the contract are suspended: {reason}"
    zh = "该合约下的传输已暂停：{reason_zh}"
    mend_en = "Resume the suspended transfer, or wait until the other side does."
    mend_zh = "请恢复已暂停的传输，或等待对方恢复。"


class ProductNotOffered(NotFound):
    code = "PRODUCT_NOT_OFFERED"
    en = "No such product is offered here."
    zh = "此处未提供该数据产品。"
    mend_en = "Look the product up in the catalogue; it may have been withdrawn."
    mend_zh = "请在目录中查询，该产品可能已下架。"


class ContractUnknown(NotFound):
    code = "CONTRACT_UNKNOWN"
    en = "No such contract."
    zh = "不存在该合约。"


class ContractTerminated(Denied):
    code = "CONTRACT_TERMINATED"
    en = "The contract was terminated on {ended_at}: {reason}"
    zh = "合约已于 {ended_at} 终止：{reason_zh}"
    mend_en = "Negotiate a new contract for the product."
    mend_zh = "请就该产品重新协商合约。"


class ContractAltered(Denied):
    code = "CONTRACT_ALTERED"
    en = "This node's copy of contract {contract_id} is not what was signed: {part} was changed."
    zh = "本节点保存的合约 {contract_id} 与签署内容不符：{part} 已被改动。"
    mend_en = (
        "Nothing is used under it. Restore the node's database from a backup; the other party's "
        "bundle holds the agreement as it was signed."
    )
    mend_zh = "该合约下的使用一律拒绝。请用备份恢复节点数据库；对方导出的证据包含有签署原文。"


class ContractExpired(Denied):
    code = "CONTRACT_EXPIRED"
    en = "The contract ended on {ended_at}, as agreed."
    zh = "合约已按约定于 {ended_at} 到期。"
    mend_en = "Negotiate a new contract for the product."
    mend_zh = "请就该产品重新协商合约。"


class DataTokenInvalid(Unauthenticated):
    code = "DATA_TOKEN_INVALID"
    en = "The data token is not one that this node issued: {why}."
    zh = "数据令牌不是本节点签发的：{why}。"
    mend_en = "Request a new transfer under the contract."
    mend_zh = "请在合约下重新发起传输请求。"


class DataTokenExpired(Unauthenticated):
    code = "DATA_TOKEN_EXPIRED"
    en = "The data token expired on {ended_at}."
    zh = "数据令牌已于 {ended_at} 过期。"
    mend_en = "Request a new transfer under the contract; connectors do this by themselves."
    mend_zh = "请在合约下重新发起传输请求（连接器会自动完成）。"


class DataTokenForeign(Denied):
    code = "DATA_TOKEN_FOREIGN"
    en = "The data token was issued to another participant."
    zh = "数据令牌签发给了另一参与方。"
    mend_en = "Use the token that your own connector received."
    mend_zh = "请使用本方连接器收到的令牌。"


class DataTokenRevoked(Denied):
    code = "DATA_TOKEN_REVOKED"
    en = "The transfer behind the data token is {state}."
    zh = "数据令牌对应的传输处于 {state} 状态。"
    mend_en = "Request a new transfer, or resume the suspended one."
    mend_zh = "请重新发起传输，或恢复已暂停的传输。"


class AccessNotReady(Unavailable):
    code = "ACCESS_NOT_READY"
    en = "The provider has not opened the data address of contract {contract_id} yet: {why}."
    zh = "提供方尚未为合约 {contract_id} 开放数据地址：{why}。"
    mend_en = "Try again in a moment; the transfer request is under way."
    mend_zh = "传输请求正在进行，请稍后重试。"


class AgreementUnreadable(Invalid):
    code = "AGREEMENT_UNREADABLE"
    en = "The agreement cannot be read: {why}."
    zh = "无法读取协议：{why}。"
    mend_en = "Send the agreement in the form of docs/negotiation.md."
    mend_zh = "请按 docs/negotiation.md 的格式发送协议。"


class AddressRefused(Invalid):
    code = "ADDRESS_REFUSED"
    en = "The address cannot be used: {why}."
    zh = "该地址不可用：{why}。"
    mend_en = "Give a public https address; http and loopback are for development only."
    mend_zh = "请提供公网 https 地址；http 与本机地址仅限开发模式。"


class SignatureReason:
    """Reason codes with which a negotiation ends when an agreement does not hold."""

    PROVIDER_SIGNATURE = "PROVIDER_SIGNATURE_INVALID"
    CONSUMER_SIGNATURE = "CONSUMER_SIGNATURE_INVALID"
    TERMS_CHANGED = "AGREEMENT_TERMS_CHANGED"
    PARTY_CHANGED = "AGREEMENT_PARTY_CHANGED"
    PRODUCT_CHANGED = "AGREEMENT_PRODUCT_CHANGED"
    UNREADABLE = "AGREEMENT_UNREADABLE"
