"""What only the HTTP face can refuse."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from yunhe.kernel.errors import Conflict, YunheError

_FORM_FAULTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "extra_forbidden": ("there is no such member", "没有此成员"),
        "missing": ("it is required", "必须填写"),
        "int_type": ("it is a whole number", "应为整数"),
        "int_parsing": ("it is a whole number", "应为整数"),
        "int_from_float": ("it is a whole number", "应为整数"),
        "bool_type": ("it is true or false", "应为 true 或 false"),
        "string_type": ("it is a text", "应为文本"),
        "list_type": ("it is a list", "应为列表"),
        "dict_type": ("it is an object", "应为对象"),
        "model_type": ("it is an object", "应为对象"),
        "model_attributes_type": ("it is an object", "应为对象"),
        "literal_error": ("it is one of {expected}", "应为以下之一：{expected}"),
        "greater_than_equal": ("it is at least {ge}", "不得小于 {ge}"),
        "less_than_equal": ("it is at most {le}", "不得大于 {le}"),
        "greater_than": ("it is more than {gt}", "应大于 {gt}"),
        "string_too_short": ("it has at least {min_length} characters", "至少 {min_length} 个字符"),
        "string_too_long": ("it has at most {max_length} characters", "最多 {max_length} 个字符"),
        "too_short": ("it has at least {min_length} items", "至少 {min_length} 项"),
        "too_long": ("it has at most {max_length} items", "最多 {max_length} 项"),
    }
)


class FormFault(ValueError):
    """What a validator of ours finds wrong with a member, in English and Chinese."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.texts = en, zh


def form_fault(fault: Mapping[str, Any], spelled: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong with one member of a form, in English and Chinese; `fault` is pydantic's.

    `spelled` has an example for a pattern that people write by hand.
    """
    told, kind = fault.get("ctx") or {}, str(fault.get("type"))
    if isinstance(found := told.get("error"), FormFault):
        return found.texts
    if like := spelled.get(str(told.get("pattern"))):
        return f"it is written as in {like}", f"写法如 {like}"
    said = str(fault.get("msg", ""))[:200].removeprefix("Value error, ")
    en, zh = _FORM_FAULTS.get(kind, ("", ""))
    facts = {name: str(value)[:200] for name, value in told.items()}
    try:
        if not en:
            return said, said
        listed = {
            each: fact.replace(" or ", "、").replace(", ", "、") for each, fact in facts.items()
        }
        return en.format_map(facts), zh.format_map(listed)
    except KeyError:  # another version of pydantic, with other facts
        return said, said


class MethodNotAllowed(YunheError):
    code, status = "METHOD_NOT_ALLOWED", 405
    en = "This path does not take {method}."
    zh = "该路径不支持 {method} 方法。"
    mend_en = "See docs/api.md for the calls of this path."
    mend_zh = "请参阅 docs/api.md 中该路径支持的方法。"


class ExplainedElsewhere(Conflict):
    code = "EXPLAINED_AT_THE_PROVIDER"
    en = (
        "Only the provider of a contract sees what its node makes of a query; here is its consumer."
    )
    zh = "查询如何执行仅由合约的提供方查看；本节点是使用方。"
    mend_en = "For a plan of your own: yunhe fabric explain SQL --with NAME=CONTRACT."
    mend_zh = "如需查看本方的查询计划，请使用 yunhe fabric explain SQL --with 名称=合约。"


class Unexpected(YunheError):
    code, status = "UNEXPECTED", 500
    en = "Something failed inside the node; its log knows more under {reference}."
    zh = "节点内部发生错误；详情见日志编号 {reference}。"
    mend_en = "Try again; if it persists, give the operator the reference."
    mend_zh = "请重试；若仍失败，请将编号告知节点运营方。"
