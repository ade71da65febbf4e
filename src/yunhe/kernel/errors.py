"""The exception tree: every refusal has a stable code, a sentence in zh and en, and a remedy.

    YunheError
    ├── Invalid          400  the request itself is wrong
    ├── Unauthenticated  401  we do not know who is asking
    ├── Denied           403  we know, and the answer is no
    ├── NotFound         404  absent, or hidden from the caller: the same answer
    ├── Conflict         409  the object is in another state
    ├── TooLarge         413  a bound of kernel.limits was met
    ├── RateLimited      429
    ├── Internal         500  our fault; the detail stays in the log
    └── Unavailable      503  a dependency is away; try again

Slices subclass these in their `errors.py`; `docs/errors.md` is generated from the tree.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from yunhe.kernel import limits, whys


class YunheError(Exception):
    """A refusal or failure that people and programs can act on.

    `facts` are public and JSON-safe; they fill the `{names}` of the texts and travel in the
    problem body; a Chinese text takes a fact `why_zh` before `why`. `detail` is private: it goes
    to the log and never to the caller.
    """

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    en: ClassVar[str] = "Something failed inside the node."
    zh: ClassVar[str] = "节点内部发生错误。"
    mend_en: ClassVar[str] = "Try again; if it persists, give the operator the reference."
    mend_zh: ClassVar[str] = "请重试；若仍失败，请将编号告知节点运营方。"

    def __init__(self, detail: str = "", **facts: Any) -> None:
        self.detail = detail
        self.facts = {name: _bounded(fact) for name, fact in facts.items()}
        super().__init__(f"{self.code}: {self.sentence('en')}" + (f" [{detail}]" if detail else ""))

    def sentence(self, lang: str = "en") -> str:
        """The sentence for people, in `zh` or `en`, with the facts filled in."""
        return _fill(self.zh, _in_zh(self.facts)) if lang == "zh" else _fill(self.en, self.facts)

    def remedy(self, lang: str = "en") -> str:
        """How to mend it, in `zh` or `en`."""
        if lang == "zh":
            return _fill(self.mend_zh, _in_zh(self.facts))
        return _fill(self.mend_en, self.facts)

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 problem details of this error, in both languages."""
        return {
            "type": f"urn:yunhe:error:{self.code}",
            "title": self.code,
            "status": self.status,
            "code": self.code,
            "detail": self.sentence("en"),
            "remedy": self.remedy("en"),
            "zh": {"detail": self.sentence("zh"), "remedy": self.remedy("zh")},
            "facts": self.facts,
        }

    @classmethod
    def told_alone(cls) -> dict[str, Any]:
        """The problem details where the code came without its facts: `…` stands for each."""
        known = _Alone()
        texts = (cls.en, cls.mend_en, cls.zh, cls.mend_zh)
        en, mend_en, zh, mend_zh = (text.format_map(known) for text in texts)
        return {
            "type": f"urn:yunhe:error:{cls.code}",
            "title": cls.code,
            "status": cls.status,
            "code": cls.code,
            "detail": en,
            "remedy": mend_en,
            "zh": {"detail": zh, "remedy": mend_zh},
            "facts": {},
        }


def _bounded(fact: Any) -> Any:
    # A stranger's own words may be among the facts; an answer is not an echo of a megabyte.
    if isinstance(fact, str) and len(fact) > limits.FACT_CHARS_MAX:
        return fact[: limits.FACT_CHARS_MAX] + "…"
    return fact


def _in_zh(facts: dict[str, Any]) -> dict[str, Any]:
    # So that one sentence speaks one language, where the reason is known in both.
    chinese = {name[:-3]: fact for name, fact in facts.items() if name.endswith("_zh")}
    if isinstance(why := facts.get("why"), str) and "why" not in chinese:
        found = whys.chinese(why)
        chinese |= {"why": found, "why_zh": found} if found else {}
    return {**facts, **chinese} if chinese else facts


class _Fallback(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


class _Alone(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "…"


# Facts keep an instant as it is kept; a sentence tells it to the second.
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{6}Z")


def _fill(text: str, facts: dict[str, Any]) -> str:
    if "{" not in text:
        return text
    return _INSTANT.sub(r"\1Z", text.format_map(_Fallback(facts)))


class Invalid(YunheError):
    code, status = "INVALID", 400
    en = "The request is not valid: {why}."
    zh = "请求不合法：{why}。"
    mend_en = "Correct the named part and send it again."
    mend_zh = "请更正所指部分后重新提交。"


class Unauthenticated(YunheError):
    code, status = "UNAUTHENTICATED", 401
    en = "The caller is not authenticated."
    zh = "未通过身份认证。"
    mend_en = "Send a valid token in the Authorization header."
    mend_zh = "请在 Authorization 头中携带有效令牌。"


class Denied(YunheError):
    code, status = "DENIED", 403
    en = "This is not allowed."
    zh = "不允许该操作。"
    mend_en = "Ask the owner of the object for the right."
    mend_zh = "请向权利方申请相应权限。"


class NotFound(YunheError):
    code, status = "NOT_FOUND", 404
    en = "No such {what}."
    zh = "不存在：{what}。"
    mend_en = "Check the identifier."
    mend_zh = "请核对标识。"


class Conflict(YunheError):
    code, status = "CONFLICT", 409
    en = "Not possible in the present state: {why}."
    zh = "当前状态不允许：{why}。"
    mend_en = "Read the object again and act on its present state."
    mend_zh = "请重新读取对象并按其当前状态操作。"


class TooLarge(YunheError):
    code, status = "TOO_LARGE", 413
    en = "Over the limit: {what} is at most {limit}."
    zh = "超出上限：{what} 最多 {limit}。"
    mend_en = "Send less at a time."
    mend_zh = "请减少单次的数量。"


class RateLimited(YunheError):
    code, status = "RATE_LIMITED", 429
    en = "Too many requests at once."
    zh = "请求过于频繁。"
    mend_en = "Wait a moment and try again."
    mend_zh = "请稍候重试。"


class Internal(YunheError):
    code, status = "INTERNAL_ERROR", 500


class Unavailable(YunheError):
    code, status = "UNAVAILABLE", 503
    en = "{what} does not answer at the moment."
    zh = "{what} 暂时不可用。"
    mend_en = "Try again in a moment."
    mend_zh = "请稍后重试。"


class ClockJumped(Unavailable):
    code = "CLOCK_JUMPED"
    en = "The machine's clock was set back by {seconds} s; the node starts anew with it."
    zh = "本机时钟被回拨 {seconds} 秒；节点将以新的时间重新启动。"
    mend_en = "See that the machine's clock is right now, and kept so (NTP)."
    mend_zh = "请确认本机当前时间正确，并启用时钟同步（NTP）。"


def all_errors() -> list[type[YunheError]]:
    """Every error class that is imported, by code; the source of `docs/errors.md`."""
    found: list[type[YunheError]] = []
    queue: list[type[YunheError]] = [YunheError]
    while queue:
        for sub in queue.pop().__subclasses__():
            found.append(sub)
            queue.append(sub)
    return sorted(found, key=lambda error: error.code)
