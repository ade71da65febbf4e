"""What is wrong with a table's bytes, said in both languages, on its way out of the ingest.

A fault names files as their provider does, columns and rows, and never a value of the data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Fault(Exception):
    """Ends an ingest. `bound`: a limit was met, rather than something malformed."""

    en: str
    zh: str
    bound: bool = False
