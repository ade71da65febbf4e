"""The verbs of the vault, as values like those of `calls`, and reading, which streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from yunhe.sdk.call import Call, given, id_of, plain, plain_list, segment
from yunhe.sdk.errors import unreachable
from yunhe.sdk.model import Contract
from yunhe.sdk.stream import optional
from yunhe.sdk.target import API, Target, refusal

if TYPE_CHECKING:
    import pyarrow

_READ_S = 600.0


def seal(
    contract: Contract | str, sql: str = "", purpose: str = "", use_id: str | None = None
) -> Call[dict[str, Any]]:
    """Ask for a sealed delivery to this node's vault (user): what `sql` says, else the product.

    One use; it comes in the background, see `vault_item`.
    """
    said = given(sql=sql, purpose=purpose, use_id=use_id)
    body = {"contract_id": id_of(contract), **said}
    return Call("POST", "/vault", plain, body=body)


def vault_items() -> Call[list[dict[str, Any]]]:
    """The sealed deliveries of this node, latest first."""
    return Call("GET", "/vault", plain_list)


def vault_item(item: str) -> Call[dict[str, Any]]:
    """One sealed delivery: `state` is awaited, sealed or destroyed."""
    return Call("GET", f"/vault/{segment(item)}", plain)


def vault_notes(contract: Contract | str) -> Call[list[dict[str, Any]]]:
    """Every read and destruction under a contract, signed by the receiver, on either side."""
    return Call("GET", f"/contracts/{segment(contract)}/vault", plain_list)


def vault_destroy(item: str, reason: str) -> Call[dict[str, Any]]:
    """Destroy the key of a delivery for good (user); the proof goes to the provider."""
    return Call("POST", f"/vault/{segment(item)}/destroy", plain, body={"reason": reason})


def vault_proofs(contract: Contract | str) -> Call[list[dict[str, Any]]]:
    """The proofs that keys are gone: `state` awaited, proved or overdue (held: at the receiver),
    and whether it is verified."""
    return Call("GET", f"/contracts/{segment(contract)}/vault/proofs", plain_list)


def read_table(
    where: Target, http: httpx.Client, item: str, body: dict[str, str], verb: str = "read"
) -> pyarrow.Table:
    """Open a delivery once more, or run `sql` over it; raises YunheRefused, NodeUnreachable."""
    ipc = optional("pyarrow.ipc")
    url = f"{where.base}{API}/vault/{segment(item)}/{verb}"
    try:
        with http.stream("POST", url, json=body, timeout=_READ_S) as response:
            if response.status_code != 200:
                raise refusal(where, response.status_code, response.read())
            return ipc.open_stream(response.read()).read_all()
    except httpx.HTTPError as error:
        raise unreachable(where.base, error) from error
