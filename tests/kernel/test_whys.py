"""Every reason that the code gives in English has its Chinese, and is told in it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from yunhe.kernel.errors import Invalid
from yunhe.kernel.tongues import in_both
from yunhe.kernel.whys import FILLED, PLAIN, chinese

HOUSE = Path(__file__).parents[2] / "src" / "yunhe"


def written() -> dict[str, str]:
    """Each `why=` of a call without a `why_zh=`, as a template -> a file it stands in."""
    found: dict[str, str] = {}
    for path in HOUSE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            named = {each.arg: each.value for each in node.keywords}
            if "why_zh" in named or not (why := named.get("why")):
                continue
            if isinstance(why, ast.Constant) and isinstance(why.value, str):
                found[why.value] = path.name
            elif isinstance(why, ast.JoinedStr):
                parts = (
                    each.value if isinstance(each, ast.Constant) else "{}" for each in why.values
                )
                found["".join(map(str, parts))] = path.name
    return found


def test_every_reason_is_known_in_chinese() -> None:
    said = written()
    missing = {text: path for text, path in said.items() if text not in PLAIN | FILLED}
    assert not missing, f"give why_zh there, or the Chinese in kernel/whys.py: {missing}"


@pytest.mark.parametrize("template", FILLED)
def test_what_differs_is_kept(template: str) -> None:
    count = template.count("{}")
    told = chinese(template.format(*(f"x{n}" for n in range(count))))
    assert all(f"x{n}" in told for n in range(count))


def test_a_sentence_takes_the_chinese_of_its_reason() -> None:
    assert Invalid(why="status 503").sentence("zh") == "请求不合法：状态码 503。"
    assert Invalid(why="status 503").sentence("en") == "The request is not valid: status 503."
    assert Invalid(why="a stranger's words").sentence("zh") == "请求不合法：a stranger's words。"
    assert Invalid(why="is empty", why_zh="空的").sentence("zh") == "请求不合法：空的。"
    assert Invalid(why="x" * 10_000 + " is missing").sentence("zh").isascii() is False
    assert in_both("INVALID: The request is not valid: its answer is too long.").endswith(
        "\n请求不合法：其应答过长。"
    )
