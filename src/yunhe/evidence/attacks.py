"""Attacks on a bundle, one at a time: what a forger without the parties' keys can try.

In: a bundle that holds, and a stranger's key. Out: forged copies, in each of which every hash
that needs no key has been recomputed. The demo and the tests show that each is refused by name.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from yunhe.evidence import fields, jws
from yunhe.evidence.bundle import manifest
from yunhe.evidence.note import Checkpoint, Signer
from yunhe.evidence.proof import TlogProof
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps, sha256_hex


@dataclass(frozen=True)
class Attack:
    """`how` is changed, dropped, reordered or signed; `pointer` is the field attacked."""

    how: str
    pointer: str
    bundle: dict[str, Any]


class Stranger(jws.Signer, Signer, Protocol):
    """A key of nobody concerned: it signs documents and checkpoints alike."""


def attacks(bundle: dict[str, Any], stranger: Stranger) -> Iterator[Attack]:
    """Every field changed, every member and item dropped, every list reordered, every signature
    (of documents, credentials, checkpoints, the manifest) made by `stranger`. Copies in which the
    recomputation undid the change are left out.
    """
    for how, pointer, forged in _forged(bundle, stranger):
        recompute(bundle, forged)
        if forged != bundle:
            yield Attack(how, pointer, forged)


def _forged(
    bundle: dict[str, Any], stranger: Stranger
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for pointer, value in fields.leaves(bundle, limits.BUNDLE_FIELDS_MAX, 64).items():
        if value and (again := _signed_anew(bundle, pointer, str(value), stranger)):
            yield "signed", pointer, _with(bundle, pointer, again)
        yield "changed", pointer, _with(bundle, pointer, other(value))
    for pointer in members(bundle):
        forged = copy.deepcopy(bundle)
        parent, last = parent_of(forged, pointer)
        del parent[last]
        yield "dropped", pointer, forged
    for pointer in sorted(fields.lists_of(bundle)):
        items = bundle_at(bundle, pointer)
        if items != items[::-1]:
            yield "reordered", pointer, _with(bundle, pointer, items[::-1])


def _signed_anew(bundle: dict[str, Any], pointer: str, value: str, stranger: Stranger) -> str:
    """The same words under the stranger's signature; "" where `pointer` is no signature."""
    if pointer == "/manifest":
        return manifest({name: bundle[name] for name in bundle if name != "manifest"}, stranger)
    if pointer.startswith("/credentials/"):
        return jws.sign(jws.decode(jws.parts(value)[1]), stranger)
    if pointer.endswith("/entry/proof"):
        proof = TlogProof.parse(value)
        head = Checkpoint.parse(proof.checkpoint.partition("\n\n")[0] + "\n")
        return str(replace(proof, checkpoint=head.sign(stranger)))
    if pointer.endswith("_jws") and "/entry/" not in pointer:
        return _detached(bundle_at(bundle, _document_of(pointer)), stranger)
    return ""


def other(value: Any) -> Any:
    """Another value of the same type, close to the first."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("A" if value[-1:] != "A" else "B")
    return "forged"


def members(value: Any, pointer: str = "") -> Iterator[str]:
    """The pointers of every member and item, inner ones after their holder."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = [(fields.escape(name), below) for name, below in value.items()]
    elif isinstance(value, list):
        items = list(enumerate(value))
    for token, below in items:
        yield f"{pointer}/{token}"
        yield from members(below, f"{pointer}/{token}")


def parent_of(document: Any, pointer: str) -> tuple[Any, Any]:
    """The holder of the field at `pointer`, and its name or index there."""
    *path, last = [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]
    for token in path:
        document = document[int(token) if isinstance(document, list) else token]
    return document, int(last) if isinstance(document, list) else last


def bundle_at(document: Any, pointer: str) -> Any:
    """The value at `pointer`."""
    parent, last = parent_of(document, pointer)
    return parent[last]


def recompute(before: dict[str, Any], forged: dict[str, Any]) -> None:
    """Recompute in `forged` the hashes no key protects: digests of documents, commitments."""
    for old, new in zip(_parts(before), _parts(forged), strict=False):
        entry = new.get("entry") if isinstance(new, dict) else None
        if not isinstance(entry, dict) or not isinstance(entry.get("leaf"), dict):
            continue
        body = entry.get("body")
        for name in ("agreement", "statement", "receipt"):
            if name in old and name in new and isinstance(body, dict):
                digest = sha256_hex(old[name])
                body.update({k: sha256_hex(new[name]) for k, v in body.items() if v == digest})
        try:
            salt = bytes.fromhex(entry["salt"])
        except (KeyError, TypeError, ValueError):
            continue
        entry["leaf"]["c"] = hashlib.sha256(salt + dumps(body)).hexdigest()


def _parts(bundle: dict[str, Any]) -> list[Any]:
    lists = [bundle.get(name) for name in ("uses", "settlements")]
    return [bundle.get("contract"), *(part for items in lists for part in items or [])]


def _document_of(pointer: str) -> str:
    holder, _, name = pointer.rpartition("/")
    if name == "receipt_jws":
        return f"{holder}/receipt"
    return f"{holder}/{'agreement' if holder == '/contract' else 'statement'}"


def _detached(document: Any, signer: jws.Signer) -> str:
    header, _, signature = jws.parts(jws.sign(dumps(document), signer))
    return f"{header}..{signature}"


def _with(bundle: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    forged = copy.deepcopy(bundle)
    parent, last = parent_of(forged, pointer)
    parent[last] = value
    return forged
