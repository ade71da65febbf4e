"""The states of the wire in words: what a contract, a signature or a review is called.

In: a value of docs/api.md. Out: the word in the chosen language, or the value where none is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from yunhe.cli.desk import Desk


Words = Mapping[str, tuple[str, str]]

ROLES: Final[Words] = MappingProxyType(
    {"consumer": ("consumer", "使用方"), "provider": ("provider", "提供方")}
)
CONTRACT: Final[Words] = MappingProxyType(
    {
        "in_force": ("in force", "履行中"),
        "terminated": ("terminated", "已终止"),
        "expired": ("expired", "已到期"),
    }
)
SIGNATURES: Final[Words] = MappingProxyType(
    {
        "both": ("both parties signed", "双方已签名"),
        "transport": ("not signed by both, agreed over the wire", "未双签，仅经传输层确认"),
    }
)

# What a column of a table says, by its name; English shows the value as the API has it.
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "role": {"consumer": "使用方", "provider": "提供方"},
        "side": {"author": "部署方", "host": "数据方"},
        "waiting_for": {"you": "我方", "peer": "对方"},
        "kind": {
            "subject": "主体",
            "connector": "连接器",
            "resource": "资源",
            "product": "产品",
            "listing": "上架申请",
            "application": "应用",
            "read": "读取",
            "destroyed": "销毁",
            "done": "完成",
        },
        "state": {
            "active": "有效",
            "approved": "已通过",
            "asked": "待准入",
            "awaited": "等待中",
            "cancelled": "已取消",
            "delisted": "已下架",
            "deployed": "已部署",
            "destroyed": "已销毁",
            "disputed": "有争议",
            "done": "已完成",
            "draft": "草稿",
            "expired": "已到期",
            "failed": "失败",
            "held": "保留中",
            "in_force": "履行中",
            "issued": "已出具",
            "listed": "已上架",
            "none": "无",
            "open": "进行中",
            "overdue": "已逾期",
            "posted": "已入账",
            "proved": "已证明",
            "published": "已发布",
            "queued": "排队中",
            "received": "已接收",
            "refused": "已拒绝",
            "registered": "已登记",
            "rejected": "已驳回",
            "released": "已放行",
            "reserved": "已预留",
            "returned": "已退回",
            "reviewing": "审核中",
            "revoked": "已撤销",
            "running": "运行中",
            "sealed": "已密封",
            "settled": "已结清",
            "submitted": "待审核",
            "suspended": "已暂停",
            "terminated": "已终止",
            "void": "已作废",
            "waiting": "等待中",
            "withdrawn": "已撤回",
            "withheld": "已扣留",
            "ACCEPTED": "已接受",
            "AGREED": "已达成协议",
            "COMPLETED": "已完成",
            "FINALIZED": "已签成",
            "OFFERED": "已要约",
            "REQUESTED": "已请求",
            "STARTED": "传输中",
            "SUSPENDED": "已暂停",
            "TERMINATED": "已终止",
            "VERIFIED": "已核验",
        },
    }
)


def shown(lang: str, column: str, value: object) -> object:
    """A value of a table's column as people of that language read it."""
    if isinstance(value, bool):
        return ("是" if value else "否") if lang == "zh" else ("yes" if value else "no")
    return COLUMNS.get(column, {}).get(str(value), value) if lang == "zh" else value


def of(desk: Desk, known: Words, value: str) -> str:
    """The word for a value."""
    return desk.say(*known[value]) if value in known else value
