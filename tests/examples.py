"""The examples of the documentation, for the tests that run them as they stand."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(page: str | Path, language: str) -> list[str]:
    """The fenced blocks of a page (`docs/NAME.md`, or a path) in a language."""
    path = page if isinstance(page, Path) else ROOT / "docs" / f"{page}.md"
    return re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)


def example(page: str, mark: str) -> str:
    """The one Python block of a page that has `mark` in it."""
    (found,) = [block for block in blocks(page, "python") if mark in block]
    return found
