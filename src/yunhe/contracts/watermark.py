"""A watermark: delivered copies of a table are marked for their recipient, within a tolerance.

In: the text of the term `watermark`, `key=patients.id;share=2;patients.weight=0.5`: of every
second row, told by its key, the weight is moved by at most 0.5, up or down as the recipient's
secret code says. Out: `Watermark`, whose `str` is that text again. How it is embedded and found:
docs/watermark.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_STEP: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?", re.ASCII)
_WHOLE: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_COLUMN: Final = re.compile(r"[^.;=]{1,255}\.[^;=]{1,255}")
_COLUMNS_MAX: Final = 32


@dataclass(frozen=True)
class Mark:
    """Values of `column` ("table.column") are moved by at most `step`, a decimal number."""

    column: str
    step: str


@dataclass(frozen=True)
class Watermark:
    """One table is marked: rows are known by `key` ("table.column"), one value in `share` moves."""

    key: str
    share: int
    marks: tuple[Mark, ...]

    def __str__(self) -> str:
        said = [f"key={self.key}", f"share={self.share}"]
        return ";".join(said + [f"{each.column}={each.step}" for each in self.marks])

    @property
    def table(self) -> str:
        """The table that is marked."""
        return self.key.partition(".")[0]

    def place(self, column: str) -> int:
        """Which of the marked columns "table.column" is, from 0."""
        return [each.column for each in self.marks].index(column)

    def step(self, column: str) -> str | None:
        """By how much "table.column" may move; None: it stays as it is."""
        return next((each.step for each in self.marks if each.column == column), None)

    @classmethod
    def parse(cls, text: str) -> Watermark:
        """The inverse of `str`, in this order and spelling only; raises ValueError."""
        parts = [part.partition("=") for part in text.split(";")]
        if [name for name, _, _ in parts[:2]] != ["key", "share"] or len(parts) < 3:
            raise ValueError(text)
        (_, _, key), (_, _, share) = parts[:2]
        marks = tuple(Mark(column, step) for column, _, step in parts[2:])
        columns = [each.column for each in marks]
        if not _WHOLE.fullmatch(share) or not all(map(_COLUMN.fullmatch, [key, *columns])):
            raise ValueError(text)
        made = cls(key, int(share), marks)
        tables = {name.partition(".")[0] for name in columns}
        twice = len({key, *columns}) != len(marks) + 1
        if twice or tables != {made.table} or len(marks) > _COLUMNS_MAX:
            raise ValueError(text)
        if not all(_STEP.fullmatch(each.step) and Decimal(each.step) for each in marks):
            raise ValueError(text)
        return made
