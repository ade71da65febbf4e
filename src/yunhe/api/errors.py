"""What only the HTTP face can refuse."""

from __future__ import annotations

from yunhe.kernel.errors import YunheError


class MethodNotAllowed(YunheError):
    code, status = "METHOD_NOT_ALLOWED", 405
    en = "This path does not take {method}."
    zh = "该路径不支持 {method} 方法。"
    mend_en = "See docs/api.md for the calls of this path."
    mend_zh = "请参阅 docs/api.md 中该路径支持的方法。"


class Unexpected(YunheError):
    code, status = "UNEXPECTED", 500
    en = "Something failed inside the node; its log knows more under {reference}."
    zh = "节点内部发生错误；详情见日志编号 {reference}。"
    mend_en = "Try again; if it persists, give the operator the reference."
    mend_zh = "请重试；若仍失败，请将编号告知节点运营方。"
