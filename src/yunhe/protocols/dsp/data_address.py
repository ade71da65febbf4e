"""Data addresses on the wire, and what a push asks for beside one (docs/transfers.md).

In: domain addresses and requests, or JSON bodies. Out: the other. EDC keeps properties under its
own names only, so the ones that count are said twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from yunhe import contracts
from yunhe.kernel import limits
from yunhe.kernel.clock import iso, parse_iso
from yunhe.protocols.dsp.body import Body
from yunhe.protocols.dsp.errors import BadMessage

EXPIRES: Final = "urn:yunhe:expiresAt"
SQL: Final = "urn:yunhe:sql"
PURPOSE: Final = "urn:yunhe:purpose"
PRINCIPAL: Final = "urn:yunhe:principal"
USE_ID: Final = "urn:yunhe:useId"
SEAL: Final = "urn:yunhe:seal"
METHOD: Final = "method"  # EDC's name for it
RANGED: Final = "urn:yunhe:ranged"
_EDC: Final = "https://w3id.org/edc/v0.0.1/ns/"  # before the names that EDC gives to properties
HTTP_ENDPOINT: Final = "https://w3id.org/idsa/v4.1/HTTP"

Json = dict[str, Any]


def wish(message: contracts.TransferRequest) -> Json:
    """What is to be pushed, in members of this house; absent: the whole product."""
    said = {
        SQL: message.sql,
        PURPOSE: message.purpose,
        PRINCIPAL: message.principal,
        USE_ID: message.use_id,
        SEAL: message.seal,
    }
    return {name: text for name, text in said.items() if text}


def write(address: contracts.DataAddress | None) -> Json:
    """`dataAddress`, or nothing."""
    if address is None:
        return {}
    said = {
        "authorization": address.token,
        "authType": "bearer",
        EXPIRES: iso(address.expires_at),
        METHOD: address.method if address.method != "POST" else "",
        RANGED: "true" if address.ranged else "",
        # EDC keeps properties under its own names only, and forgets the endpoint beside them.
        f"{_EDC}endpoint": address.endpoint,
        f"{_EDC}authorization": address.token,
        f"{_EDC}authType": "bearer",
    }
    properties = [
        {"@type": "EndpointProperty", "name": name, "value": value}
        for name, value in said.items()
        if value
    ]
    body: Json = {
        "@type": "DataAddress",
        "endpointType": HTTP_ENDPOINT,
        "endpoint": address.endpoint,
        "endpointProperties": properties,
    }
    return {"dataAddress": body}


def read_wish(body: Body, push: bool) -> dict[str, Any]:
    """The members that `wish` writes; a pull's are left out. Raises BadMessage."""
    if not push:
        return {}
    return {
        "sql": body.text(SQL, "", chars_max=limits.SQL_BYTES_MAX),
        "purpose": body.text(PURPOSE, "", chars_max=64),
        "principal": body.text(PRINCIPAL, "", chars_max=128),
        "use_id": body.text(USE_ID, "", chars_max=80),
        "seal": body.text(SEAL, "", chars_max=64),
    }


def read(whole: Body, now: datetime) -> contracts.DataAddress | None:
    """The `dataAddress` of a message, if it has one with an endpoint; raises BadMessage."""
    if whole.data.get("dataAddress") is None:
        return None
    return _read_address(whole.object("dataAddress"), now)


def _read_address(body: Body, now: datetime) -> contracts.DataAddress | None:
    properties = body.data.get("endpointProperties", [])
    if not isinstance(properties, list):
        raise BadMessage(field="dataAddress.endpointProperties", why="is not a list")
    said: dict[str, str] = {}
    for item in properties[:64]:
        one = Body(item, "dataAddress.endpointProperties")
        name = one.text("name").removeprefix(_EDC)
        said[name] = one.text("value", chars_max=limits.JWS_BYTES_MAX)
    ends = now + timedelta(seconds=limits.DATA_TOKEN_S_MAX)
    if EXPIRES in said:
        try:
            ends = parse_iso(said[EXPIRES])
        except ValueError as error:
            raise BadMessage(field=EXPIRES, why="is not an instant") from error
    endpoint = body.text("endpoint", "", chars_max=limits.CALLBACK_CHARS_MAX)
    # `baseUrl` and `authCode` are what EDC calls them in an address of type HttpData.
    endpoint = endpoint or (said.get("endpoint") or said.get("baseUrl", ""))
    if not endpoint:
        return None
    return contracts.DataAddress(
        endpoint[: limits.CALLBACK_CHARS_MAX],
        said.get("authorization") or said.get("authCode", ""),
        ends,
        method="PUT" if said.get(METHOD, "").upper() == "PUT" else "POST",
        ranged=said.get(RANGED) == "true",
    )
