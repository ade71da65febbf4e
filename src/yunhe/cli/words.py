"""The states of the wire in words: what a contract, a signature or a review is called.

In: a value of docs/api.md. Out: the word in the chosen language, or the value where none is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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


def of(desk: Desk, known: Words, value: str) -> str:
    """The word for a value."""
    return desk.say(*known[value]) if value in known else value
