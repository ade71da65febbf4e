"""Fields of a JSON document by JSON Pointer (RFC 6901): digests, and what differs between two.

In: a document. Out: the SHA-256 of every leaf's canonical bytes, by pointer; and between two
such sets, exactly which field was changed, dropped, added, or which list was reordered.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from yunhe.evidence.report import Findings
from yunhe.kernel.canonical import sha256_hex

Tree = dict[str, Any]
"""Digests (texts) nested like the document; list items stand under their index."""


class TooDeep(ValueError):
    """A document over the bounds of fields or depth."""


def leaves(document: Any, fields_max: int, depth_max: int) -> dict[str, Any]:
    """Every leaf by pointer, in order; an empty container is a leaf. Raises TooDeep."""
    found: dict[str, Any] = {}
    stack: list[tuple[str, Any, int]] = [("", document, 0)]
    while stack:
        pointer, value, depth = stack.pop()
        if len(found) >= fields_max or depth > depth_max:
            raise TooDeep
        if value and isinstance(value, dict):
            items = [(f"{pointer}/{escape(str(k))}", v, depth + 1) for k, v in value.items()]
        elif value and isinstance(value, list):
            items = [(f"{pointer}/{i}", v, depth + 1) for i, v in enumerate(value)]
        else:
            found[pointer] = value
            continue
        stack.extend(reversed(items))
    return found


def digests(document: Any, fields_max: int, depth_max: int) -> dict[str, str]:
    """SHA-256 hex of every leaf's canonical bytes, by pointer. Raises TooDeep, BadJson."""
    found = leaves(document, fields_max, depth_max)
    return {pointer: sha256_hex(value) for pointer, value in found.items()}


def escape(token: str) -> str:
    """A member's name as it stands in a pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def lists_of(document: Any) -> set[str]:
    """The pointers of the lists in a document (already known to be bounded)."""
    found: set[str] = set()
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:
        pointer, value = stack.pop()
        if isinstance(value, dict):
            stack.extend((f"{pointer}/{escape(str(k))}", v) for k, v in value.items())
        elif isinstance(value, list):
            found.add(pointer)
            stack.extend((f"{pointer}/{i}", v) for i, v in enumerate(value))
    return found


def tree(flat: dict[str, str]) -> Tree:
    """Pointers and digests, nested."""
    root: Tree = {}
    for pointer, digest in flat.items():
        here = root
        *path, last = pointer.split("/")[1:] or [""]
        for token in path:
            below = here.setdefault(token, {})
            here = below if isinstance(below, dict) else here
        here[last] = digest
    return root


_EMPTY = (sha256_hex([]), sha256_hex({}))


def compare(found: Tree, said: Tree, lists: set[str], findings: Findings) -> None:
    """Note where `found` (the document) differs from `said` (what was signed)."""
    _compare("", found, said, lists, findings)


def _compare(at: str, found: Any, said: Any, lists: set[str], findings: Findings) -> None:
    if found == said:
        return
    if isinstance(said, dict) and found in _EMPTY:
        found = {}
    if not isinstance(found, dict) or not isinstance(said, dict):
        findings.add(at, "FIELD_CHANGED")
        return
    if at in lists and found and _compare_list(at, found, said, findings):
        return
    for token in {**said, **found}:
        if token not in found:
            findings.add(f"{at}/{token}", "FIELD_MISSING")
        elif token not in said:
            findings.add(f"{at}/{token}", "FIELD_UNKNOWN")
        else:
            _compare(f"{at}/{token}", found[token], said[token], lists, findings)


def _compare_list(at: str, found: Tree, said: Tree, findings: Findings) -> bool:
    """Name moved, dropped or added items as such; False if items themselves differ."""
    ours = {token: sha256_hex(item) for token, item in found.items()}
    theirs = {token: sha256_hex(item) for token, item in said.items()}
    have, want = Counter(ours.values()), Counter(theirs.values())
    if have == want:
        findings.add(at, "LIST_REORDERED")
    elif have < want:
        _name_extra(at, theirs, want - have, "FIELD_MISSING", findings)
    elif want < have:
        _name_extra(at, ours, have - want, "FIELD_UNKNOWN", findings)
    else:
        return False
    return True


def _name_extra(
    at: str, items: dict[str, str], extra: Counter[str], code: str, findings: Findings
) -> None:
    for token, digest in items.items():
        if extra[digest]:
            extra[digest] -= 1
            findings.add(f"{at}/{token}", code)
