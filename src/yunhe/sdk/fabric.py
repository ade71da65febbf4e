"""The verbs of the data fabric: explain, records and lineage; the query itself streams.

In: SQL over `alias.table`, contracts by alias. Out: plans and records as plain objects, calls for
`Space`. An alias is one contract (or product code), or several that hold parts of one table.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from yunhe.sdk.call import Call, given, id_of, plain, plain_list, segment
from yunhe.sdk.model import Contract

Contracts = Mapping[str, "Contract | str | Sequence[Contract | str]"]


def aliases(contracts: Contracts) -> dict[str, Any]:
    """As the API takes them."""
    return {
        alias: id_of(of) if isinstance(of, (str, Contract)) else [id_of(each) for each in of]
        for alias, of in contracts.items()
    }


def asked(sql: str, contracts: Contracts, purpose: str, fabric_id: str | None) -> dict[str, Any]:
    """The body of a query; the id is ours, so that a repeat is never a second bill."""
    key = fabric_id or str(uuid.uuid4())
    return {
        "sql": sql,
        "contracts": aliases(contracts),
        "purpose": purpose,
        "fabric_id": key,
    }


def explain(sql: str, contracts: Contracts, purpose: str = "") -> Call[dict[str, Any]]:
    """The plan of a query over several nodes: sub-queries, who sees what, uses, price.

    Nothing runs and nothing is charged; every provider has bound its sub-query.
    """
    body = {"sql": sql, "contracts": aliases(contracts), "purpose": purpose}
    return Call("POST", "/fabric/explain", plain, body=body, wait_s=60.0)


def answers(product: str = "", column: str = "") -> Call[list[dict[str, Any]]]:
    """The records of queries over the fabric, the newest first.

    `product`, `column` ("table.column"): only those with an output that comes from it.
    """
    params = given(product=product, column=column)
    return Call("GET", "/fabric/answers", plain_list, params=params)


def answer(fabric_id: str) -> Call[dict[str, Any]]:
    """One record: state, each part with rows and fee (live while it runs), policy, lineage."""
    return Call("GET", f"/fabric/answers/{segment(fabric_id)}", plain)


def lineage(fabric_id: str) -> Call[dict[str, Any]]:
    """Output column -> the contracts, tables and columns of other nodes that it comes from."""
    path = f"/fabric/answers/{segment(fabric_id)}"
    return Call("GET", path, lambda data: plain(data["lineage"]))
