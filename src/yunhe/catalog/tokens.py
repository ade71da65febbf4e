"""Words of a bilingual text: Latin words, and Chinese as overlapping pairs of characters.

In: any text. Out: runs of tokens for the index, or the terms of a query. Chinese has no spaces,
and two characters are a word: pairs find every word without a dictionary (dataplane.md 5).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from yunhe.kernel import limits

# Han (all planes), kana and hangul: scripts written without spaces between words.
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff"
_RUN = re.compile(f"([{_CJK}]+)|([^\\W_{_CJK}]+)")
BREAK = "|"  # stands between runs so that a phrase cannot cross them


@dataclass(frozen=True)
class Term:
    """One thing a query asks for: a run of CJK characters, or a Latin word."""

    text: str
    cjk: bool

    @property
    def prefix(self) -> bool:
        """A Latin word of three or more letters also finds longer words (lab, laboratory)."""
        return not self.cjk and len(self.text) >= limits.SEARCH_PREFIX_CHARS_MIN


def runs(text: str) -> list[Term]:
    """The runs of a text in order, normalised (NFKC, case folded), over-long words cut."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    found = []
    for cjk, word in _RUN.findall(plain):
        cut = cjk or word[: limits.SEARCH_WORD_CHARS_MAX]
        found.append(Term(cut, bool(cjk)))
    return found


def pairs(run: str) -> list[str]:
    """`肝病患者` -> `肝病 病患 患者`; one character stays itself."""
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def index_words(texts: Iterable[str]) -> str:
    """Latin words and CJK pairs, space-joined, with a break between runs and texts."""
    words: list[str] = []
    for text in texts:
        for run in runs(text):
            if run.cjk:
                words += [BREAK, *pairs(run.text), BREAK]
            else:
                words.append(run.text)
        words.append(BREAK)
    return " ".join(words)


def index_characters(texts: Iterable[str]) -> str:
    """Every single CJK character, for one-character queries."""
    found = {c for text in texts for run in runs(text) if run.cjk for c in run.text}
    return " ".join(sorted(found))


def query_terms(text: str) -> tuple[Term, ...]:
    """The terms of a query, each once; all of them must occur (N05 A.1: space = AND)."""
    return tuple(dict.fromkeys(runs(text)))


def matches(terms: Iterable[Term], texts: Iterable[str]) -> bool:
    """True if every term occurs in the texts: what the index answers, computed plainly."""
    have = [run for text in texts for run in runs(text)]
    return all(any(_occurs(term, run) for run in have) for term in terms)


def _occurs(term: Term, run: Term) -> bool:
    if term.cjk != run.cjk:
        return False
    if term.cjk:
        return term.text in run.text
    return run.text.startswith(term.text) if term.prefix else run.text == term.text


def language(text: str) -> str:
    """`zh` when the text has a CJK character, else `en`."""
    return "zh" if any(run.cjk for run in runs(text)) else "en"
