"""`/apps`: applications beside the data: versions, deployments, runs, on the author's side and
the host's.

A version's `digest`, or the reference that contracts name, is its key in every path.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from yunhe import apps, catalog
from yunhe.api.deps import AnyCaller, Parts, Provider, Trader, User, face
from yunhe.api.forms import Form, when
from yunhe.kernel import limits
from yunhe.kernel.errors import Invalid
from yunhe.kernel.tongues import of_code

router = face("apps", "/apps")

ARROW = "application/vnd.apache.arrow.stream"
_CODE_CHARS_MAX = limits.APP_MODEL_BYTES_MAX * 4 // 3 + 4


class AppForm(Form):
    """A version: what its author says of it, and the program (text, or base64 of a model)."""

    manifest: dict[str, Any]
    code: Annotated[str, Field(min_length=1, max_length=limits.APP_CODE_BYTES_MAX)] = ""
    model: Annotated[str, Field(max_length=_CODE_CHARS_MAX)] = ""

    def program(self) -> bytes:
        """The program's bytes; raises Invalid."""
        if bool(self.code) == bool(self.model):
            raise Invalid(why="exactly one of code and model is needed")
        if self.code:
            return self.code.encode()
        try:
            return base64.b64decode(self.model, validate=True)
        except (ValueError, binascii.Error) as error:
            raise Invalid(why="model is no base64") from error


class StepForm(Form):
    """What becomes of a version, everywhere."""

    step: Literal["publish", "suspend", "resume", "withdraw", "revoke"]
    reason: Annotated[str, Field(max_length=500)] = ""


class ListingForm(Form):
    """Words that a version is found by, beside its name and titles."""

    keywords: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=32)]],
        Field(max_length=limits.CATALOG_KEYWORDS_MAX, default_factory=list),
    ]


class DeployForm(Form):
    """Under which contract."""

    contract_id: Annotated[str, Field(min_length=1, max_length=255)]


class DecisionForm(Form):
    """What a host says of a deployment."""

    decision: Literal["allow", "refuse", "suspend", "resume", "revoke"]
    reason: Annotated[str, Field(max_length=500)] = ""


class RunForm(Form):
    """One run, which is one use."""

    purpose: Annotated[str, Field(min_length=1, max_length=64)]
    parameters: Annotated[
        dict[str, Any], Field(max_length=limits.APP_PARAMETERS_MAX, default_factory=dict)
    ]
    use_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{8,80}$")] | None = None


class ReleaseForm(Form):
    """Whether a held result leaves."""

    release: Annotated[bool, Field(strict=True)]
    reason: Annotated[str, Field(max_length=500)] = ""


@router.post("", status_code=201)
def draft(form: AppForm, parts: Parts, _who: Trader) -> dict[str, Any]:
    """A new version, as a draft: nobody sees it until it is published."""
    return _app(parts.apps.author.draft(form.manifest, form.program()))


@router.get("")
def listed(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The versions this node knows: its own, and those of others that came to be deployed here."""
    return {"items": [_app(each) for each in parts.apps.author.apps()]}


@router.get("/catalogue")
def found(
    parts: Parts,
    _who: AnyCaller,
    q: Annotated[str, Query(max_length=limits.SEARCH_TEXT_CHARS_MAX)] = "",
    digest: Annotated[str, Query(pattern=r"^[0-9a-f]{0,64}$")] = "",
    limit: Annotated[int, Query(ge=1, le=limits.SEARCH_LIMIT_MAX)] = 20,
    offset: Annotated[int, Query(ge=0, le=limits.SEARCH_OFFSET_MAX)] = 0,
) -> dict[str, Any]:
    """Listed versions of all nodes by Chinese or English words; `digest`: how theirs begin."""
    total, items = parts.federation.find_programs(q, digest, limit, offset)
    return {"items": [_program(each) for each in items], "total": total}


@router.get("/deployments")
def deployments(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """Where versions are deployed: ours at hosts, and those of others here."""
    return {"items": [_deployment(each) for each in parts.apps.author.deployments()]}


@router.post("/deployments/{key}/run", status_code=202)
def run(key: str, form: RunForm, parts: Parts, who: User) -> dict[str, Any]:
    """Have a deployed version run at its host; the same `use_id` is the same run."""
    use = form.use_id or apps.new_use()
    return _job(parts.apps.runs.run(key, form.purpose, form.parameters, use, who.name))


@router.post("/deployments/{key}/decision")
def decide(key: str, form: DecisionForm, parts: Parts, who: Provider) -> dict[str, Any]:
    """The host's consent, and its end; the author is told."""
    return _deployment(parts.apps.host.decide(key, form.decision, who.name, form.reason))


@router.get("/jobs")
def jobs(
    parts: Parts, _who: AnyCaller, contract: Annotated[str, Query(max_length=255)] = ""
) -> dict[str, Any]:
    """Runs, ours at hosts and those of others here, latest first."""
    return {"items": [_job(each) for each in parts.apps.runs.jobs(contract)]}


@router.get("/jobs/{key}")
def job(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One run; what its host released has then come."""
    return _job(parts.apps.runs.job(key))


@router.get(
    "/jobs/{key}/result", response_class=Response, responses={200: {"content": {ARROW: {}}}}
)
def result(key: str, parts: Parts, _who: User) -> Response:
    """What a run gave: an Arrow stream."""
    return _stream(parts.apps.runs.result(key))


@router.get("/jobs/{key}/held", response_class=Response, responses={200: {"content": {ARROW: {}}}})
def held(key: str, parts: Parts, _who: Provider) -> Response:
    """The output of a run here, for the person who lets it go or not: an Arrow stream."""
    return _stream(parts.apps.host.held_output(key))


@router.get("/jobs/{key}/log")
def log(key: str, parts: Parts, _who: Provider) -> dict[str, Any]:
    """What the program of a run here printed; its author never sees it."""
    return {"id": key, "log": parts.apps.host.log(key)}


@router.post("/jobs/{key}/release")
def release(key: str, form: ReleaseForm, parts: Parts, who: Provider) -> dict[str, Any]:
    """Let a held result go, or not; the author is told."""
    return _job(parts.apps.host.release(key, who.name, form.reason, let_go=form.release))


@router.get("/{key}")
def one(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One version with its manifest and signature."""
    found = parts.apps.author.app(key)
    whole = {"manifest": dict(found.manifest.body), "jws": found.jws}
    return _app(found) | whole | _known_of(parts.apps.shelf, found)


@router.post("/{key}/listing", status_code=201)
def submit(key: str, form: ListingForm, parts: Parts, _who: Trader) -> dict[str, Any]:
    """Have the functional node list a published version of ours; again: how it stands."""
    parts.apps.shelf.submit(key, form.keywords)
    found = parts.apps.author.app(key)
    return _app(found) | _known_of(parts.apps.shelf, found)


@router.post("/{key}/step")
def step(key: str, form: StepForm, parts: Parts, _who: Trader) -> dict[str, Any]:
    """Publish, suspend, resume, withdraw or revoke a version of ours; its hosts are told."""
    return _app(parts.apps.author.step(key, form.step, form.reason))


@router.post("/{key}/deployments", status_code=201)
def deploy(key: str, form: DeployForm, parts: Parts, _who: Trader) -> dict[str, Any]:
    """Deploy a version at the provider of a contract, ours or one that another author has listed;
    again: how it stands."""
    return _deployment(parts.apps.author.deploy(key, form.contract_id))


def _stream(path: Path) -> Response:
    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(1 << 18):
                yield chunk

    return StreamingResponse(chunks(), media_type=ARROW)


def _app(each: apps.App) -> dict[str, Any]:
    manifest = each.manifest
    return {
        "digest": each.digest,
        "reference": manifest.reference,
        "name": manifest.name,
        "version": manifest.version,
        "kind": str(manifest.kind),
        "author": manifest.author,
        "title_zh": manifest.title_zh,
        "title_en": manifest.title_en,
        "ours": each.ours,
        "state": str(each.state),
        "why": each.why,
        "changed_at": when(each.changed_at),
        "entry_id": each.entry_id or None,
    }


def _known_of(shelf: apps.Shelf, found: apps.App) -> dict[str, Any]:
    """Of a version of ours, how it stands in the catalogue and who took it from there."""
    listing = shelf.listing(found.digest) if found.ours else None
    said: dict[str, Any] | None = None
    if listing is not None:
        texts = {"reasons": list(listing.reasons), "keywords": list(listing.keywords)}
        said = {"state": str(listing.state), **texts}
    holders = shelf.holders(found.digest) if found.ours else []
    taken = [{"peer": each.peer_did, "at": when(each.at)} for each in holders]
    return {"listing": said, "taken_by": taken}


def _program(each: catalog.Program) -> dict[str, Any]:
    names = ("digest", "name", "version", "kind", "author_name", "connector_code")
    return {
        **{name: getattr(each, name) for name in names},
        "reference": f"{each.name}@{each.version}#sha256:{each.digest}",
        "title_zh": each.title.zh,
        "title_en": each.title.en,
        "keywords": list(each.keywords),
        "author": each.author_did,
        "listed_at": when(each.listed_at),
    }


def _deployment(each: apps.Deployment) -> dict[str, Any]:
    return {
        "id": each.id,
        "side": str(each.side),
        "digest": each.digest,
        "contract_id": each.contract_id,
        "peer": each.peer_did,
        "state": str(each.state),
        "by": each.by,
        "why": each.why,
        "changed_at": when(each.changed_at),
        "entry_id": each.entry_id or None,
    }


def _job(each: apps.Job) -> dict[str, Any]:
    shown = ("id", "deployment_id", "digest", "contract_id", "purpose", "principal", "parameters")
    # Of a run that failed its host tells a code and no words: those are our own.
    problem = of_code(each.code) if each.code else None
    figures = ("rule", "code", "withheld", "rows", "bytes", "output_digest", "bits")
    return {
        **{name: getattr(each, name) for name in shown + figures},
        "why": each.why or (problem or {}).get("detail", ""),
        "problem": problem,
        "side": str(each.side),
        "peer": each.peer_did,
        "state": str(each.state),
        "wall_s": each.wall_s,
        # Of the host alone: the author's node never learns them.
        "cpu_ms": each.cpu_ms,
        "memory_bytes": each.memory_bytes,
        "created_at": when(each.created_at),
        "ended_at": when(each.ended_at),
        "entry_id": each.entry_id or None,
    }
