"""The node under attack: real nodes in this process, one product, a contract of each kind.

In: a folder. Out: `Target`: the nodes of `flow.world`, a contract that shows rows, one that shows
groups of ten only, one with a list of aggregates, and what a consumer holds who leaves his own
connector away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attack import canaries
from flow.world import PURPOSE, World, three, until
from yunhe.sdk import Contract, Terms

ROWS = Terms(
    purposes=(PURPOSE,),
    columns=canaries.SHOWN,
    row_filters=canaries.FILTERS,
    masks=canaries.MASKS,
    rows_max=5_000,
)
GROUPS = replace(ROWS, minimum_group=canaries.MINIMUM_GROUP)
LISTED = replace(GROUPS, aggregates="patients.Age=count,max,median,min,quantile,stddev/5")
TEXTS = {"description_zh": "受测数据", "description_en": "Data under attack"}


@dataclass
class Target:
    """What the attacks aim at; `contracts` by mode: rows, groups, listed."""

    world: World
    resource_id: str
    contracts: Mapping[str, Contract]
    logged: list[str] = field(default_factory=list)

    def agree(self, terms: Terms) -> Contract:
        """A contract of its own, on a product of its own."""
        return self.world.agree(product(self.world, self.resource_id, terms))


class _Ear(logging.Handler):
    """Keeps what the nodes log, to be searched for marks."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record.getMessage() + str(record.exc_info or ""))


def product(world: World, resource_id: str, terms: Terms) -> str:
    """A listed product over the tables; its code."""
    space = world["a"].space
    form: dict[str, Any] = {
        "title_zh": "受测产品",
        "title_en": "Product under attack",
        **TEXTS,
        "keywords": ["attack"],
        "resource_ids": [resource_id],
        "terms": terms,
    }
    made = space.add_product(form)
    space.submit_product(made)
    code = until("the product's code", lambda: space.own_product(made.id).code)
    space.list_product(made)
    until("the listing", lambda: space.own_product(made.id).state == "listed")
    return str(code)


def resource(world: World) -> str:
    """The resource with the canary tables."""
    canaries.write(world["a"].config.data_roots[0])
    space = world["a"].space
    tables = [
        {"name": name, "paths": [f"{name}.parquet"], **({"entity_key": key} if key else {})}
        for name, _, key in canaries.TABLES
    ]
    made = space.add_resource(
        {"title_zh": "受测资源", "title_en": "Resource under attack", **TEXTS, "tables": tables}
    )
    space.submit_resource(made)
    until("the resource's code", lambda: space.resource(made.id).code)
    return str(made.id)


_FLIGHT = {"flight_listen": "127.0.0.1:0"}


@contextmanager
def target(home: Path) -> Iterator[Target]:
    """Start three nodes, publish, sign; stop them at the end."""
    world = three(home, a={"workers": 2, **_FLIGHT}, r=_FLIGHT)
    heard: list[str] = []
    ear = _Ear(heard)
    logging.getLogger().addHandler(ear)
    try:
        found = resource(world)
        made = {
            mode: world.agree(product(world, found, terms))
            for mode, terms in (("rows", ROWS), ("groups", GROUPS), ("listed", LISTED))
        }
        yield Target(world, found, made, heard)
    finally:
        logging.getLogger().removeHandler(ear)
        world.close()
