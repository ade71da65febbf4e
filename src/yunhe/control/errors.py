"""Refusals of usage control: one class a reason code, so that each explains itself.

In: a `Verdict` that denies, or a state that does not allow the step. Out: errors with the code,
a sentence in en and zh and a remedy; facts `given` and `expected` travel with every refusal.
"""

from __future__ import annotations

from typing import Any

from yunhe.contracts import (
    ContractAltered,
    ContractExpired,
    ContractTerminated,
    TermNotUnderstood,
)
from yunhe.control.model import Verdict
from yunhe.kernel.clock import iso
from yunhe.kernel.errors import Conflict, Denied, Internal, NotFound, RateLimited, YunheError

_NEW_TERMS = "Ask within the agreed terms, or negotiate a contract that has this."
_NEW_TERMS_ZH = "请在约定范围内使用，或另行协商合约。"


class UseDeniedError(Denied):
    """The root of all verdicts that say no."""

    code = "USE_DENIED"
    en = "The contract does not allow this use."
    zh = "合约不允许该使用行为。"
    mend_en, mend_zh = _NEW_TERMS, _NEW_TERMS_ZH


class NoRuleApplies(UseDeniedError):
    code = "DEFAULT"
    en = "No rule of the contract speaks about '{given}', so it is denied."
    zh = "合约没有任何规则涉及“{given}”，默认拒绝。"


class UseProhibited(UseDeniedError):
    code = "PROHIBITED"
    en = "The contract prohibits this use ({rule})."
    zh = "合约禁止该使用行为（{rule}）。"
    mend_en = "A prohibition is not lifted by any permission; negotiate a contract without it."
    mend_zh = "禁止优先于允许；请协商不含该禁止的合约。"


class PurposeNotAgreed(UseDeniedError):
    code = "PURPOSE_NOT_AGREED"
    en = "The purpose '{given}' is not agreed; the contract allows {expected}."
    zh = "用途“{given}”未经约定；合约允许的用途为 {expected}。"


class FieldNotAgreed(UseDeniedError):
    code = "FIELD_NOT_AGREED"
    en = "The request touches columns that are not agreed: {beyond}."
    zh = "请求涉及未约定的字段：{beyond}。"
    mend_en = "Ask only for the columns of the contract, or negotiate for the others."
    mend_zh = "请仅使用合约约定的字段，或就其他字段另行协商。"


class ContractNotYetValid(UseDeniedError):
    code = "CONTRACT_NOT_YET_VALID"
    en = "The agreed time has not begun: {operator} {expected}, and now it is {given}."
    zh = "尚未到约定的使用时间：{operator} {expected}，当前为 {given}。"
    mend_en = "Come back when the agreed time has begun."
    mend_zh = "请在约定时间开始后再使用。"


class OutsideAgreedTime(UseDeniedError):
    code = "OUTSIDE_AGREED_TIME"
    en = "The request is outside the agreed time {expected}; now it is {given}."
    zh = "请求不在约定的时间 {expected} 内，当前为 {given}。"


class UsesExhausted(UseDeniedError):
    code = "USES_EXHAUSTED"
    en = "All {expected} agreed uses are spent."
    zh = "约定的 {expected} 次使用已用完。"
    mend_en = "Negotiate a new contract with more uses; a use under way may yet be given back."
    mend_zh = "请协商新的使用次数；进行中的使用若作废会退还次数。"


class FrequencyExceeded(UseDeniedError):
    code = "FREQUENCY_EXCEEDED"
    en = "The contract may not be used this often: {term} {operator} {expected}; counted: {given}."
    zh = "使用过于频繁：合约约定 {term} {operator} {expected}，当前计为 {given}。"
    mend_en = "Ask again from {again} on, or negotiate a contract that may be used more often."
    mend_zh = "请于 {again} 起再次使用，或协商更高的使用频次。"


class OutsideAgreedHours(UseDeniedError):
    code = "OUTSIDE_AGREED_HOURS"
    en = "The contract may be used {expected}; now it is {given}."
    zh = "合约约定的使用时段为 {expected}，当前为 {given}。"
    mend_en = "Ask again from {again} on, or negotiate other hours."
    mend_zh = "请于 {again} 起再次使用，或另行协商使用时段。"


class RowsExceeded(UseDeniedError):
    code = "ROWS_EXCEEDED"
    en = "The request reserves {given} rows; the contract allows {operator} {expected} a use."
    zh = "请求预留 {given} 行，合约每次允许 {operator} {expected} 行。"
    mend_en = "Add a LIMIT within the agreed number of rows."
    mend_zh = "请加上约定行数以内的 LIMIT。"


class VolumeExceeded(UseDeniedError):
    code = "VOLUME_EXCEEDED"
    en = "The request is over the agreed volume {expected} bytes."
    zh = "请求超出约定的数据量 {expected} 字节。"


class TotalRowsSpent(UseDeniedError):
    code = "TOTAL_ROWS_SPENT"
    en = "The {expected} rows of all uses together are delivered, or held by uses under way."
    zh = "合约各次使用合计的 {expected} 行已交付完，或正被进行中的使用占用。"
    mend_en = "Wait for the uses under way, whose rest is given back, or negotiate more rows."
    mend_zh = "请等待进行中的使用结束（未交付部分会退还），或协商更多行数。"


class TotalVolumeSpent(UseDeniedError):
    code = "TOTAL_VOLUME_SPENT"
    en = "The {expected} bytes of all uses together are delivered, or held by uses under way."
    zh = "合约各次使用合计的 {expected} 字节已交付完，或正被进行中的使用占用。"
    mend_en = "Wait for the uses under way, whose rest is given back, or negotiate more volume."
    mend_zh = "请等待进行中的使用结束（未交付部分会退还），或协商更大的数据量。"


class MinimumGroupNotApplied(UseDeniedError):
    code = "MINIMUM_GROUP_NOT_APPLIED"
    en = "The contract allows only groups of {expected} or more; the engine would apply {given}."
    zh = "合约只允许不少于 {expected} 的分组，而引擎将使用 {given}。"


class PrivacyNotApplied(UseDeniedError):
    code = "PRIVACY_NOT_APPLIED"
    en = "The contract allows only noisy statistics ({expected}), which the engine would not give."
    zh = "合约只允许加噪统计（{expected}），而引擎不会如此输出。"


class ReleaseRuleNotApplied(UseDeniedError):
    code = "RELEASE_RULE_NOT_APPLIED"
    en = "The contract lets results out only by the rule '{expected}', beside the data."
    zh = "合约仅允许在数据所在地按规则“{expected}”放行结果。"
    mend_en = "Run an agreed application at the provider: yunhe apps run."
    mend_zh = "请在提供方运行约定的应用：yunhe apps run。"


class WatermarkNotApplied(UseDeniedError):
    code = "WATERMARK_NOT_APPLIED"
    en = "The contract demands a watermark ({expected}) that the engine would not embed."
    zh = "合约要求的水印（{expected}）未被引擎嵌入。"


class KeysNotAgreed(UseDeniedError):
    code = "KEYS_NOT_AGREED"
    en = "The contract lets keys of a join be shown to {expected} only."
    zh = "合约仅允许将连接键值展示给 {expected}。"


class AggregatesNotApplied(UseDeniedError):
    code = "AGGREGATES_NOT_APPLIED"
    en = "The contract allows aggregates by a list ({expected}) that the engine would not keep to."
    zh = "合约按清单约定的聚合（{expected}）未被引擎遵守。"


class PrivacyBudgetSpent(UseDeniedError):
    code = "PRIVACY_BUDGET_SPENT"
    en = "The privacy budget of {expected} is spent: {given} is left, too little for this answer."
    zh = "隐私预算 {expected} 已用尽：剩余 {given}，不足以回答该查询。"
    mend_en = "Repeat an earlier question, which costs nothing, or negotiate a larger budget."
    mend_zh = "重复此前的查询不消耗预算；或另行协商更大的预算。"


class PrivacyMeasuresDiffer(UseDeniedError):
    code = "PRIVACY_MEASURES_DIFFER"
    en = "Answers to this party about the data set are counted by another measure: not {expected}."
    zh = "该参与方在此数据集上的查询此前按另一种度量计量，与 {expected} 不同。"
    mend_en = "Agree on one measure, epsilon or rho, for all contracts over a data set."
    mend_zh = "同一数据集的各合约请统一使用 epsilon 或 rho 一种度量。"


class RowFilterNotApplied(UseDeniedError):
    code = "ROW_FILTER_NOT_APPLIED"
    en = "The contract demands a row filter that the engine would not apply."
    zh = "合约要求的行过滤条件未被引擎应用。"


class RegionNotAgreed(UseDeniedError):
    code = "REGION_NOT_AGREED"
    en = "The place of use '{given}' is not agreed; the contract says {expected}."
    zh = "使用地域“{given}”未经约定；合约约定为 {expected}。"
    mend_en = "The place is the region of the connector's registration; negotiate for this one."
    mend_zh = "使用地域取自接入连接器登记所在地区；请就该地区另行协商。"


class AddressNotAgreed(UseDeniedError):
    code = "ADDRESS_NOT_AGREED"
    en = "The network address '{given}' is not agreed."
    zh = "网络地址“{given}”未经约定。"


class DeviceNotAgreed(UseDeniedError):
    code = "DEVICE_NOT_AGREED"
    en = "The device '{given}' is not agreed."
    zh = "设备“{given}”未经约定。"


class ApplicationNotAgreed(UseDeniedError):
    code = "APPLICATION_NOT_AGREED"
    en = "The contract is for these applications only: {expected} (asked by: {given})."
    zh = "合约仅供以下应用使用数据：{expected}（本次请求来自：{given}）。"
    mend_en = (
        "Run one of them in place of SQL: yunhe apps deploy APP CONTRACT, then yunhe apps run "
        "(in the vault: with that application's token). For SQL, negotiate without applications."
    )
    mend_zh = (
        "请改为运行其中的应用：先执行 yunhe apps deploy APP CONTRACT，再执行 yunhe apps run"
        "（保管库中请使用该应用的令牌）；如需直接使用 SQL，请另行协商不限应用的合约。"
    )


class AlgorithmNotAgreed(UseDeniedError):
    code = "ALGORITHM_NOT_AGREED"
    en = "The algorithm '{given}' is not agreed; the contract says {expected}."
    zh = "算法“{given}”未经约定；合约约定为 {expected}。"


class ModelNotAgreed(UseDeniedError):
    code = "MODEL_NOT_AGREED"
    en = "The model '{given}' is not agreed; the contract says {expected}."
    zh = "模型“{given}”未经约定；合约约定为 {expected}。"


class EnvironmentNotAgreed(UseDeniedError):
    code = "ENVIRONMENT_NOT_AGREED"
    en = "The execution environment '{given}' is not agreed; the contract says {expected}."
    zh = "执行环境“{given}”未经约定；合约约定为 {expected}。"


class EncryptionNotAgreed(UseDeniedError):
    code = "ENCRYPTION_NOT_AGREED"
    en = "The encryption mode '{given}' is not agreed; the contract says {expected}."
    zh = "加密方式“{given}”未经约定；合约约定为 {expected}。"


class DeliveryNotAgreed(UseDeniedError):
    code = "DELIVERY_NOT_AGREED"
    en = "The way of delivery '{given}' is not agreed; the contract says {expected}."
    zh = "交付方式“{given}”未经约定；合约约定为 {expected}。"


class PaymentNotAgreed(UseDeniedError):
    code = "PAYMENT_NOT_AGREED"
    en = "The amount {given} (fen) does not fit the agreed {operator} {expected}."
    zh = "金额 {given}（分）不符合约定的 {operator} {expected}。"


class RecipientNotAgreed(UseDeniedError):
    code = "RECIPIENT_NOT_AGREED"
    en = "The recipient '{given}' is not agreed; the contract says {expected}."
    zh = "接收方“{given}”未经约定；合约约定为 {expected}。"


class WordNotUnderstood(UseDeniedError):
    """The root of what a policy says and this node cannot enforce."""

    code = "WORD_NOT_UNDERSTOOD"
    en = "The policy holds a word that this node cannot enforce: {expected}; it denies."
    zh = "策略含有本节点无法执行的词 {expected}，因此拒绝。"
    mend_en = "Use the words of docs/usage-control.md, or agree without this one."
    mend_zh = "请改用 docs/usage-control.md 中的词，或去掉该条款后再协商。"


class OperatorNotUnderstood(WordNotUnderstood):
    code = "OPERATOR_NOT_UNDERSTOOD"
    en = "The policy compares {term} by '{operator}', which this node cannot enforce; it denies."
    zh = "策略以“{operator}”比较 {term}，本节点无法执行，因此拒绝。"


class ValueNotUnderstood(WordNotUnderstood):
    code = "VALUE_NOT_UNDERSTOOD"
    en = "The policy's value for {term} is not understood: {expected}; it denies."
    zh = "策略中 {term} 的取值无法理解：{expected}，因此拒绝。"


class ActionNotUnderstood(WordNotUnderstood):
    code = "ACTION_NOT_UNDERSTOOD"
    en = "The action '{word}' is not one this node can enforce; it denies."
    zh = "本节点无法执行操作行为“{word}”，因此拒绝。"


class DutyNotUnderstood(WordNotUnderstood):
    code = "DUTY_NOT_UNDERSTOOD"
    en = "The permission demands '{expected}' {operator}-use, which this node cannot perform."
    zh = "许可要求在使用的 {operator} 阶段执行“{expected}”，本节点无法履行。"


class RuleNotUnderstood(WordNotUnderstood):
    code = "RULE_NOT_UNDERSTOOD"
    en = "The policy holds a rule of the kind '{expected}', which this node does not know."
    zh = "策略含有本节点不认识的规则类型“{expected}”。"


class QuotaUnknown(NotFound):
    code = "NO_SUCH_CONTRACT_HERE"
    en = "No contract with this identifier admits uses at this node for the caller."
    zh = "本节点没有可供该调用方使用的此编号合约。"


class ContractChanged(Conflict):
    code = "CONTRACT_CHANGED"
    en = "The contract changed while the use was being decided."
    zh = "在判定过程中合约发生了变化。"
    mend_en = "Send the request again; it is decided by the contract as it now stands."
    mend_zh = "请重新提交，将按合约的现状判定。"


class UseAlreadySpent(Conflict):
    code = "USE_ALREADY_SPENT"
    en = "This use_id was spent before; it is {state}. It is not charged again."
    zh = "该 use_id 已使用过，状态为 {state}，不会重复计费。"
    mend_en = "Choose a fresh use_id for a new use."
    mend_zh = "新的使用请使用新的 use_id。"


class UseIdTaken(Denied):
    code = "USE_ID_TAKEN"
    en = "This use_id belongs to another use."
    zh = "该 use_id 属于另一次使用。"
    mend_en = "Choose a fresh, random use_id."
    mend_zh = "请改用新的随机 use_id。"


class UnknownUsesTooMany(RateLimited):
    code = "UNKNOWN_USES_TOO_MANY"
    en = "{limit} uses of this contract were asked about that never came here; no more are noted."
    zh = "已查询过本合约 {limit} 个从未到达本节点的使用，不再登记新的编号。"
    mend_en = "Ask only about uses that were sent; the provider's operator can tell what came."
    mend_zh = "请只查询确已发出的使用；到达情况可向提供方运营人员核实。"


class QueryOverlap(Denied):
    code = "QUERY_OVERLAP"
    en = (
        "Set beside an answer given before, this one would show something of fewer than "
        "{minimum_group} entities."
    )
    zh = "该结果与此前已给出的结果相比对，会暴露不足 {minimum_group} 个主体的信息。"
    mend_en = "Ask for groups that differ more from those already answered, or repeat a query."
    mend_zh = "请查询与已有结果差异更大的分组，或重复此前的查询。"


class AnswersTooMany(RateLimited):
    code = "ANSWERS_TOO_MANY"
    en = "{limit} groups of this data set were answered; no further ones can be audited."
    zh = "该数据集已回答 {limit} 个分组，无法再对更多结果进行比对审计。"
    mend_en = "Repeat earlier queries, or agree on a privacy budget with the provider."
    mend_zh = "可重复此前的查询，或与提供方协商隐私预算。"


class UseOutOfOrder(Conflict):
    code = "USE_OUT_OF_ORDER"
    en = "A use that is {state} cannot be {verb}."
    zh = "状态为 {state} 的使用不能执行 {verb}。"


class RowsOverGrant(Internal):
    code = "ROWS_OVER_GRANT"
    en = "The engine delivered {rows} rows on a grant of {rows_max}."
    zh = "引擎在 {rows_max} 行的许可下交付了 {rows} 行。"


class GrantForged(Internal):
    code = "GRANT_FORGED"
    en = "A grant is minted only by the admission of a use."
    zh = "许可只能由使用准入产生。"


class CorrectionRefused(Conflict):
    code = "CORRECTION_REFUSED"
    en = "The use cannot be corrected: {why}."
    zh = "无法更正该次使用：{why}。"
    mend_en = "Corrections go downwards only, for uses whose delivery was interrupted."
    mend_zh = "只能对交付中断的使用向下更正。"


_BY_CODE: dict[str, type[YunheError]] = {
    "CONTRACT_ALTERED": ContractAltered,
    "CONTRACT_EXPIRED": ContractExpired,
    "CONTRACT_TERMINATED": ContractTerminated,
    "TERM_NOT_UNDERSTOOD": TermNotUnderstood,
    QuotaUnknown.code: QuotaUnknown,
    UseIdTaken.code: UseIdTaken,
}


def _classes(root: type[UseDeniedError]) -> list[type[UseDeniedError]]:
    return [root] + [leaf for sub in root.__subclasses__() for leaf in _classes(sub)]


_BY_CODE |= {error.code: error for error in _classes(UseDeniedError)}


def refusal(verdict: Verdict) -> YunheError:
    """The error that says a denying verdict to the caller, with its facts and all reasons."""
    reason = verdict.decisive()
    error = _BY_CODE.get(verdict.code, UseDeniedError)
    facts: dict[str, Any] = {
        "rule": verdict.rule,
        "reasons": [each.to_json() for each in verdict.reasons],
        "again": _UNSAID if verdict.again is None else iso(verdict.again),
    }
    if reason is not None:
        expected = reason.expected
        given = reason.given
        asked = set(given) if isinstance(given, tuple) else {given or _UNSAID}
        facts |= {
            "term": reason.term,
            "operator": reason.operator,
            "expected": expected if isinstance(expected, str) else ", ".join(expected),
            "given": given if isinstance(given, str) else ", ".join(given or (_UNSAID,)),
            "beyond": ", ".join(sorted(asked - set(_as_tuple(expected)))),
            "value": f"{reason.operator} {expected}",
            "word": verdict.context.action if reason.given else expected,
            "ended_at": expected,
            "reason": given,
            "contract_id": expected,
            "part": given,
        }
    return error(**facts)


_UNSAID = "–"  # the request did not say


def _as_tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
