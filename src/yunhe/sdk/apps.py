"""The verbs of applications beside the data, and flows over several hosts at once.

In: a program and what it declares, contracts, parameters. Out: calls for `Space`, plain objects,
results as Arrow tables. One program a call; `deploy_all` and `run_all` go through many contracts.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from yunhe.sdk.call import PAUSE_S, Call, Flow, Pause, given, id_of, plain, plain_list, segment
from yunhe.sdk.errors import YunheRefused, unreachable
from yunhe.sdk.model import Contract
from yunhe.sdk.stream import optional
from yunhe.sdk.target import API, Target, refusal
from yunhe.sdk.verb import Awaiting, Blocking, Verb

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")

Progress = Callable[[dict[str, Any]], None]

OVER = ("released", "refused", "failed", "held")


def publish(manifest: Mapping[str, Any], code: str | bytes | Path) -> Flow[dict[str, Any]]:
    """Draft and sign a version: `manifest` as in docs/apps.md, `code` a text, bytes or a file.

    Answers the version with its `reference`, which contracts name.
    """
    data = code.read_bytes() if isinstance(code, Path) else code
    if isinstance(data, bytes) and manifest.get("kind") != "onnx":
        data = data.decode()
    body: dict[str, Any] = {"manifest": dict(manifest)}
    if isinstance(data, str):
        body["code"] = data
    else:
        body["model"] = base64.b64encode(data).decode()
    made = yield Call("POST", "/apps", plain, body=body, wait_s=60.0)
    if made["state"] != "draft":
        return dict(made)
    published: dict[str, Any] = yield step(made["digest"], "publish")
    return published


def step(app: str, step: str, reason: str = "") -> Call[dict[str, Any]]:
    """publish, suspend, resume, withdraw or revoke a version of ours; every host is told."""
    body = {"step": step, **given(reason=reason)}
    return Call("POST", f"/apps/{segment(app)}/step", plain, body=body)


def versions() -> Call[list[dict[str, Any]]]:
    """The versions that this node knows, latest first."""
    return Call("GET", "/apps", plain_list)


def version(app: str) -> Call[dict[str, Any]]:
    """One version with its manifest and signature."""
    return Call("GET", f"/apps/{segment(app)}", plain)


def submit(app: str, keywords: Sequence[str] = ()) -> Call[dict[str, Any]]:
    """Have the functional node list a published version of ours, where others find it; again: how
    it stands (`listing`), and who took it (`taken_by`)."""
    body = {"keywords": list(keywords)}
    return Call("POST", f"/apps/{segment(app)}/listing", plain, body=body)


def search(text: str = "", limit: int = 20, digest: str = "") -> Call[list[dict[str, Any]]]:
    """Listed versions of all nodes by words; `digest`: how theirs begin."""
    params = given(q=text, digest=digest, limit=limit)
    return Call("GET", "/apps/catalogue", plain_list, params=params)


def deploy(app: str, contract: Contract | str) -> Call[dict[str, Any]]:
    """Deploy a version at the provider of a contract: ours, or one that another author has listed
    (`search`); again: how it stands."""
    body = {"contract_id": id_of(contract)}
    return Call("POST", f"/apps/{segment(app)}/deployments", plain, body=body, wait_s=120.0)


def deployments() -> Call[list[dict[str, Any]]]:
    """Where versions are deployed, ours at hosts and others' here."""
    return Call("GET", "/apps/deployments", plain_list)


def decide(deployment: str, decision: str, reason: str = "") -> Call[dict[str, Any]]:
    """As host: allow, refuse, suspend, resume or revoke a deployment (provider)."""
    body = {"decision": decision, **given(reason=reason)}
    return Call("POST", f"/apps/deployments/{segment(deployment)}/decision", plain, body=body)


def start(
    deployment: str,
    purpose: str,
    parameters: Mapping[str, Any] | None = None,
    use_id: str | None = None,
) -> Call[dict[str, Any]]:
    """Have a deployed version run at its host: one use; see `job` for its end."""
    body = {"purpose": purpose, "parameters": dict(parameters or {}), **given(use_id=use_id)}
    return Call("POST", f"/apps/deployments/{segment(deployment)}/run", plain, body=body)


def run(
    deployment: str,
    purpose: str,
    parameters: Mapping[str, Any] | None = None,
    use_id: str | None = None,
) -> Flow[dict[str, Any]]:
    """As `start`, and wait until it is released, held, refused or failed."""
    found: dict[str, Any] = yield start(deployment, purpose, parameters, use_id)
    while found["state"] not in OVER:
        yield Pause(PAUSE_S)
        found = yield job(found["id"])
    return found


def job(job: str) -> Call[dict[str, Any]]:
    """One run; its `state` is queued, running, held, released, refused or failed."""
    return Call("GET", f"/apps/jobs/{segment(job)}", plain, wait_s=60.0)


def jobs(contract: Contract | str = "") -> Call[list[dict[str, Any]]]:
    """Runs, latest first, under one contract where it is said."""
    return Call("GET", "/apps/jobs", plain_list, params=given(contract=id_of(contract)))


def log(job: str) -> Call[dict[str, Any]]:
    """As host: what the program of a run printed (provider)."""
    return Call("GET", f"/apps/jobs/{segment(job)}/log", plain)


def release(job: str, reason: str = "", *, let_go: bool = True) -> Call[dict[str, Any]]:
    """As host: let a held result go, or not (provider)."""
    body = {"release": let_go, **given(reason=reason)}
    return Call("POST", f"/apps/jobs/{segment(job)}/release", plain, body=body)


def deploy_all(
    app: str, contracts: Sequence[Contract | str], on_progress: Progress | None = None
) -> Flow[list[dict[str, Any]]]:
    """Deploy a version under several contracts; a refusal stands in its row (`code`, and its
    words as `problem`), and the rest go on.
    """
    rows = []
    for contract in contracts:
        key = id_of(contract)
        row = {"contract_id": key, "id": "", "peer": "", "state": "refused", "code": ""}
        try:
            made = yield deploy(app, key)
            row |= {name: made[name] for name in ("id", "peer", "state")}
        except YunheRefused as refused:
            row |= _told(refused)
        rows.append(row)
        if on_progress is not None:
            on_progress(row)
    return rows


def run_all(
    deployments: Sequence[str],
    purpose: str,
    parameters: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> Flow[list[dict[str, Any]]]:
    """Run at several hosts at once and wait for all; a refusal stands in its row (`code`, and
    its words as `problem`).
    """
    rows: dict[str, dict[str, Any]] = {}
    for key in deployments:
        try:
            rows[key] = yield start(key, purpose, parameters)
        except YunheRefused as refused:
            gone = {"id": "", "deployment_id": key, "state": "refused"}
            rows[key] = gone | _told(refused)
    told: set[str] = set()
    while True:
        for key, row in rows.items():
            if row["state"] not in OVER:
                rows[key] = row = yield job(row["id"])
            if row["state"] in OVER and key not in told:
                told.add(key)
                if on_progress is not None:
                    on_progress(row)
        if len(told) == len(rows):
            return list(rows.values())
        yield Pause(PAUSE_S)


def _told(refused: YunheRefused) -> dict[str, Any]:
    """The members of a refused row: the code, and the node's sentence and remedy beside it."""
    return {"code": refused.code, "problem": refused.problem()}


class _Verbs:
    """`space.apps`: see the functions of this module for parameters, answers and errors."""

    publish = Verb(publish)
    step = Verb(step)
    versions = Verb(versions)
    version = Verb(version)
    submit = Verb(submit)
    search = Verb(search)
    deploy = Verb(deploy)
    deploy_all = Verb(deploy_all)
    deployments = Verb(deployments)
    decide = Verb(decide)
    start = Verb(start)
    run_app = Verb(run)
    run_all = Verb(run_all)
    job = Verb(job)
    jobs = Verb(jobs)
    log = Verb(log)
    release = Verb(release)


class Apps(_Verbs, Blocking):
    """Applications, of a client that blocks."""

    def __init__(self, run: Callable[[Any], Any], where: Target, http: httpx.Client) -> None:
        self._run, self._where, self._http = run, where, http

    def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb."""
        done: T = self._run(work)
        return done

    def result(self, job: str, *, held: bool = False) -> pyarrow.Table:
        """What a run gave; `held`: as host, what waits for your word.

        Raises YunheRefused, NodeUnreachable.
        """
        ipc = optional("pyarrow.ipc")
        part = "held" if held else "result"
        url = f"{self._where.base}{API}/apps/jobs/{segment(job)}/{part}"
        try:
            response = self._http.get(url, timeout=120.0)
        except httpx.HTTPError as error:
            raise unreachable(self._where.base, error) from error
        if response.status_code != 200:
            raise refusal(self._where, response.status_code, response.content)
        return ipc.open_stream(response.content).read_all()


class AsyncApps(_Verbs, Awaiting):
    """Applications, of a client to await."""

    def __init__(
        self,
        run: Callable[[Any], Awaitable[Any]],
        blocking: Callable[[Callable[[Any], Any]], Awaitable[Any]],
    ) -> None:
        """`blocking`: a verb of a client that blocks, carried out in a thread."""
        self._run, self._blocking = run, blocking

    async def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb."""
        done: T = await self._run(work)
        return done

    async def result(self, job: str, *, held: bool = False) -> pyarrow.Table:
        """As `Apps.result`."""
        return await self._blocking(lambda space: space.apps.result(job, held=held))
