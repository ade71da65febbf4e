"""All SQL of applications: versions, listings, holders, deployments, runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from yunhe.apps.manifest import read
from yunhe.apps.model import (
    ENDED,
    App,
    AppState,
    Deployment,
    DeploymentState,
    Holder,
    Job,
    JobState,
    Listing,
    ListingState,
    Side,
)
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

app: Final = sa.Table(
    "apps_app",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("ours", sa.Boolean, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("manifest", Json, nullable=False),
    sa.Column("jws", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("entry_id", sa.Text, nullable=False),
)
listing: Final = sa.Table(
    "apps_listing",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("keywords", Json, nullable=False),
    sa.Column("reasons", Json, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
)
holder: Final = sa.Table(
    "apps_holder",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("peer_did", sa.String(255), primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
)
bits: Final = sa.Table(
    "apps_bits",
    metadata,
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
)
deployment: Final = sa.Table(
    "apps_deployment",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("side", sa.String(8), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), nullable=False),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("entry_id", sa.Text, nullable=False),
    sa.UniqueConstraint("side", "digest", "contract_id"),
)
job: Final = sa.Table(
    "apps_job",
    metadata,
    sa.Column("id", sa.String(limits.USE_ID_CHARS_MAX), primary_key=True),
    sa.Column("side", sa.String(8), primary_key=True),
    sa.Column("deployment_id", sa.String(80), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), nullable=False),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("principal", sa.String(128), nullable=False),
    sa.Column("parameters", Json, nullable=False),
    sa.Column("rule", sa.String(128), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("withheld", sa.Boolean, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("output_digest", sa.String(64), nullable=False),
    sa.Column("bits", sa.BigInteger, nullable=False),
    sa.Column("wall_s", sa.Integer, nullable=False),
    sa.Column("cpu_ms", sa.BigInteger, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("entry_id", sa.Text, nullable=False),
    sa.Index("apps_job_by_state", "side", "state", "created_at"),
)
_DEPLOYMENT: Final = tuple(field.name for field in fields(Deployment))
_JOB: Final = tuple(field.name for field in fields(Job))


def add_app(tx: Tx, made: App) -> bool:
    """Keep a version; whether it is new."""
    known = {"name": made.manifest.name, "version": made.manifest.version}
    return tx.insert_once(app, {**vars(made), **known, "manifest": dict(made.manifest.body)})


def change_app(tx: Tx, digest: str, before: Collection[str], values: Mapping[str, Any]) -> bool:
    """Change a version that is in one of the states `before`; whether it was."""
    wanted = app.update().where(app.c.digest == digest, app.c.state.in_(before))
    return tx.execute(wanted.values(**values, changed_at=tx.now)).rowcount == 1


def find_app(tx: Tx, digest: str) -> App | None:
    """One version, or None."""
    row = tx.one(sa.select(app).where(app.c.digest == digest))
    return None if row is None else _app(row)


def apps(tx: Tx) -> list[App]:
    """The latest versions first."""
    query = sa.select(app).order_by(app.c.created_at.desc(), app.c.digest)
    return [_app(row) for row in tx.all(query.limit(limits.APP_LISTED_MAX))]


def _app(row: Any) -> App:
    return App(
        row.digest,
        bool(row.ours),
        read(row.manifest),
        row.jws,
        AppState(row.state),
        row.why,
        row.created_at,
        row.changed_at,
        row.entry_id,
    )


def put_listing(tx: Tx, made: Listing) -> None:
    """Keep how a version stands in the catalogue."""
    values = {**vars(made), "keywords": list(made.keywords), "reasons": list(made.reasons)}
    if not tx.insert_once(listing, values):
        tx.execute(listing.update().where(listing.c.digest == made.digest).values(**values))


def find_listing(tx: Tx, digest: str) -> Listing | None:
    """How a version of ours stands in the catalogue; None: it was never submitted."""
    row = tx.one(sa.select(listing).where(listing.c.digest == digest))
    if row is None:
        return None
    texts = (tuple(row.keywords), tuple(row.reasons))
    return Listing(row.digest, row.version, ListingState(row.state), *texts, row.changed_at)


def add_holder(tx: Tx, digest: str, peer_did: str) -> bool:
    """Keep who took a version; whether that is new."""
    return tx.insert_once(holder, {"digest": digest, "peer_did": peer_did, "at": tx.now})


def holds(tx: Tx, digest: str, peer_did: str) -> bool:
    """Whether a node took a version."""
    c = holder.c
    query = sa.select(holder).where(c.digest == digest, c.peer_did == peer_did)
    return tx.one(query) is not None


def holders(tx: Tx, digest: str) -> list[Holder]:
    """The nodes that took a version, the first first."""
    query = sa.select(holder).where(holder.c.digest == digest)
    rows = tx.all(query.order_by(holder.c.at, holder.c.peer_did))
    return [Holder(row.peer_did, row.at) for row in rows]


def add_deployment(tx: Tx, made: Deployment) -> bool:
    """Keep a deployment; whether it is new."""
    return tx.insert_once(deployment, vars(made))


def change_deployment(tx: Tx, key: Deployment, values: Mapping[str, Any]) -> bool:
    """Change a deployment that is still in the state it was read in; whether it was."""
    c = deployment.c
    wanted = deployment.update().where(
        c.id == key.id, c.side == key.side.value, c.state == key.state.value
    )
    return tx.execute(wanted.values(**values, changed_at=tx.now)).rowcount == 1


def find_deployment(tx: Tx, key: str, side: Side | None = None) -> Deployment | None:
    """One deployment by its id, or None."""
    query = sa.select(deployment).where(deployment.c.id == key)
    if side is not None:
        query = query.where(deployment.c.side == side.value)
    row = tx.one(query.limit(1))
    return None if row is None else _deployment(row)


def deployed(tx: Tx, side: Side, digest: str, contract_id: str) -> Deployment | None:
    """The deployment of a version under a contract, or None."""
    c = deployment.c
    row = tx.one(
        sa.select(deployment).where(
            c.side == side.value, c.digest == digest, c.contract_id == contract_id
        )
    )
    return None if row is None else _deployment(row)


def deployments_of(tx: Tx, contract_id: str) -> int:
    """How many versions a contract has brought to this host."""
    c = deployment.c
    query = sa.select(sa.func.count()).where(
        c.side == Side.HOST.value, c.contract_id == contract_id
    )
    return int(tx.scalar(query))


def peers_of(tx: Tx, digest: str, but: Collection[DeploymentState] = ()) -> set[str]:
    """All nodes that a version of ours was deployed to by us, leaving out states `but`, and all
    that took it from the catalogue."""
    c = deployment.c
    ours = sa.select(c.peer_did).where(c.side == Side.AUTHOR.value, c.digest == digest)
    taken = sa.select(holder.c.peer_did).where(holder.c.digest == digest)
    found = tx.all(ours.where(c.state.not_in(_said(but))).union(taken))
    return {row.peer_did for row in found}


def deployments(tx: Tx, digest: str = "") -> list[Deployment]:
    """The latest deployments first, of one version where it is said."""
    c = deployment.c
    query = sa.select(deployment).order_by(c.created_at.desc(), c.id)
    if digest:
        query = query.where(c.digest == digest)
    return [_deployment(row) for row in tx.all(query.limit(limits.APP_LISTED_MAX))]


def _deployment(row: Any) -> Deployment:
    said = {name: getattr(row, name) for name in _DEPLOYMENT}
    return Deployment(**said | {"side": Side(row.side), "state": DeploymentState(row.state)})


def add_job(tx: Tx, made: Job) -> bool:
    """Keep a run; whether it is new."""
    return tx.insert_once(job, vars(made))


def change_job(
    tx: Tx, key: str, side: Side, before: Collection[JobState], values: Mapping[str, Any]
) -> bool:
    """Change a run that is in one of the states `before`; whether it was."""
    wanted = job.update().where(
        job.c.id == key, job.c.side == side.value, job.c.state.in_(_said(before))
    )
    return tx.execute(wanted.values(**values)).rowcount == 1


def find_job(tx: Tx, key: str, side: Side | None = None) -> Job | None:
    """One run, or None; both sides of one node's own run: the host's."""
    query = sa.select(job).where(job.c.id == key).order_by(job.c.side.desc())
    if side is not None:
        query = query.where(job.c.side == side.value)
    row = tx.one(query.limit(1))
    return None if row is None else _job(row)


def jobs(
    tx: Tx, side: Side | None = None, states: Sequence[JobState] = (), contract_id: str = ""
) -> list[Job]:
    """Runs, the latest first."""
    query = sa.select(job).order_by(job.c.created_at.desc(), job.c.id)
    if side is not None:
        query = query.where(job.c.side == side.value)
    if states:
        query = query.where(job.c.state.in_(_said(states)))
    if contract_id:
        query = query.where(job.c.contract_id == contract_id)
    return [_job(row) for row in tx.all(query.limit(limits.APP_LISTED_MAX))]


def waiting(tx: Tx, contract_id: str = "") -> int:
    """How many runs wait or go on at this host, under one contract where it is said."""
    query = sa.select(sa.func.count()).where(
        job.c.side == Side.HOST.value, job.c.state.in_(_said((JobState.QUEUED, JobState.RUNNING)))
    )
    if contract_id:
        query = query.where(job.c.contract_id == contract_id)
    return int(tx.scalar(query))


def spend_bits(tx: Tx, contract_id: str, amount: int, most: int) -> bool:
    """Count what a run could have said against the contract's sum; whether it fits."""
    tx.insert_once(bits, {"contract_id": contract_id, "spent": 0})
    c = bits.c
    fits = bits.update().where(c.contract_id == contract_id, c.spent + amount <= most)
    return tx.execute(fits.values(spent=c.spent + amount)).rowcount == 1


def give_back_bits(tx: Tx, contract_id: str, amount: int) -> None:
    """What a run could have said was not said after all."""
    mine = bits.update().where(bits.c.contract_id == contract_id)
    tx.execute(mine.values(spent=bits.c.spent - amount))


def bits_spent(tx: Tx, contract_id: str) -> int:
    """What the runs of a contract could have said, in all."""
    query = sa.select(bits.c.spent).where(bits.c.contract_id == contract_id)
    return int(tx.scalar(query) or 0)


def next_job(tx: Tx) -> str | None:
    """The run that has waited longest at this host."""
    query = sa.select(job.c.id).where(
        job.c.side == Side.HOST.value, job.c.state == JobState.QUEUED.value
    )
    row = tx.one(query.order_by(job.c.created_at, job.c.id).limit(1))
    return None if row is None else str(row.id)


def keys(tx: Tx, side: Side, states: Sequence[JobState]) -> set[str]:
    """The ids, which are the uses, of all runs in some states."""
    query = sa.select(job.c.id).where(job.c.side == side.value, job.c.state.in_(_said(states)))
    return {row.id for row in tx.all(query)}


def lasting(tx: Tx, since: datetime) -> set[str]:
    """The runs at this host that are not over, or have ended after `since`."""
    c = job.c
    wanted = sa.or_(c.state.not_in(_said(ENDED)), c.ended_at > since)
    query = sa.select(c.id).where(c.side == Side.HOST.value, wanted)
    return {row.id for row in tx.all(query)}


def _said(states: Iterable[StrEnum]) -> list[str]:
    """As plain text: of any other type SQLAlchemy asks its whole ORM what it is."""
    return [state.value for state in states]


def _job(row: Any) -> Job:
    said = {name: getattr(row, name) for name in _JOB}
    return Job(**said | {"side": Side(row.side), "state": JobState(row.state)})
