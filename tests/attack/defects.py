"""Seeded defects: what a careless change could break, one each, by patching the running code."""

from __future__ import annotations

import atexit
import dataclasses
import importlib
import json
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlglot import exp

from yunhe.contracts import lifecycle, transfers
from yunhe.control import judge
from yunhe.control import store as control_store
from yunhe.control.service import Control
from yunhe.dataplane import (
    aggregate,
    functions,
    gate,
    growth,
    kept,
    pool,
    process,
    service,
    total,
    views,
)
from yunhe.fabric import semijoin
from yunhe.identity import jwts, store_access
from yunhe.kernel import asgi, canonical, clock, limits
from yunhe.kernel.egress import Egress
from yunhe.protocols.arrow import wire
from yunhe.protocols.flight import callers
from yunhe.protocols.flight import kept as tickets
from yunhe.sources import local

# the package gives out the function of this name, not the module
_ROUTER: Final = importlib.import_module("yunhe.protocols.arrow.router")
_JSON_BYTES_MAX: Final = limits.JSON_BYTES_MAX
_EARLY: Final = datetime(2020, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Defect:
    """How to break one thing, and which classes of the corpus must notice."""

    apply: Callable[[], None]
    groups: tuple[str, ...] = ()
    abuses: tuple[str, ...] = ()
    face: str = "plane"


class _Everything(frozenset[Any]):
    """An allow-list that allows all."""

    def __contains__(self, _: object) -> bool:
        return True


class _Equal(str):
    """A text that equals every other."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False


def put(owner: Any, name: str, value: Any) -> Callable[[], None]:
    """Replace one attribute that must be there."""

    def apply() -> None:
        getattr(owner, name)
        setattr(owner, name, value)

    return apply


def all_of(*applies: Callable[[], None]) -> Callable[[], None]:
    def apply() -> None:
        for each in applies:
            each()

    return apply


def nothing(*_: Any, **__: Any) -> None:
    return None


def _worker(*changes: tuple[str, str]) -> Callable[[], None]:
    """Run workers from a changed copy of their file; a text that is not there is an error."""

    def apply() -> None:
        text = process._SCRIPT.read_text(encoding="utf-8")
        for old, new in changes:
            if old not in text:
                raise AssertionError(f"the worker has no {old!r} to break")
            text = text.replace(old, new)
        folder = tempfile.TemporaryDirectory(prefix="yunhe-broken-")
        atexit.register(folder.cleanup)
        script = Path(folder.name) / "worker.py"
        script.write_text(text, encoding="utf-8")
        process._SCRIPT = script

    return apply


# --- the policy subqueries ---------------------------------------------------------------------


def _masks_off() -> None:
    views._shown = lambda name, kind, mask: (views._column(name), kind)


def _mask_off(method: str) -> Callable[[], None]:
    def apply() -> None:
        shown = views._shown
        views._shown = lambda name, kind, mask: shown(
            name, kind, None if mask is not None and mask.method.startswith(method) else mask
        )

    return apply


def _hash_without_key() -> None:
    shown = views._shown

    def unkeyed(name: str, kind: str, mask: Any) -> tuple[str, str]:
        sql, shown_kind = shown(name, kind, mask)
        return sql.replace("GETVARIABLE('mask_key') || ", ""), shown_kind

    views._shown = unkeyed


def _filter_only_outside() -> None:
    """The row filter is forgotten where a table stands in a subquery or CTE."""
    bound = gate._bind

    def bind(tree: exp.Expr, seen: Any, **more: Any) -> exp.Expr:
        open_ = {name: dataclasses.replace(view, filter_sql=None) for name, view in seen.items()}
        for table in list(tree.find_all(exp.Table)):
            if table.name in open_ and table.find_ancestor(exp.Subquery, exp.CTE):
                alias = table.alias_or_name
                table.replace(open_[table.name].subquery(alias, *more.values()))
        return bound(tree, seen, **more)

    gate._bind = bind


def _every_column_shown() -> None:
    made = views._view

    def view(table: str, binding: Any, terms: Any) -> Any:
        every = tuple(f"{table}.{name}" for name in binding.columns)
        return made(table, binding, dataclasses.replace(terms, columns=every))

    views._view = view


def _terms(**over: Any) -> Callable[[], None]:
    """The gate reads other terms than were signed."""

    def apply() -> None:
        governed = kept.govern
        kept.govern = lambda sql, tables, terms: governed(
            sql, tables, dataclasses.replace(terms, **over)
        )

    return apply


def _kept_by_text_alone() -> None:
    answers: dict[str, Any] = {}

    def govern(self: Any, contract_id: str, sql: str, tables: Any, terms: Any) -> Any:
        if sql not in answers:
            answers[sql] = gate.govern(sql, tables, terms)
        return answers[sql]

    kept.KeptGate.govern = govern  # type: ignore[method-assign]


def _names_unchecked() -> None:
    """The bare name counts; what stands before it is dropped."""

    def check(tree: exp.Expr, seen: Any) -> None:
        for table in tree.find_all(exp.Table):
            table.set("db", None)
            table.set("catalog", None)

    gate._check_names = check


def _first_statement() -> None:
    """Only the first of several statements is looked at."""
    parse = gate._parse
    gate._parse = lambda sql: parse(sql.partition(";")[0])


def _users_text_runs() -> None:
    """What the user wrote runs, on views that hold the policy's tables."""
    governed = kept.govern
    kept.govern = lambda sql, tables, terms: dataclasses.replace(
        governed(sql, tables, terms), sql=sql.replace("FROM patients", "FROM data.patients")
    )


# --- control -----------------------------------------------------------------------------------


def _purpose_unchecked() -> None:
    context = judge._context

    def agreed(tx: Any, use: Any, row: Any, terms: Any) -> Any:
        return context(tx, dataclasses.replace(use, purpose=terms.purposes[0]), row, terms)

    judge._context = agreed


def clock_stands() -> None:
    """Whatever ends by time never ends."""
    started = datetime.now(UTC) + timedelta(seconds=1)
    now = clock.SystemClock.now
    clock.SystemClock.now = lambda self: min(now(self), started)  # type: ignore[method-assign]


def count_stands() -> None:
    control_store.reserve = lambda tx, contract_id, version: True


def _termination_ignored() -> None:
    found = lifecycle.store.contract

    def in_force(tx: Any, contract_id: str, now: Any, peer_did: str | None = None) -> Any:
        return found(tx, contract_id)

    lifecycle.in_force = in_force
    control_store.close_quota = nothing


def _late_termination() -> None:
    service.Watch.__call__ = nothing  # type: ignore[method-assign]


def _no_fee() -> None:
    Control._fee = lambda self, tx, contract_id, rows: (0, False)  # type: ignore[method-assign]


def _one_worker_for_all() -> None:
    def choose(self: Any, binding: Any) -> Any:
        return self._idle.pop()[1] if self._idle else None

    pool.Pool._choose = choose  # type: ignore[method-assign]


def job(**over: Any) -> Callable[[], None]:
    """The worker is told something else than was governed."""

    def apply() -> None:
        made = service.Job
        service.Job = lambda *args, **more: dataclasses.replace(made(*args, **more), **over)

    return apply


# --- protocols ---------------------------------------------------------------------------------


def _any_audience() -> None:
    text = jwts.text
    jwts.text = lambda claims, name: (
        _Equal(text(claims, name)) if name == "aud" else text(claims, name)
    )


def _foreign_data_token() -> None:
    read = transfers.read_token
    transfers.read_token = lambda tx, claims, peer_did, now: read(
        tx, claims, str(claims["sub"]), now
    )


def _old_data_token() -> None:
    read = transfers.read_token
    transfers.read_token = lambda tx, claims, peer_did, now: read(tx, claims, peer_did, _EARLY)


def _engine_text_passed_on() -> None:
    """The worker sends what the engine said, and the node passes it on."""
    caught = "RuntimeError, ValueError)"
    _worker(
        (
            f'{caught}:\n            code = "QUERY_FAILED"',
            f"{caught} as error:\n            code = str(error)",
        ),
        ("duckdb.IOException:", "KeyError:"),
    )()
    finish = process.Running._finish

    def told(self: Any, code: str) -> None:
        if code and not code.isupper():
            self._release(usable=True)
            raise type("Told", (process.QueryFailed,), {"en": _safe(code)})
        finish(self, code)

    process.Running._finish = told  # type: ignore[method-assign]


def _safe(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


def _loose_json(body: bytes, *_: Any) -> Any:
    return json.loads(body)


def _bodies_unbounded() -> None:
    """Neither what is read nor what is parsed is measured."""
    limits.JSON_BYTES_MAX = 1 << 40  # type: ignore[misc]
    given = canonical.loads_strict.__defaults__ or ()
    canonical.loads_strict.__defaults__ = tuple(
        1 << 40 if each == _JSON_BYTES_MAX else each for each in given
    )


def _patched(owners: Iterable[Any], name: str, value: Any) -> Callable[[], None]:
    return all_of(*(put(owner, name, value) for owner in owners))


def _signatures_unread() -> None:
    jwts.Draft.signed_by = lambda self, jwk: True  # type: ignore[method-assign]


def _refusals_unwritten() -> None:
    service.DataPlane._record_refusal = nothing  # type: ignore[method-assign]


def _nonces_unspent() -> None:
    store_access.spend_nonce = lambda *_: True


def _tickets_stay() -> None:
    tickets.Kept.take = lambda self, owner, handle, fits=None: self.get(owner, handle)


def _tickets_of_anybody() -> None:
    put, take, get = tickets.Kept.put, tickets.Kept.take, tickets.Kept.get
    tickets.Kept.put = lambda self, _owner, value: put(self, "any", value)
    tickets.Kept.take = lambda self, _owner, handle, *fits: take(self, "any", handle, *fits)
    tickets.Kept.get = lambda self, _owner, handle: get(self, "any", handle)


def _tickets_fit_all() -> None:
    take = tickets.Kept.take
    tickets.Kept.take = lambda self, owner, handle, *_fits: take(self, owner, handle)


def _any_connection() -> None:
    known = callers.Callers._known
    callers.Callers._known = lambda self, bearer, _source: known(self, bearer, "any")


def _first_header() -> None:
    one = callers._one
    callers._one = lambda headers, name: one({name: list(headers.get(name, ()))[:1]}, name)


def _sides_unread() -> None:
    """Every join is taken for an inner one."""
    links = semijoin.links

    def inner(select: exp.Select) -> Any:
        made = select.copy()
        for join in made.args.get("joins") or []:
            join.set("side", None)
        return links(made)

    semijoin.links = inner


DEFECTS: Final[dict[str, Defect]] = {
    # the policy subqueries
    "masks off": Defect(_masks_off, ("masks", "whole_row")),
    "mask off: hash": Defect(_mask_off("hash"), ("masks",)),
    "mask off: left": Defect(_mask_off("left"), ("masks",)),
    "mask off: year": Defect(_mask_off("year"), ("masks",)),
    "mask off: round": Defect(_mask_off("round"), ("masks",)),
    "hash without a key": Defect(_hash_without_key, (), ("terms",)),
    "masks off over http": Defect(_masks_off, ("masks",), face="http"),
    "masks off over the relay": Defect(_masks_off, ("masks",), face="relay"),
    "masks off over flight": Defect(_masks_off, ("masks",), face="flight"),
    "row filter off": Defect(_terms(row_filters=()), ("columns",)),
    "row filter off in subqueries": Defect(_filter_only_outside, ("columns", "shadowing")),
    "every column shown": Defect(_every_column_shown, ("columns",)),
    "answers kept by text alone": Defect(_kept_by_text_alone, (), ("terms",)),
    # the language
    "functions: allow-list open": Defect(put(functions, "ALLOWED", _Everything()), ("metadata",)),
    "nodes unchecked": Defect(put(gate, "_check_nodes", nothing), ("files", "table_functions")),
    "special rules unchecked": Defect(put(gate, "_check_special", nothing), ("escapes",)),
    "names unchecked": Defect(_names_unchecked, ("qualified",)),
    "first statement only": Defect(_first_statement, ("statements",)),
    "user's text runs": Defect(_users_text_runs, ("columns", "masks")),
    "growth unchecked": Defect(put(growth, "check", nothing), ("size",)),
    "depth unchecked": Defect(put(limits, "SQL_BRACKETS_DEPTH_MAX", 10**6), ("size",)),
    "length unchecked": Defect(put(limits, "SQL_BYTES_MAX", 10**9), ("size",)),
    "tables unbounded": Defect(put(limits, "SQL_TABLES_MAX", 10**6), ("size",)),
    # errors as a channel
    "barrier removed: nothing made total": Defect(
        _patched((gate, aggregate), "make_total", lambda tree: tree), ("errors",)
    ),
    "barrier removed: operators": Defect(put(total, "PARTIAL", frozenset()), ("errors",)),
    "barrier removed: comparisons": Defect(put(total, "COMPARISONS", frozenset()), ("errors",)),
    "literals unchecked": Defect(put(gate, "check_literals", nothing), ("errors",)),
    "engine's text passed on": Defect(_engine_text_passed_on, (), ("engine",)),
    # groups only
    "minimum group off": Defect(_terms(minimum_group=0), ("aggregate_shape", "probes")),
    "k of one": Defect(job(k=1), ("probes",)),
    "aggregates: allow-list open": Defect(
        all_of(
            put(aggregate, "USUAL", _Everything()),
            put(aggregate._Split, "_check_agreed", nothing),
            put(functions, "ALLOWED", _Everything()),
        ),
        ("aggregate_functions",),
    ),
    "shapes unchecked": Defect(put(aggregate, "check_shape", nothing), ("aggregate_shape",)),
    "entity key free to filter": Defect(
        put(aggregate._Split, "_refuse_entity", nothing), ("probes",)
    ),
    "joins unchecked": Defect(put(aggregate._Split, "_check_joins", nothing), ("joins",)),
    "values picked by a filter": Defect(
        put(aggregate, "check_ranges", nothing), ("values_picked",)
    ),
    "audit told nothing": Defect(put(service, "for_audit", nothing), (), ("inference",)),
    # the contract
    "purpose unchecked": Defect(_purpose_unchecked, (), ("terms",)),
    "expiry ignored": Defect(clock_stands, (), ("terms",)),
    "uses not decremented": Defect(count_stands, (), ("terms",)),
    "termination ignored": Defect(_termination_ignored, (), ("terms",)),
    "streams outlive the contract": Defect(_late_termination, (), ("terms",)),
    "questions free for ever": Defect(put(limits, "ANSWERS_GIVEN_BACK_MAX", 10**9), (), ("terms",)),
    "frequency uncounted": Defect(put(control_store, "uses_since", lambda *_: 0), (), ("terms",)),
    "nothing owed": Defect(_no_fee, (), ("terms",)),
    "rows unbounded": Defect(job(rows_max=None), (), ("terms",)),
    "refusals leave no evidence": Defect(_refusals_unwritten, (), ("terms",)),
    # the fabric
    "keys of a join to anybody": Defect(put(semijoin, "may_see", lambda *_: True), (), ("fabric",)),
    "keys bind what a join keeps": Defect(_sides_unread, (), ("fabric",)),
    # the worker
    "external access on": Defect(
        _worker(('self.con.execute("SET enable_external_access = false")', "pass")), (), ("engine",)
    ),
    "settings unlocked": Defect(
        _worker(('self.con.execute("SET lock_configuration = true")', "pass")), (), ("engine",)
    ),
    "one worker for all contracts": Defect(_one_worker_for_all, (), ("engine",)),
    # the doors
    "ticket reusable": Defect(_tickets_stay, (), ("flight_tickets",)),
    "ticket of anybody": Defect(_tickets_of_anybody, (), ("flight_tickets",)),
    "ticket under any contract": Defect(_tickets_fit_all, (), ("flight_tickets",)),
    "peer token on any connection": Defect(_any_connection, (), ("flight_tickets",)),
    "second header ignored": Defect(_first_header, (), ("flight_messages",)),
    "peer token reusable": Defect(_nonces_unspent, (), ("http_tokens",)),
    "signatures unread": Defect(_signatures_unread, (), ("http_tokens",)),
    "any audience": Defect(_any_audience, (), ("http_tokens",)),
    "data token of anybody": Defect(_foreign_data_token, (), ("http_tokens",)),
    "data token for ever": Defect(_old_data_token, (), ("http_tokens",)),
    "membership unchecked": Defect(put(_ROUTER, "require_member", nothing), (), ("http_tokens",)),
    "bodies unbounded": Defect(_bodies_unbounded, (), ("http_framing",)),
    "loose JSON": Defect(_patched((asgi, wire), "loads_strict", _loose_json), (), ("http_bodies",)),
    "links followed out of the roots": Defect(
        put(local.Roots, "_inside", lambda self, real: True), (), ("paths",)
    ),
    "every address allowed": Defect(
        put(Egress, "allows", lambda self, address: True), (), ("addresses",)
    ),
}
