"""`/fabric`: one SQL over the products of several nodes; its plan, its answer, its record."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field
from starlette.responses import Response

from yunhe.api.deps import Parts, User, face
from yunhe.api.forms import Form
from yunhe.kernel import limits
from yunhe.kernel.asgi import StreamedResponse

router = face("fabric", "/fabric")

_Key = Annotated[str, Field(min_length=1, max_length=255)]
_Keys = Annotated[list[_Key], Field(min_length=1, max_length=limits.FABRIC_CONTRACTS_MAX)]
_Alias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,30}$")]


class ExplainForm(Form):
    """SQL over `alias.table`; an alias is a contract, or several that hold parts of one table."""

    sql: Annotated[str, Field(min_length=1, max_length=100_000)]
    contracts: Annotated[
        dict[_Alias, _Key | _Keys],
        Field(max_length=limits.FABRIC_CONTRACTS_MAX, default_factory=dict),
    ]
    purpose: Annotated[str, Field(max_length=64)] = ""

    def aliases(self) -> dict[str, list[str]]:
        """Alias -> contract ids or product codes."""
        return {
            alias: [of] if isinstance(of, str) else list(of) for alias, of in self.contracts.items()
        }


class FabricForm(ExplainForm):
    """As to explain, and to run: for a purpose, under an id that never charges twice."""

    purpose: Annotated[str, Field(min_length=1, max_length=64)]
    fabric_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{8,64}$")] | None = None


@router.post("/explain")
def explain(form: ExplainForm, parts: Parts, _who: User) -> dict[str, Any]:
    """The plan: each node's sub-query, who sees which columns, uses and price. Charges nothing."""
    return parts.fabric.explain(form.sql, form.aliases(), form.purpose)


@router.post(
    "/sql",
    response_class=Response,
    responses={200: {"content": {"application/vnd.apache.arrow.stream": {}}}},
)
async def sql(form: FabricForm, parts: Parts, who: User) -> Response:
    """Run it; the answer is an Arrow IPC stream whose schema carries the inherited policy."""
    key = form.fabric_id or str(uuid.uuid4())
    run = await parts.queries.run(
        lambda: parts.fabric.query(form.sql, form.aliases(), form.purpose, key, who.name)
    )
    headers = {
        "X-Yunhe-Use-Id": run.fabric_id,
        "X-Yunhe-Groups-Withheld": "true" if run.groups_withheld else "false",
    }
    return StreamedResponse(run, parts.streams, headers, "application/vnd.apache.arrow.stream")


@router.get("/answers")
def answers(
    parts: Parts,
    _who: User,
    product: Annotated[str, Query(max_length=255)] = "",
    column: Annotated[str, Query(max_length=255)] = "",
) -> dict[str, Any]:
    """The records of queries over the fabric, the newest first; of those that stand on a product's
    column (`table.column`)."""
    return {"items": [each.to_json() for each in parts.fabric.answers(product, column)]}


@router.get("/answers/{key}")
def answer(key: str, parts: Parts, _who: User) -> dict[str, Any]:
    """One record: each part's state, rows and fee (live while it runs), policy, lineage."""
    return parts.fabric.answer(key).to_json()
