"""`/sql` and `/uses`: use data under a contract, and what was used."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field
from starlette.responses import Response

from yunhe import contracts, control, exchange
from yunhe.api.deps import AnyCaller, Parts, Provider, User, face
from yunhe.api.errors import ExplainedElsewhere
from yunhe.api.forms import Form, SqlForm, bounds_json, when
from yunhe.kernel.asgi import StreamedResponse
from yunhe.kernel.money import charge

router = face("use")


@router.post(
    "/sql",
    response_class=Response,
    responses={200: {"content": {"application/vnd.apache.arrow.stream": {}}}},
)
async def sql(form: SqlForm, parts: Parts, who: User) -> Response:
    """Run SQL at the provider under a contract; the answer is an Arrow IPC stream.

    A refusal is a problem before the first byte. The stream ends only after this node's own
    signed receipt is durable.
    """
    use_id = form.use_id or str(uuid.uuid4())
    passing = await parts.queries.run(
        lambda: parts.ask(form.contract_id, form.sql, form.purpose, use_id, who.name)
    )
    headers = {
        "X-Yunhe-Use-Id": passing.use_id,
        "X-Yunhe-Groups-Withheld": "true" if passing.groups_withheld else "false",
    }
    media_type = "application/vnd.apache.arrow.stream"
    return StreamedResponse(passing, parts.streams, headers, media_type)


class QueryForm(Form):
    """A query under a contract, only to be looked at."""

    sql: Annotated[str, Field(min_length=1, max_length=100_000)]


@router.post("/contracts/{key}/explain")
def explain(key: str, form: QueryForm, parts: Parts, _who: Provider) -> dict[str, Any]:
    """At the provider: what a query of the consumer becomes, and what databases do of it.

    Nothing runs and nothing is charged; what a hidden row could tell is the provider's own.
    """
    found = parts.contracts.contract(key)
    if found.role is not contracts.Side.PROVIDER:
        raise ExplainedElsewhere
    governed = parts.explain(found.peer_did, found.id, form.sql)
    return {
        "contract_id": found.id,
        "sql": governed.sql,
        "groups_sql": governed.groups_sql,
        "minimum_group": governed.k,
        "fields": sorted(governed.fields),
        "names": list(governed.names),
        "pushed": list(governed.pushed),
        "bounds": bounds_json(found.terms),
        "left": parts.control.left(found).to_json(),
    }


@router.get("/uses")
def uses(
    parts: Parts, _who: AnyCaller, contract: Annotated[str, Query(max_length=255)]
) -> dict[str, Any]:
    """The uses under a contract, oldest first: metered here, or by our own receipts."""
    found = parts.contracts.contract(contract)
    if found.role is contracts.Side.PROVIDER:
        return {"items": [_metered(use) for use in parts.control.uses(found.id)]}
    price = found.terms.price
    return {"items": [_received(each, price) for each in parts.exchange.receipts(found.id)]}


def _metered(use: control.UseRecord) -> dict[str, Any]:
    return {
        "use_id": use.use_id,
        "contract_id": use.contract_id,
        "state": use.state,
        "purpose": use.purpose,
        "rows": use.rows or 0,
        "bytes": use.bytes or 0,
        "fee_fen": use.fee_fen or 0,
        "at": when(use.ended_at or use.reserved_at),
        "entry_id": use.entry_id,
        "code": use.why,
    }


def _received(receipt: exchange.SignedReceipt, price: contracts.Price) -> dict[str, Any]:
    return {
        "use_id": receipt.use_id,
        "contract_id": receipt.contract_id,
        "state": "received",
        "purpose": receipt.body["purpose"],
        "rows": receipt.body["rows"],
        "bytes": receipt.body["bytes"],
        "fee_fen": charge(price.per_use, price.per_row, receipt.body["rows"]),
        "at": when(receipt.at),
        "entry_id": receipt.entry_id,
        "code": None,
    }
