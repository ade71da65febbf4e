"""The demo: four nodes on loopback carry one real data product through its whole life.

In: nothing but the `demo` extra (the patients' data). Out: the story in the terminal, a JSON
record of every step, and an exit code that is 0 only when every step held.
"""

from __future__ import annotations

from yunhe.demo.run import STORIES, run

__all__ = ["STORIES", "run"]
