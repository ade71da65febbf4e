"""What the audit of overlaps is told of an answer.

In: a contract, a governed query and the prints of its groups, which the worker made. Out: what
`control` compares with all that the same party was answered from the same product.
"""

from __future__ import annotations

from collections.abc import Collection

from yunhe.contracts import Contract
from yunhe.control import Answered, answered
from yunhe.dataplane.bounding import buckets
from yunhe.dataplane.model import Governed
from yunhe.dataplane.process import Running
from yunhe.kernel.canonical import sha256_hex


def for_audit(contract: Contract, governed: Governed, running: Running) -> Answered | None:
    """Of an aggregate-only answer what it told; None for any other, noised ones too."""
    if not governed.aggregate_only or governed.recipe is not None:
        return None

    def frame(tables: Collection[str]) -> str:
        of = sorted(each for each in contract.terms.columns if each.partition(".")[0] in tables)
        return sha256_hex({"tables": sorted(tables), "columns": of})

    summed, k = governed.summed, governed.k
    own = {column: frame([column.partition(".")[0]]) for column in summed}
    whole = frame(governed.tables)
    return answered(contract.product_code, k, whole, summed, running.prints, buckets(k), own)
