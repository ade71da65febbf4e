"""Money is integer fen (0.01 CNY) everywhere inside; text only at the edges."""

from __future__ import annotations

import re

_AMOUNT = re.compile(r"(\d{1,13})(?:\.(\d{1,2}))?(?: ?CNY)?", re.ASCII)  # no other script's digits


def yuan(fen: int) -> str:
    """`1234` -> `'12.34'`; negative amounts keep their sign."""
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // 100}.{fen % 100:02d}"


def parse_yuan(text: str) -> int:
    """`'12.34'`, `'12.3 CNY'`, `'12'` -> fen; raises ValueError for anything finer or other."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not an amount in CNY: {text!r}")
    whole, part = match.groups()
    return int(whole) * 100 + int((part or "").ljust(2, "0"))


def charge(per_use: int, per_row: int, rows: int) -> int:
    """The fee of one use in fen: integer arithmetic, so both parties get the same figure."""
    return per_use + per_row * rows
