"""Marked copies, for their provider: who was given some, and whose copy a file is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yunhe.sdk.call import Call, plain, plain_list, segment


def marked_for(product: str) -> Call[list[dict[str, Any]]]:
    """Who was given marked copies of a product (provider), and by which term."""
    return Call("GET", f"/products/{segment(product)}/watermark", plain_list)


def whose_copy(
    product: str, keys: Sequence[Any], columns: Mapping[str, Sequence[Any]]
) -> Call[dict[str, Any]]:
    """Whose copy these rows are (provider): `recipients`, each with `z`, `p` and `named`, the
    likeliest first. `columns`: "table.column" -> values beside `keys`."""
    body = {"keys": list(keys), "columns": {name: list(each) for name, each in columns.items()}}
    return Call("POST", f"/products/{segment(product)}/watermark", plain, body=body)
