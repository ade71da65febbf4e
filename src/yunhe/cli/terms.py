"""Terms for people: one list of words and values, or two of them side by side.

In: terms of an offer, an ask or a contract. Out: a table in the chosen language, money in yuan.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from yunhe.cli.desk import Desk
from yunhe.cli.errors import BadArgument
from yunhe.kernel.money import yuan
from yunhe.sdk import Terms


def but(terms: Terms, changes: Mapping[str, Any], option: str) -> Terms:
    """`terms` with the changes given as `option`; raises BadArgument."""
    known = terms.to_json()
    for name in changes:
        if name not in known:
            near, every = get_close_matches(name, known, 1, 0)[0], ", ".join(known)
            en = f"there is no term {name}; the nearest is {near}; all: {every}"
            zh = f"没有条款 {name}，最接近的是 {near}；全部条款：{every}"
            raise BadArgument(what=option, why=en, why_zh=zh)
    try:
        return terms.but(changes)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        named = ", ".join(changes)
        en, zh = f"{named} is not of the form of docs/api.md", f"{named} 不符合 docs/api.md 的格式"
        raise BadArgument(str(error), what=option, why=en, why_zh=zh) from error


def show(desk: Desk, terms: Terms) -> None:
    """One table of terms: what bounds something, then that nothing else does."""
    lines = {name: said for name, said in _lines(desk, terms).items() if said}
    lines[desk.say("all else", "其余")] = desk.say("not limited", "不限")
    desk.table(({"a": a, "b": b} for a, b in lines.items()), {"a": "", "b": ""})


def compare(desk: Desk, asked: Terms | None, offered: Terms | None) -> None:
    """Ask and offer side by side; a mark stands where they differ."""
    left, right = (_lines(desk, each) if each else {} for each in (asked, offered))
    rows = [
        {
            "term": name,
            "ask": left.get(name) or "–",
            "offer": right.get(name) or "–",
            "mark": "≠" if left and right and left[name] != right[name] else "",
        }
        for name in (left or right)
        if left.get(name) or right.get(name)
    ]
    columns = desk.columns("term ask offer", "TERM ASK OFFER", "条款 诉求 要约")
    desk.table(rows, columns | {"mark": ""})


def bounds(desk: Desk, found: Mapping[str, Any]) -> str:
    """Members of terms that bound something, in words on one line."""
    bare = Terms(purposes=(), columns=())
    known = {name: value for name, value in found.items() if name in bare.to_json()}
    said, free = _lines(desk, bare.but(known)), _lines(desk, bare)
    words = [f"{name} {text}" for name, text in said.items() if text and text != free[name]]
    return desk.say(", ", "，").join(words)


def price(desk: Desk, per_use_fen: int, per_row_fen: int) -> str:
    """A price in words."""
    if not per_use_fen and not per_row_fen:
        return desk.say("free", "免费")
    use, row = yuan(per_use_fen), yuan(per_row_fen)
    return desk.say(f"CNY {use} a use, {row} a row", f"每次 {use} 元，每行 {row} 元")


def _lines(desk: Desk, terms: Terms) -> Mapping[str, str]:
    """Each term and what it says, in the order of reading; empty where it bounds nothing."""
    free = desk.say("any", "不限")
    until = desk.instant(terms.expires_at) if terms.expires_at else free
    return {
        desk.say("purposes", "用途"): ", ".join(terms.purposes),
        desk.say("columns", "可见列"): ", ".join(terms.columns),
        desk.say("until", "到期"): until,
        desk.say("uses", "次数"): free if terms.uses_max is None else str(terms.uses_max),
        desk.say("rows a use", "单次行数"): _bound(terms.rows_max),
        desk.say("bytes a use", "单次字节数"): _bound(terms.bytes_max),
        desk.say("rows in all", "合计行数"): _bound(terms.rows_total),
        desk.say("bytes in all", "合计字节数"): _bound(terms.bytes_total),
        desk.say("hours", "使用时段"): terms.hours or "",
        desk.say("regions", "限定地域"): ", ".join(terms.regions),
        desk.say("rows where", "行过滤"): "; ".join(f"{t}: {p}" for t, p in terms.row_filters),
        desk.say("masks", "脱敏"): ", ".join(f"{c} {m}" for c, m in terms.masks),
        desk.say("minimum group", "最小分组"): _bound(terms.minimum_group or None),
        desk.say("keys shown to", "键值可展示给"): ", ".join(terms.keys_to),
        desk.say("aggregates", "允许的聚合"): (terms.aggregates or "").replace(";", "; "),
        desk.say("privacy budget", "隐私预算"): terms.privacy or "",
        desk.say("applications", "限定应用"): ", ".join(terms.applications),
        desk.say("release", "放行规则"): terms.release or "",
        desk.say("watermark", "水印"): terms.watermark or "",
        desk.say("how often", "频次"): terms.frequency or "",
        desk.say("pause", "间隔"): terms.pause or "",
        desk.say("passed on with its policy", "策略随传"): (
            desk.say("yes", "是") if terms.inherit else ""
        ),
        desk.say("price", "价格"): price(desk, terms.per_use_fen, terms.per_row_fen),
    }


def _bound(most: int | None) -> str:
    return "" if most is None else f"{most:,}"
