"""Two sides of a catalogue for the tests: a connector's holder and a node's register."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from yunhe import catalog, contracts, dataplane
from yunhe.catalog import Holder, Holding, ProductForm, Register, ResourceForm, TableForm, Text
from yunhe.evidence import EvidenceLog
from yunhe.identity import Peer
from yunhe.kernel.clock import Clock
from yunhe.kernel.db import Database, create_all, open_database
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import KeyStore
from yunhe.sources import Sources

SUBJECT = "91330100MA00000665"
OTHER_SUBJECT = "91320500MA0000074G"
PROVIDER = "did:web:provider.example"
STRANGER = "did:web:stranger.example"


def read_terms(policy: dict[str, Any]) -> contracts.Terms:
    return contracts.terms_from_policy(contracts.Policy.from_json(policy))


def check_terms(
    terms: contracts.Terms, tables: Sequence[catalog.Table], *, whole: bool
) -> list[tuple[str, YunheError]]:
    bound = {
        table.name: dataplane.TableBinding(
            {column.name: column.type for column in table.columns}, (), table.entity_key or None
        )
        for table in tables
    }
    return dataplane.term_faults(terms, bound, whole=whole)


def peer(did: str = PROVIDER, subject: str = SUBJECT, member: bool = True) -> Peer:
    return Peer(did, member, "5" + subject, subject, "某医院", {}, address="https://p.example")


def evidence(db: Database, folder: Path) -> EvidenceLog:
    return EvidenceLog(db, KeyStore(folder).key("log"), "test.example/log")


def patients(folder: Path) -> Path:
    path = folder / "patients.parquet"
    duckdb.sql(
        "SELECT i AS id, 40 + i % 40 AS age, 'name' || i AS name FROM range(200) t(i)"
    ).write_parquet(str(path))
    return path


def resource_form(path: Path, **changes: Any) -> ResourceForm:
    form = ResourceForm(
        Text("肝病患者随访", "Liver patients follow-up"),
        Text("脂肪肝患者的随访记录", "Follow-up of patients with fatty liver"),
        (TableForm("patients", (str(path),), "id"),),
        ("肝病", "liver"),
    )
    return replace(form, **changes)


def policy(*columns: str, per_use: int = 100, per_row: int = 2, **changes: Any) -> dict[str, Any]:
    terms = contracts.Terms(
        ("medical-research",),
        columns or ("patients.age",),
        price=contracts.Price(per_use, per_row),
    )
    terms = replace(terms, **changes)
    return contracts.policy_from_terms(terms).to_json()


def product_form(*resource_ids: str, **changes: Any) -> ProductForm:
    form = ProductForm(
        Text("肝病随访数据集", "Liver follow-up data set"),
        Text("用于脂肪肝进展研究", "For research into the progress of fatty liver"),
        resource_ids,
        policy(),
        {"uses_max": 20},
        ("随访", "NAFLD"),
    )
    return replace(form, **changes)


@dataclass
class Side:
    """A holder whose submissions go straight to a register, as a wire would carry them."""

    db: Database
    holder: Holder
    register: Register
    log: EvidenceLog
    sent: list[Any]
    decided: list[Any]

    def settle(self) -> None:
        """Carry what was decided back to the holder."""
        while self.decided:
            event = self.decided.pop(0)
            self.db.write(
                lambda tx, e=event: self.holder.on_reviewed(
                    tx, e.kind, e.local_id, e.version, e.decision, e.code, e.reasons
                )
            )

    def carry(self) -> list[catalog.Registration]:
        """Carry what was submitted to the register."""
        names = {
            catalog.ResourceSubmitted: "resource",
            catalog.ProductSubmitted: "product",
            catalog.ListingSubmitted: "listing",
        }
        got = []
        while self.sent:
            event = self.sent.pop(0)
            kind = names.get(type(event)) or event.kind
            got.append(self.register.receive(kind, event.record, peer()))
        return got


def side(db: Database, folder: Path, review: str = "auto") -> Side:
    log = evidence(db, folder / "keys")
    holding = Holding(PROVIDER, SUBJECT, "某医院", "https://provider.example")
    holder = Holder(db, log, Sources([folder]), read_terms, holding, check_terms)
    register = Register(db, log, read_terms, "3301", review, check_terms=check_terms)
    made = Side(db, holder, register, log, [], [])
    for kind in (
        catalog.ResourceSubmitted,
        catalog.ProductSubmitted,
        catalog.ListingSubmitted,
        catalog.WithdrawalSubmitted,
    ):
        db.events.on(kind, lambda tx, event: made.sent.append(event))
    db.events.on(catalog.Reviewed, lambda tx, event: made.decided.append(event))
    return made


@contextmanager
def database(path: Path, clock: Clock) -> Iterator[Database]:
    db = open_database(f"sqlite:///{path}", clock)
    create_all(db)
    yield db
    db.close()


def listed(made: Side, folder: Path, **changes: Any) -> catalog.Product:
    """A product taken all the way to its listing."""
    resource = made.holder.add_resource(resource_form(patients(folder)))
    made.holder.submit_resource(resource.id)
    made.carry()
    made.settle()
    product = made.holder.add_product(product_form(resource.id, **changes))
    made.holder.submit_product(product.id)
    made.carry()
    made.settle()
    made.holder.list_product(product.id)
    made.carry()
    made.settle()
    return made.holder.product(product.id)
