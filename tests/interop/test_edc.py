"""Eclipse EDC and Yunhe, both real processes: catalogue, negotiation, transfer, data, both ways.

Runs by `make interop`; the everyday suite has the same quirks as fixtures in
tests/protocols/dsp/test_edc_quirks.py.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from interop.edc import runtime
from interop.edc.world import ASSET, COLUMNS, PATIENTS, PURPOSE, World, world

from yunhe.sdk import Offer, Terms

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(300),  # with the start of EDC, which has a bound of its own
    pytest.mark.skipif(not os.environ.get("YUNHE_INTEROP"), reason="`make interop` runs it"),
]
WANTED = Terms(purposes=(PURPOSE,), columns=COLUMNS, uses_max=100)
SQL = "SELECT count(*) AS n, min(age) AS youngest FROM patients"


@pytest.fixture(scope="module")
def both() -> Iterator[World]:
    home = tempfile.TemporaryDirectory(prefix="yunhe-interop-")
    with home as folder, world(Path(folder), runtime.assemble()) as made:
        yield made


def the_offer(both: World) -> Offer:
    [[code, offer_id, did]] = both.ask("catalog", address=both.edc.address, did=both.edc.id)
    assert (code, did) == (ASSET, both.edc.id)
    return Offer(offer_id, code, did, both.edc.address, WANTED)


def mocked(who: str) -> str:
    return json.dumps({"region": "any", "audience": "any", "clientId": who})


# --- Yunhe consumes an asset of EDC ---------------------------------------------------------


def test_yunhe_reads_the_catalogue_of_edc(both: World) -> None:
    assert the_offer(both).offer_id.count(":") == 2  # opaque: three base64 parts


def test_yunhe_gets_a_contract_and_the_data_from_edc(both: World) -> None:
    contract = both.yunhe.negotiate(the_offer(both), timeout_s=30)
    assert contract.state == "in_force"
    assert contract.signature_level == "transport"  # EDC signs nothing
    assert contract.terms == WANTED
    access = both.ask("access", contract=contract.id)
    got = both.http.get(access["endpoint"], headers={"Authorization": access["token"]})
    assert got.json()["isSystemHealthy"] is True
    assert both.http.get(access["endpoint"]).status_code == 403


def test_an_offer_that_edc_does_not_know_ends_with_its_reason(both: World) -> None:
    offer = the_offer(both)
    wrong = Offer("bm8=:bm8=:bm8=", offer.product_code, offer.provider_did, offer.address, WANTED)
    asked = both.yunhe.propose(wrong)
    ended = runtime.until(
        "the refusal",
        lambda: next(
            (n for n in both.yunhe.negotiations() if n.id == asked.id and n.state == "TERMINATED"),
            None,
        ),
    )
    assert ended.error is not None
    assert ended.error["detail"]


# --- EDC consumes a product of Yunhe --------------------------------------------------------


def test_edc_reads_our_catalogue_by_offset_and_limit(both: World) -> None:
    [dataset] = both.edc.catalog(both.dsp, both.node.did)["dataset"]
    assert dataset["@id"] == both.code
    assert "dataset" not in both.edc.post(
        "/catalog/request",
        {
            "counterPartyAddress": both.dsp,
            "counterPartyId": both.node.did,
            "protocol": runtime.PROTOCOL,
            "querySpec": {"offset": 1, "limit": 50},
        },
    )


def test_edc_gets_a_contract_a_transfer_and_the_data_from_yunhe(both: World) -> None:
    agreement = both.edc_negotiates()
    [contract] = [c for c in both.yunhe.contracts() if c.id == agreement]
    assert (contract.state, contract.role, contract.peer_did) == (
        "in_force",
        "provider",
        both.edc.id,
    )
    assert contract.terms.per_use_fen == 100
    address = both.edc.transfer(both.dsp, agreement)
    headers = {
        "Authorization": f"Bearer {address['authorization']}",
        "X-Yunhe-Peer": mocked(both.edc.id),
    }
    asked = {"use_id": str(uuid.uuid4()), "sql": SQL, "purpose": PURPOSE}
    got = httpx.post(address["endpoint"], json=asked, headers=headers, trust_env=False)
    assert got.status_code == 200, got.text
    table = pa.ipc.open_stream(got.content).read_all()
    assert table.to_pylist() == [{"n": PATIENTS, "youngest": 20}]


def test_the_end_of_the_contract_ends_the_transfer_at_edc(both: World) -> None:
    agreement = both.edc_negotiates()
    transfer = both.edc.transfer(both.dsp, agreement)["transfer"]
    both.yunhe.terminate(agreement, "the interop test")
    runtime.until("the end", lambda: both.edc.state(transfer) == "TERMINATED")


def test_edc_is_told_why_we_refuse(both: World) -> None:
    [dataset] = both.edc.catalog(both.dsp, both.node.did)["dataset"]
    asked = both.edc.negotiate(both.dsp, both.node.did, "no-such-asset", dataset["hasPolicy"][0])
    with pytest.raises(runtime.NegotiationEnded):
        both.edc.agreed(asked)
