"""`Fabric`: one SQL over the products of several nodes, each part under its own contract.

In: SQL, aliases of our contracts, a purpose. Out: a plan before anything runs, or the answer as
Arrow bytes with the policies it inherits. Every contract is checked before the first is charged;
what fails afterwards is told with what was charged.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from time import monotonic

from yunhe.contracts import Contract
from yunhe.fabric import inherit, lineage, store, weigh
from yunhe.fabric.errors import (
    FabricAnswerUnknown,
    FabricIdTaken,
    FabricNameUnknown,
    FabricPurposeNotShared,
    FabricSqlRefused,
)
from yunhe.fabric.market import Market, engine_types, member, read_schema
from yunhe.fabric.model import Answer, Json, Member, Part, Plan
from yunhe.fabric.planner import make_plan
from yunhe.fabric.resolve import govern_local, resolve, wanted
from yunhe.fabric.running import Run
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.settings import NodeConfig

Aliases = Mapping[str, Sequence[str]]  # alias -> contract ids or product codes


class Fabric:
    """The fabric of one node; thread-safe. It reads nothing but through the node's own doors."""

    def __init__(self, db: Database, market: Market, did: str, memory_mb: int) -> None:
        """`did`: this node's; `memory_mb`: what the last step of a query may take."""
        self._db, self._market = db, market
        self._did, self._memory_mb = did, memory_mb
        self._running: dict[str, Run] = {}
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[float, Member]] = {}  # by contract; every part is bound anew

    def explain(self, sql: str, aliases: Aliases, purpose: str = "") -> Json:
        """The plan: who sees what, what it costs, what runs where and why. Nothing is charged.

        Every provider has bound its sub-query when this returns. Raises as `query`.
        """
        plan, _ = self._checked(sql, aliases, purpose)
        return plan.to_json(self._did)

    def query(self, sql: str, aliases: Aliases, purpose: str, key: str, principal: str) -> Run:
        """Run it up to the first bytes of the answer; the caller exhausts or closes the result.

        Raises before anything is charged: the gate's refusals (ours and the providers'),
        FABRIC_*, why a contract does not bind. Afterwards FABRIC_PART_FAILED and
        FABRIC_LOCAL_FAILED, which say what was charged.
        """
        plan, schemas = self._checked(sql, aliases, purpose)
        at = self._db.clock.now()
        made = Answer(key, sql, purpose, principal, "running", at, (), plan.policy)
        made = replace(made, lineage={name: list(of) for name, of in plan.lineage.items()})
        self._db.write(lambda tx: self._begin(tx, made))
        run = Run(plan, schemas, self._market, made, self._memory_mb, self._ended)
        with self._lock:
            self._running[key] = run
        run.start()
        return run

    def answer(self, key: str) -> Answer:
        """The record of a query, live while it runs; raises FABRIC_ANSWER_UNKNOWN."""
        found = self._db.read(lambda tx: store.find(tx, key))
        if found is None:
            raise FabricAnswerUnknown(fabric_id=key)
        with self._lock:
            run = self._running.get(key)
        return found if run is None else replace(found, parts=run.told())

    def answers(self, product: str = "", column: str = "") -> list[Answer]:
        """The newest records first; of those with a column ("table.column") of a product, or both.

        Who asks is told what was made of a source: what to ask anew where it was wrong.
        """
        most = limits.FABRIC_ANSWERS_SHOWN_MAX
        if not product and not column:
            return self._db.read(lambda tx: store.latest(tx, most))
        found = self._db.read(lambda tx: store.latest(tx, limits.FABRIC_ANSWERS_SEARCHED_MAX))
        return [each for each in found if lineage.stands_on(each.lineage, product, column)][:most]

    def recover(self) -> None:
        """Queries that a crash cut are failed; their parts are settled by `exchange`."""
        self._db.write(lambda tx: store.fail_running(tx))

    def _begin(self, tx: Tx, made: Answer) -> None:
        if store.find(tx, made.id) is not None:
            raise FabricIdTaken(fabric_id=made.id)
        store.add(tx, made)

    def _ended(self, made: Answer, state: str, parts: tuple[Json, ...], code: str) -> None:
        self._db.write(lambda tx: store.end(tx, made.id, state, parts, code))
        with self._lock:
            self._running.pop(made.id, None)

    def _checked(self, sql: str, aliases: Aliases, purpose: str) -> tuple[Plan, dict[str, bytes]]:
        """The plan, every part of it bound by its provider: part name -> Arrow schema."""
        members = self._members(sql, aliases)
        resolved = resolve(sql, members)
        planned = make_plan(resolved)
        used = {part.member.contract_id: part.member for part in planned.parts}
        shared = inherit.shared_purposes(list(used.values()))
        if purpose and purpose not in shared:
            raise FabricPurposeNotShared(purpose=purpose, shared=", ".join(shared) or "-")
        parts, schemas = self._bound(planned.parts)
        columns = {
            slot.name: engine_types(read_schema(schemas[slot.parts[0]])) for slot in planned.slots
        }
        final = planned.final.sql("duckdb", comments=False)
        governed = govern_local(final, columns)
        names = tuple(resolved.spelled.get(name.lower(), name) for name in governed.names)
        plan = Plan(
            sql=sql,
            parts=parts,
            slots=planned.slots,
            final=governed.sql,
            columns=names,
            lineage=lineage.columns(resolved),
            policy=inherit.inherited(list(used.values())),
            notes=planned.notes + _late(list(used.values()), self._db.clock.now()),
        )
        return plan, schemas

    def _bound(self, planned: Sequence[Part]) -> tuple[tuple[Part, ...], dict[str, bytes]]:
        """The parts as their providers bind them, weighed by it, and the schema of each."""

        def one(part: Part) -> tuple[Part, bytes]:
            started = monotonic()
            schema = self._market.describe(part.member.contract_id, part.sql)[""]
            took = monotonic() - started
            pace = paces.get(part.member.contract_id)
            return weigh.weighed(part, read_schema(schema), took, pace), schema

        earlier = self._db.read(lambda tx: store.latest(tx, limits.FABRIC_PACE_ANSWERS_MAX))
        paces = weigh.paces(part for answer in earlier for part in answer.parts)
        with ThreadPoolExecutor(limits.FABRIC_PARTS_MAX, "fabric-check") as pool:
            found = list(pool.map(one, planned))
        return tuple(part for part, _ in found), {part.name: of for part, of in found}

    def _contract(self, key: str, given: Mapping[str, object]) -> Contract:
        """As the market finds it; a name that is none of a contract is told beside those given."""
        try:
            return self._market.contract(key)
        except FabricNameUnknown as unknown:
            told = ", ".join(sorted(given)[: limits.SQL_NAMES_TOLD_MAX]) or "-"
            raise FabricNameUnknown(name=unknown.facts["name"], visible=told) from None

    def _members(self, sql: str, aliases: Aliases) -> dict[str, tuple[Member, ...]]:
        """The members behind each alias that the query names; each contract is asked once."""
        given = {alias.lower(): tuple(keys) for alias, keys in aliases.items()}
        named = {name.lower(): name for name in wanted(sql)}
        keys = {low: given.get(low) or (named[low],) for low in named}
        keys |= {} if named else given
        contracts = {
            alias: tuple(self._contract(key, given) for key in dict.fromkeys(of))
            for alias, of in keys.items()
        }
        every = {each.id: each for of in contracts.values() for each in of}
        if not 0 < len(every) <= limits.FABRIC_CONTRACTS_MAX:
            raise FabricSqlRefused(
                why=f"it names {len(every)} contracts, of 1 to {limits.FABRIC_CONTRACTS_MAX}",
                why_zh=f"涉及 {len(every)} 份合约，应为 1 至 {limits.FABRIC_CONTRACTS_MAX} 份",
            )
        with ThreadPoolExecutor(limits.FABRIC_PARTS_MAX, "fabric-shape") as pool:
            made = pool.map(self._member, every.values())
            by_id = dict(zip(every, made, strict=True))
        return {alias: tuple(by_id[each.id] for each in of) for alias, of in contracts.items()}

    def _member(self, contract: Contract) -> Member:
        """The contract as a member; its shapes are asked for again after a while."""
        with self._lock:
            at, found = self._shown.get(contract.id, (0.0, None))
        if found is None or monotonic() - at > limits.FABRIC_SHAPES_KEPT_S:
            found = member(self._market, contract)
            with self._lock:
                if len(self._shown) >= limits.FABRIC_SHAPES_KEPT_MAX:
                    self._shown.pop(next(iter(self._shown)))
                self._shown[contract.id] = (monotonic(), found)
        return replace(found, uses_left=self._market.uses_left(contract))


def of_node(db: Database, market: Market, config: NodeConfig) -> Fabric:
    """The fabric of a node with these settings."""
    return Fabric(db, market, config.did, config.worker_memory_mb)


def _late(members: Sequence[Member], now: datetime) -> tuple[tuple[str, str], ...]:
    """Whose data is older than it is said to be."""
    late = [each for each in members if each.known.late(now)]
    return tuple(
        (
            f"{each.product_code} was to be updated by now; its record is of {iso(fresh)}",
            f"{each.product_code} 已超过约定的更新周期；其登记时间为 {iso(fresh)}",
        )
        for each in late
        if (fresh := each.known.fresh) is not None
    )
