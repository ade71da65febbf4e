"""Bills, statements and the evidence bundle of a contract."""

from __future__ import annotations

from typing import Any

from yunhe import exchange
from yunhe.api.deps import AnyCaller, Parts, Provider, face
from yunhe.api.forms import Empty, when

router = face("value")


@router.get("/contracts/{key}/bill")
def bill(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """Where the contract stands: from meters at the provider, from own receipts at the user."""
    found = parts.exchange.running_bill(key)
    return {
        "contract_id": found.contract_id,
        "uses": found.uses,
        "rows": found.rows,
        "total_fen": found.total_fen,
        "unbilled_fen": found.open_fen,
        "currency": "CNY",
    }


@router.post("/contracts/{key}/statements", status_code=201)
def issue(key: str, parts: Parts, _who: Provider, _body: Empty | None = None) -> dict[str, Any]:
    """Close the open period: sign what is not billed yet and send it to the peer."""
    return _statement(parts.exchange.issue_statement(key))


@router.get("/contracts/{key}/statements")
def of_contract(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The statements of one contract, oldest first."""
    contract = parts.contracts.contract(key)
    found = parts.exchange.statements(contract.id)
    return {"items": [_statement(each) for each in reversed(found)]}


@router.get("/statements")
def statements(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """Every statement, oldest first."""
    return {"items": [_statement(each) for each in reversed(parts.exchange.statements())]}


@router.get("/contracts/{key}/bundle")
def bundle(key: str, parts: Parts, _who: AnyCaller, statement: str = "") -> dict[str, Any]:
    """One contract from certificate to settlement, as `yunhe verify` reads it.

    `statement`: with this settled statement and its uses alone.
    """
    return parts.bundle(key, statement)


def _statement(found: exchange.Statement) -> dict[str, Any]:
    lines = found.body["lines"]
    return {
        "id": found.statement_id,
        "contract_id": found.contract_id,
        "state": found.state,
        "uses": len(lines),
        "rows": sum(line["rows"] for line in lines),
        "total_fen": found.total_fen,
        "currency": "CNY",
        "issued_at": when(found.created_at),
        "settled_at": when(found.ended_at) if found.state == "settled" else None,
        "differences": [each.to_json() for each in found.differences],
    }
