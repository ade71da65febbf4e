"""Refusals of the fabric; those of a provider's gate come through word for word."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, NotFound, TooLarge, Unavailable


class FabricNameUnknown(Invalid):
    code = "FABRIC_NAME_UNKNOWN"
    en = "The table {name} is of no contract of this query; there are {visible}."
    zh = "表 {name} 不属于本次查询的任何合约；可用：{visible}。"
    mend_en = "Write alias.table, the alias as in `contracts`, or a product code you hold."
    mend_zh = "请写作 别名.表名；别名须在 contracts 中给出，或使用已签约的产品标识。"


class FabricSqlRefused(Invalid):
    code = "FABRIC_SQL_REFUSED"
    en = "The query over several nodes cannot be planned: {why}."
    zh = "跨节点查询无法规划：{why_zh}。"
    mend_en = "Rewrite the query as docs/fabric.md shows; EXPLAIN tells the plan."
    mend_zh = "请按 docs/fabric.md 的写法修改；可先用 explain 查看计划。"


class FabricPartsDiffer(Invalid):
    code = "FABRIC_PARTS_DIFFER"
    en = "The parts of {name} do not have the same columns: {why}."
    zh = "{name} 的各部分字段不一致：{why}。"
    mend_en = "Name the common columns of each in a UNION ALL."
    mend_zh = "请用 UNION ALL 分别列出各自的共同字段。"


class FabricAggregateOnly(Denied):
    code = "FABRIC_AGGREGATE_ONLY"
    en = "The contract {contract_id} lets only groups of {minimum_group} out, and here {why}."
    zh = "合约 {contract_id} 仅允许输出不少于 {minimum_group} 个主体的分组，而此处{why_zh}。"
    mend_en = "Ask for count, sum or avg over it, with WHERE and GROUP BY and nothing joined."
    mend_zh = "请仅对其做 count、sum、avg 汇总，可带 WHERE 与 GROUP BY，不与他表连接。"


class FabricPurposeNotShared(Denied):
    code = "FABRIC_PURPOSE_NOT_SHARED"
    en = "The purpose {purpose} is not agreed in every contract of the query; in all: {shared}."
    zh = "用途 {purpose} 未在所有相关合约中约定；共同用途：{shared}。"
    mend_en = "Ask for a purpose that all of them allow, or leave the others out."
    mend_zh = "请使用各合约共同允许的用途，或去掉其余合约。"


class FabricUsesShort(Conflict):
    code = "FABRIC_USES_SHORT"
    en = "The query needs {needed} uses of contract {contract_id}, which has {left} left."
    zh = "该查询需使用合约 {contract_id} {needed} 次，剩余 {left} 次。"
    mend_en = "Nothing was charged. Ask in fewer sub-queries, or negotiate more uses."
    mend_zh = "未产生任何费用。请减少子查询，或另行协商使用次数。"


class FabricPartFailed(Unavailable):
    code = "FABRIC_PART_FAILED"
    en = "The part under contract {contract_id} failed ({why}); there is no result. {charged}"
    zh = "合约 {contract_id} 的子查询失败（{why}），无结果。{charged_zh}"
    mend_en = "See the answer {fabric_id} for each part; ask again under a new id."
    mend_zh = "请查看记录 {fabric_id} 中各部分的状态；重试请用新的编号。"


class FabricIdTaken(Conflict):
    code = "FABRIC_ID_TAKEN"
    en = "A query over the fabric has the id {fabric_id} already."
    zh = "编号 {fabric_id} 已被一次数据编织查询占用。"
    mend_en = "Read its record, or ask under a new id."
    mend_zh = "请查看其记录，或使用新的编号。"


class FabricAnswerUnknown(NotFound):
    code = "FABRIC_ANSWER_UNKNOWN"
    en = "No query over the fabric has the id {fabric_id}."
    zh = "没有编号为 {fabric_id} 的数据编织查询。"
    mend_en = "List them with `yunhe fabric answers`."
    mend_zh = "请用 yunhe fabric answers 列出。"


class FabricTooLarge(TooLarge):
    code = "FABRIC_TOO_LARGE"
    en = "The joined parts do not fit: {what} is at most {limit}."
    zh = "汇集的数据超出上限：{what} 最多 {limit}。"
    mend_en = "Filter or aggregate more at the providers; EXPLAIN shows what is pushed."
    mend_zh = "请增加过滤或汇总条件；explain 会显示下推的内容。"


class FabricLocalFailed(Unavailable):
    code = "FABRIC_LOCAL_FAILED"
    en = "The last step on this node failed after the parts had come. {charged}"
    zh = "各部分已到达，但本节点的最后一步计算失败。{charged_zh}"
    mend_en = "See the answer {fabric_id} for what was charged; tell the operator."
    mend_zh = "请查看记录 {fabric_id} 中的费用，并告知节点运营方。"
