"""Writes docs/errors.md from the error classes; run it after adding one, a test checks it.

In: every module of the house, imported. Out: one line an error, by code, in both languages.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import yunhe
from yunhe.kernel.errors import YunheError, all_errors

PAGE = Path(__file__).with_name("errors.md")

_HEAD = """# Errors

Every refusal is an RFC 9457 problem with a stable `code`, a sentence and a remedy, in English and
Chinese (`yunhe.kernel.errors`). `{names}` are facts that the problem carries in `facts`.
This page is written by `python docs/errors_page.py`; do not edit it.

| code | HTTP | sentence | remedy | 说明 | 建议 |
|---|---|---|---|---|---|
"""


ENTRIES = (".__main__", ".worker", ".local")


def house_errors() -> list[type[YunheError]]:
    """Every error of the house with a code of its own, by code, after importing every module."""
    for module in pkgutil.walk_packages(yunhe.__path__, "yunhe."):
        # Alembic's files and entry points act when they are imported.
        if ".migrations" not in module.name and not module.name.endswith(ENTRIES):
            importlib.import_module(module.name)
    house = [error for error in all_errors() if error.__module__.startswith("yunhe.")]
    return [error for error in house if "code" in vars(error)]


def page() -> str:
    """The text of docs/errors.md."""
    rows = []
    for error in house_errors():
        cells = (error.en, error.mend_en, error.zh, error.mend_zh)
        safe = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        rows.append(f"| `{error.code}` | {error.status} | {safe} |")
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
