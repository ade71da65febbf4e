"""A failure that was kept or told as one text or by its code, again in the reader's language.

In: a code alone, or `CODE: sentence`, as the outbox keeps it or a peer wrote it, in one language
or with each on its line. Out: the lines of one language; where only English came and the code is
one of ours, its Chinese is made of the facts that stand in the English.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

from yunhe.kernel.errors import YunheError, all_errors

_CODED: Final = re.compile(r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*): (.+)", re.DOTALL)
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_FACT: Final = re.compile(r"\\\{([a-z_]+)\\\}")


def reader() -> str:
    """`zh` or `en`, as the environment of who reads says."""
    for name in ("YUNHE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return "zh" if os.environ[name].lower().startswith("zh") else "en"
    return "en"


def in_both(text: str) -> str:
    """The text with its Chinese on a line of its own, where that is known."""
    found = _CODED.fullmatch(text)
    if found is None or _HAN.search(text):
        return text
    code, sentence = found.groups()
    for error in all_errors():
        if error.code == code and (zh := _chinese(error, sentence)):
            return f"{text}\n{zh}"
    return text


def of_code(code: str) -> dict[str, Any] | None:
    """The problem details of a code that came alone; None where the code is none of ours."""
    found = next((error for error in all_errors() if error.code == code), None)
    return None if found is None else found.told_alone()


def of(text: str, lang: str) -> str:
    """What of a text is for a reader of `zh` or `en`: the lines in it, or all where none is."""
    found = _CODED.fullmatch(text)
    code, said = found.groups() if found else ("", text)
    lines = said.split("\n")
    fit = [line for line in lines if bool(_HAN.search(line)) == (lang == "zh")]
    told = "; ".join(fit or lines)
    return f"{code}: {told}" if code else told


def _chinese(error: type[YunheError], sentence: str) -> str:
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match[1]
        again = name in seen
        seen.add(name)
        return f"(?P={name})" if again else f"(?P<{name}>.+?)"

    found = re.fullmatch(_FACT.sub(group, re.escape(error.en)), sentence, re.DOTALL)
    return error(**found.groupdict()).sentence("zh") if found else ""
