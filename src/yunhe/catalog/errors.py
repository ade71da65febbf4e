"""What the catalogue refuses, each with a stable code and a remedy."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, NotFound


class FormNotValid(Invalid):
    code = "CATALOG_FORM_NOT_VALID"
    en = "The {kind} is not complete or not correct: {fields}."
    zh = "{kind} 的登记内容不完整或不正确：{fields}。"
    mend_en = "Mend each field named in `faults`, then send the form again."
    mend_zh = "请按 faults 所列逐项更正后重新提交。"


class RecordMalformed(Invalid):
    code = "CATALOG_RECORD_MALFORMED"
    en = "The catalogue record cannot be read: {why}."
    zh = "目录记录无法解析：{why}。"
    mend_en = "Send the record as the interface register describes it."
    mend_zh = "请按接口说明的格式提交目录记录。"


class EntryNotFound(NotFound):
    code = "CATALOG_ENTRY_NOT_FOUND"
    en = "There is no catalogue entry {entry}, or it is not visible to you."
    zh = "目录中没有 {entry}，或对您不可见。"
    mend_en = "Check the code; search the catalogue for the present entry."
    mend_zh = "请核对标识码，或在目录中重新检索。"


class NotInThisState(Conflict):
    code = "CATALOG_STATE"
    en = "The entry is '{state}'; '{verb}' is not possible from there."
    zh = "条目当前状态为 {state}，不能执行 {verb}。"
    mend_en = "Read the entry again; edit a returned entry, then submit it."
    mend_zh = "请重新读取条目；被退回的条目修改后可再次提交。"


class VersionConflict(Conflict):
    code = "CATALOG_VERSION_CONFLICT"
    en = "Version {version} of this entry is already here with other content."
    zh = "该条目的第 {version} 版已存在且内容不同。"
    mend_en = "Raise the version for every change."
    mend_zh = "每次变更须提高版本号。"


class ResourceInUse(Conflict):
    code = "CATALOG_RESOURCE_IN_USE"
    en = "The resource is used by product {product}."
    zh = "该数据资源正被数据产品 {product} 使用。"
    mend_en = "Withdraw the product first."
    mend_zh = "请先撤销该数据产品。"


class NotAMember(Denied):
    code = "CATALOG_NOT_A_MEMBER"
    en = "Only registered members may submit catalogue entries."
    zh = "仅已注册的接入主体可提交目录登记。"
    mend_en = "Register the subject and its connector first."
    mend_zh = "请先完成主体与接入连接器注册。"


class NotTheOrigin(Denied):
    code = "CATALOG_NOT_THE_ORIGIN"
    en = "Only the connector that registered an entry may change it."
    zh = "仅登记该条目的接入连接器可以变更它。"
    mend_en = "Ask the entry's holder to make the change."
    mend_zh = "请由该条目的持有方提交变更。"


class ReviewNotPossible(Conflict):
    code = "CATALOG_REVIEW_NOT_POSSIBLE"
    en = "The registration cannot be approved now: {fields}."
    zh = "该登记目前不能通过审核：{fields}。"
    mend_en = "Return it to the applicant with these reasons."
    mend_zh = "请附上述原因退回申请方。"


class SearchTooWide(Invalid):
    code = "CATALOG_SEARCH_NOT_VALID"
    en = "The search cannot be run: {why}."
    zh = "无法执行检索：{why}。"
    mend_en = "Use fewer words, a smaller page or a smaller offset."
    mend_zh = "请减少关键词、页大小或偏移量。"
