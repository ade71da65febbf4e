"""Seven hospitals in one process, each a real Node holding a part of one cohort, and a researcher.

`labs` and `patients` are split by patient; every provider has two products of them: `rows` lets
governed rows out, `groups` only aggregates over at least five patients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flow.world import PURPOSE, Served, World, free_port, settings, until
from yunhe.sdk import Contract, Terms

PARTS = 7
COLUMNS = (
    *(f"labs.{name}" for name in ("id", "test", "value", "days", "note")),
    *(f"patients.{name}" for name in ("id", "age", "sex")),
)
ROWS = Terms(
    purposes=(PURPOSE, "teaching"),
    columns=COLUMNS,
    uses_max=100_000,
    row_filters=(("patients", "age >= 18"),),
    masks=(("patients.age", "round:10"),),
    per_use_fen=100,
    per_row_fen=1,
)
GROUPS = ROWS.but({"minimum_group": 5, "purposes": [PURPOSE]})


def part(at: int, parts: int = PARTS) -> tuple[pa.Table, pa.Table]:
    """`labs` and `patients` of one hospital; some values are NULL, some texts Chinese."""
    ids = [i for i in range(700) if i % parts == at]
    patients = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "age": pa.array([10 + i % 80 for i in ids], pa.int64()),
            "sex": pa.array(["f" if i % 3 else "m" for i in ids]),
            "name": pa.array([f"CANARY-{i}" for i in ids]),
        }
    )
    rows = [(i, n) for i in ids for n in range(3 + i % 4)]
    labs = pa.table(
        {
            "id": pa.array([i for i, _ in rows], pa.int64()),
            "test": pa.array([("hdl", "sbp", "fib4", "血糖")[(i + n) % 4] for i, n in rows]),
            "value": pa.array(
                [None if (i * 7 + n) % 11 == 0 else (i * 31 + n * 17) % 200 / 8 for i, n in rows],
                pa.float64(),
            ),
            "days": pa.array([(i + n * 30) % 365 for i, n in rows], pa.int32()),
            "note": pa.array([None if n else f"n{i % 5}" for i, n in rows]),
        }
    )
    return labs, patients


def subject_code(at: int) -> str:
    """A synthetic unified social credit code with a right check digit (GB 32100)."""
    letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    body = f"91330100MA0000{at:02d}"
    body += _organisation_check(body[8:16])
    total = sum(letters.index(c) * pow(3, n, 31) for n, c in enumerate(body))
    return body + letters[(31 - total % 31) % 31]


def _organisation_check(text: str) -> str:
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(c, 36) * w for c, w in zip(text, weights, strict=True))
    return "0123456789X0"[11 - total % 11]


class Weave(World):
    """A functional node, `parts` hospitals h0.., the researcher r, and their contracts."""

    def __init__(self, home: Path, parts: int = PARTS) -> None:
        super().__init__(home)
        self.parts = parts
        self.rows: list[Contract] = []
        self.groups: list[Contract] = []
        self.again: Contract  # a second one for the rows of the first hospital

    def open(self, terms: dict[str, Terms] | None = None) -> Weave:
        """Start everything; contracts of each kind with every hospital."""
        self.start("fn")
        self.start("r")
        self.join("r")
        for at in range(self.parts):
            key = f"h{at}"
            home = self.home / key
            (home / "data").mkdir(parents=True)
            labs, patients = part(at, self.parts)
            pq.write_table(labs, home / "data" / "labs.parquet")
            pq.write_table(patients, home / "data" / "patients.parquet")
            over = {"subject_code": subject_code(at), "subject_name": f"医院{at}"}
            config = settings(key, self.home, free_port(), self.root, workers=2, **over)
            self.nodes[key] = Served(config)
            self.join(key)
            made = self._products(key, terms or {"rows": ROWS, "groups": GROUPS})
            for kind, code in made.items():
                getattr(self, kind).append(self.signed(key, code))
                if at == 0 and kind == "rows":
                    self.again = self.signed(key, code)
        return self

    def signed(self, key: str, code: str) -> Contract:
        """A contract of the researcher with one hospital, in force at both ends."""
        space = self.nodes["r"].space
        contract = space.negotiate(space.offer(code))
        until("the provider's copy", lambda: self._held(key, contract.id))
        return contract

    def _held(self, key: str, contract_id: str) -> bool:
        found = [c for c in self.nodes[key].space.contracts() if c.id == contract_id]
        return bool(found) and found[0].state == "in_force"

    def _products(self, key: str, terms: dict[str, Terms]) -> dict[str, str]:
        space = self.nodes[key].space
        texts = {"description_zh": "化验", "description_en": "Labs"}
        tables = [
            {"name": name, "paths": [f"{name}.parquet"], "entity_key": "id"}
            for name in ("labs", "patients")
        ]
        resource = space.add_resource(
            {"title_zh": f"队列{key}", "title_en": f"Cohort {key}", **texts, "tables": tables}
        )
        space.submit_resource(resource)
        until("the resource's code", lambda: space.resource(resource.id).code)
        codes: dict[str, str] = {}
        for kind, of in terms.items():
            form: dict[str, Any] = {
                "title_zh": f"产品{key}{kind}",
                "title_en": f"Product {key} {kind}",
                **texts,
                "keywords": ["化验", "labs"],
                "resource_ids": [resource.id],
                "terms": of,
            }
            made = space.add_product(form)
            space.submit_product(made)
            codes[kind] = str(until("a code", lambda m=made: space.own_product(m.id).code))
            space.list_product(made)
            until("the listing", lambda m=made: space.own_product(m.id).state == "listed")
        return codes
