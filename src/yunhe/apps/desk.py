"""What both sides of an application share: the node's services, notes that are signed, files.

In: the slices below and what only the composition root can join. Out: `Desk`, and the small
things that the author's side and the host's do alike.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from yunhe.apps.errors import AppAnswerInvalid, AppSignatureInvalid, RefusedByHost
from yunhe.apps.manifest import Manifest
from yunhe.apps.model import Deployment, Job
from yunhe.catalog import Resource, ResourceForm
from yunhe.contracts import Contracts
from yunhe.control import Consumed, Control
from yunhe.dataplane import FeedingPlane, TableBinding
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.kernel.errors import Invalid, YunheError
from yunhe.kernel.keys import verify_jws_detached
from yunhe.kernel.outbox import enqueue
from yunhe.kernel.settings import NodeConfig

Body = dict[str, Any]

DEPLOY: Final = "DeployApp"
TAKE: Final = "TakeApp"
PIECE: Final = "GetApp"
RUN: Final = "RunApp"
JOB: Final = "GetAppJob"
RESULT: Final = "GetAppResult"
REVOKE: Final = "RevokeApp"
REPORT: Final = "ReportApp"


class Recorder(Protocol):
    """The part of the evidence log asked here."""

    def record(self, tx: Tx, kind: str, body: Body) -> Any: ...


class Books(Protocol):
    """What the exchange keeps of a use at the node that asks for it."""

    def begin_use(self, use_id: str, contract_id: str, purpose: str) -> None: ...
    def forget_use(self, use_id: str) -> None: ...


@dataclass(frozen=True)
class Keys:
    """How this node signs and whom it believes: `sign(payload)`, `signer_of(did, jws)`."""

    did: str
    sign: Callable[[bytes], str]
    signer_of: Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Desk:
    """The services an application's verbs need; one a node."""

    db: Database
    evidence: Recorder
    contracts: Contracts
    control: Control
    plane: FeedingPlane
    tables: Callable[[Any], Mapping[str, TableBinding]]
    keys: Keys
    books: Books
    # sign for what came
    receipt: Callable[[Consumed], None]
    # (peer, message, body) -> the peer's signed answer
    call: Callable[[str, str, Body], Body]
    # (form, who) -> a draft resource of this node
    add_resource: Callable[[ResourceForm, str], Resource]
    config: NodeConfig
    # digest of a listed version -> its author; raises EntryNotFound
    author_of: Callable[[str], str]

    @property
    def folder(self) -> Path:
        """Where programs, runs and results lie."""
        return self.config.data_dir / "apps"

    def origin(self) -> Body:
        """Who this node is, as members of a catalogue record."""
        return {
            "provider_did": self.config.did,
            "provider_subject": self.config.subject_code,
            "provider_name": self.config.subject_name,
            "connector_address": self.config.address,
        }

    def code(self, manifest: Manifest) -> Path:
        """Where the program's bytes lie."""
        return self.folder / "code" / manifest.code_sha256

    def job(self, job_id: str) -> Path:
        """The folder of a run at its host."""
        return self.folder / "jobs" / hashlib.sha256(job_id.encode()).hexdigest()[:32]

    def jobs(self) -> list[Path]:
        """The folders of all runs at this host that have one."""
        return [*(self.folder / "jobs").glob("*")]

    def result(self, job_id: str) -> Path:
        """Where the author's node keeps what a run gave."""
        name = hashlib.sha256(job_id.encode()).hexdigest()[:32]
        return self.folder / "results" / f"{name}.arrow"

    def ask(self, peer_did: str, name: str, body: Body) -> Body:
        """Another node's answer; raises its refusal as RefusedByHost."""
        answer = self.call(peer_did, name, body)
        if isinstance(refused := answer.get("refused"), dict):
            raise RefusedByHost(refused)
        return answer

    def check_signature(self, manifest: Manifest, jws: str) -> None:
        """Raise AppSignatureInvalid unless the author it names signed it."""
        try:
            jwk = self.keys.signer_of(manifest.author, jws)
            verify_jws_detached(dict(jwk), jws, manifest.signed)
        except YunheError as error:
            raise AppSignatureInvalid(str(error)) from error


def keep(path: Path, data: bytes) -> None:
    """Write a file whole and durably, or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex[:8]}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        file.write(data)
        settle_file(file)
    part.replace(path)
    settle_folder(path.parent)


def piece(path: Path, body: Body) -> Body:
    """Some of a file, from `offset` on, for a message."""
    offset = body.get("offset")
    if type(offset) is not int or not 0 <= offset <= limits.APP_OUTPUT_BYTES_MAX:
        raise Invalid(why="offset is not a whole number within the file")
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(limits.APP_PIECE_BYTES)
    return {"data": base64.b64encode(data).decode(), "total": path.stat().st_size}


def pulled(ask: Callable[[int], Body], total: int) -> bytes:
    """All of a file of `total` bytes, piece by piece; raises AppAnswerInvalid."""
    got = bytearray()
    while len(got) < total:
        answer = ask(len(got))
        try:
            data = base64.b64decode(answer["data"], validate=True)
        except (LookupError, TypeError, ValueError, binascii.Error) as error:
            raise AppAnswerInvalid(why="a piece is malformed", why_zh="片段格式错误") from error
        if not data or len(got) + len(data) > total:
            raise AppAnswerInvalid(why="it has another size", why_zh="大小不符")
        got += data
    return bytes(got)


def text(body: Mapping[str, Any], name: str, most: int = 255) -> str:
    """A text of a message; raises Invalid."""
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise Invalid(why=f"{name} is not a text of 1 to {most} characters")
    return value


def job_form(job: Job) -> Body:
    """A run as the author is told of it: sizes, whole seconds, a code; no words of the program."""
    return {
        "id": job.id,
        "deployment_id": job.deployment_id,
        "state": str(job.state),
        "code": job.code,
        "why": job.why,
        "withheld": job.withheld,
        "rows": job.rows,
        "bytes": job.bytes,
        "output_digest": job.output_digest,
        "bits": job.bits,
        "wall_s": job.wall_s,
        "at": iso(job.ended_at or job.created_at),
    }


def tell_job(tx: Tx, job: Job) -> None:
    """Tell the author's node what became of a run."""
    enqueue(tx, f"tds.{REPORT}", job.peer_did, f"app:{job.id}", {"job": job_form(job)})


def tell_deployment(tx: Tx, made: Deployment) -> None:
    """Tell the author's node what became of a deployment."""
    said = {"id": made.id, "state": str(made.state), "why": made.why}
    enqueue(tx, f"tds.{REPORT}", made.peer_did, f"app:{made.id}", {"deployment": said})
