"""`/products/{key}/watermark`: who was given marked copies, and whose copy a file is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from yunhe.api.deps import Parts, Provider, face
from yunhe.api.forms import Form, when
from yunhe.kernel import limits
from yunhe.vault import Given, Score

router = face("supply")

Key = Annotated[str, Path(max_length=255)]
Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]
Value = Number | Annotated[str, Field(max_length=255)] | None
Values = Annotated[list[Value], Field(max_length=limits.WATERMARK_ROWS_MAX)]


class SuspectForm(Form):
    """Rows of a suspected file: their keys, and by "table.column" their values."""

    keys: Values
    columns: Annotated[dict[str, Values], Field(min_length=1, max_length=32)]


@router.get("/products/{key}/watermark")
def recipients(key: Key, parts: Parts, _who: Provider) -> dict[str, Any]:
    """Who was given marked copies of a product, and by which term they are marked."""
    code = parts.holder.product(key).code or ""
    return {"items": [_given(each) for each in parts.tracing.recipients(code)]}


@router.post("/products/{key}/watermark")
async def detect(key: Key, form: SuspectForm, parts: Parts, _who: Provider) -> dict[str, Any]:
    """Whose copy a file is: every recipient's score, the likeliest first."""
    code = parts.holder.product(key).code or ""
    work = parts.queries.run(lambda: parts.tracing.detect(code, form.keys, form.columns))
    found = await work
    told = {"rows": len(form.keys), "false_positive": limits.WATERMARK_FALSE_POSITIVE}
    return {**told, "recipients": [_score(each) for each in found]}


def _given(each: Given) -> dict[str, Any]:
    return {
        "did": each.did,
        "mark": each.mark,
        "watermark": each.watermark,
        "contract_id": each.contract_id,
        "use_id": each.use_id,
        "at": when(each.at),
    }


def _score(each: Score) -> dict[str, Any]:
    return {
        "did": each.did,
        "values": each.values,
        "z": each.z,
        "p": each.p,
        "named": each.named,
    }
