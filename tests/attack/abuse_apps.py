"""Abuses of programs beside the data: of what they let out, of their signature, end and price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from apps.programs import AGGREGATE, METRICS, manifest
from attack.world import ROWS, Target
from flow.world import PURPOSE, until
from yunhe.kernel.errors import YunheError
from yunhe.sdk import Contract, YunheRefused

_INPUTS: Final = {"patients": {"id": "BIGINT", "sex": "VARCHAR"}}
_ROWS: Final = """
def run(inputs, parameters):
    rows = inputs["patients"]["id"].to_pylist()[:50]
    return {"sex": [f"row {each}" for each in rows], "n": rows}
"""
_COUNT: Final = "def run(inputs, parameters):\n    return {'n': inputs['patients'].num_rows}\n"


def _published(aim: Target, name: str, at: str = "r", code: str = _COUNT, **more: Any) -> Any:
    """A version of a program that counts rows, signed by a node."""
    made = {"inputs": _INPUTS, "output": {"numbers": ["n"]}, "parameters": {}, "libraries": []}
    return aim.world[at].space.apps.publish(manifest(name, **made | more), code)


def _agreed(aim: Target, reference: str, rule: str = METRICS) -> Contract:
    columns = ("patients.id", "patients.sex")
    terms = replace(ROWS, columns=columns, masks=(), applications=(reference,), release=rule)
    return aim.agree(replace(terms, per_use_fen=100))


def _deployed(aim: Target, name: str, rule: str = METRICS, **more: Any) -> tuple[Any, str, Any]:
    """A version, where it is deployed, and the contract that names it."""
    app = _published(aim, name, **more)
    contract = _agreed(aim, app["reference"], rule)
    return app, aim.world["r"].space.apps.deploy(app["digest"], contract)["id"], contract


def _code(act: Callable[[], Any]) -> str:
    try:
        act()
    except (YunheError, YunheRefused) as refused:
        return refused.code
    return "RUNS"


def _rows_as_groups(aim: Target) -> str:
    """A program gives rows out as if each were a group."""
    output = {"groups": {"sex": "patients.sex"}, "numbers": ["n"]}
    _, key, _ = _deployed(aim, "rows-out", AGGREGATE, code=_ROWS, output=output)
    apps = aim.world["r"].space.apps
    job = apps.run_app(key, PURPOSE)
    if job["state"] != "released":
        return str(job["code"])
    found = apps.result(job["id"]).to_pylist()
    return f"LEAK of {len(found)} rows" if found else "NOTHING"


def _unsigned(aim: Target) -> str:
    """A manifest under the signature of another one of the same author."""
    app, _, _ = _deployed(aim, "signed-1")  # so that the host has the program
    other = _published(aim, "signed-2")
    contract, apps = _agreed(aim, app["reference"]), aim.world["r"].space.apps
    body = {
        "deployment_id": "dep-unsigned",
        "contract_id": contract.id,
        "manifest": apps.version(app["digest"])["manifest"],
        "jws": apps.version(other["digest"])["jws"],
    }
    host, peer = aim.world["a"].node.apps.host, aim.world["r"].did
    return _code(lambda: host.asked(peer, body))


def _revoked(aim: Target) -> str:
    """A run asked of the host itself, after its author's word."""
    app, key, _ = _deployed(aim, "revoked")
    aim.world["r"].space.apps.step(app["digest"], "revoke", "a mistake in it")
    host, peer = aim.world["a"].node.apps, aim.world["r"].did
    until("the word", lambda: host.author.app(app["digest"]).state == "revoked")
    run = {"deployment_id": key, "use_id": "use-revoked", "purpose": PURPOSE, "parameters": {}}
    return _code(lambda: host.host.run(peer, run))


def _charged(aim: Target) -> str:
    """What a run comes to at the provider."""
    _, key, contract = _deployed(aim, "charged")
    aim.world["r"].space.apps.run_app(key, PURPOSE)
    told = [f"{u.state} {u.rows} row" for u in aim.world["a"].node.control.uses(contract.id)]
    fees = [u.fee_fen for u in aim.world["a"].space.uses(contract)]
    return f"{', '.join(told)} {fees} fen"


def _older(aim: Target) -> str:
    """The version before the one that the contract names."""
    first, second = (_published(aim, "older", version=str(n)) for n in (1, 2))
    contract = _agreed(aim, second["reference"])
    return _code(lambda: aim.world["r"].space.apps.deploy(first["digest"], contract))


def _unlisted(aim: Target) -> str:
    """A third party brings a program that its author does not offer."""
    app = _published(aim, "unlisted", at="fn")
    whole = aim.world["fn"].space.apps.version(app["digest"])
    contract = _agreed(aim, app["reference"])
    body = {"deployment_id": "dep-unlisted", "contract_id": contract.id}
    body |= {name: whole[name] for name in ("manifest", "jws")}
    host, peer = aim.world["a"].node.apps.host, aim.world["r"].did
    return _code(lambda: host.asked(peer, body))


def _said_in_all(aim: Target) -> str:
    """Run after run, each within the rule."""
    _, key, _ = _deployed(aim, "talker", f"{METRICS};bits=60")
    jobs = [aim.world["r"].space.apps.run_app(key, PURPOSE) for _ in range(3)]
    return " ".join(job["code"] or "RUNS" for job in jobs)


APPS: Final = {
    ("rows given out as groups", "NOTHING"): _rows_as_groups,
    ("under another manifest's signature", "APP_SIGNATURE_INVALID"): _unsigned,
    ("a revoked version", "APP_REVOKED"): _revoked,
    ("what a run costs", "posted 1 row [100] fen"): _charged,
    ("an older version than agreed", "APP_NOT_AGREED"): _older,
    ("what its author does not list", "APP_UNKNOWN"): _unlisted,
    ("more bits in all than agreed", "RUNS RUNS APP_BITS_SPENT"): _said_in_all,
}
