"""All SQL of the register: applications, subjects, connectors (store_access.py has the rest).

In: a Tx and values of the model. Out: values of the model. Codes have no UPDATE path (N04 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.identity.model import (
    Application,
    Connector,
    Jwk,
    Kind,
    State,
    Subject,
    Version,
)
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

_OPEN: Final = "state IN ('submitted', 'returned')"

application: Final = sa.Table(
    "application",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("applicant_did", sa.Text, nullable=False),
    sa.Column("applicant_jwk", Json, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("form", Json, nullable=False),
    sa.Column("reasons", Json, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("credential", sa.Text, nullable=False),
    sa.Column("submitted_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime),
    sa.Column("reviewer", sa.Text, nullable=False),
    # One open application a kind and applicant, whatever the number of replicas.
    sa.Index(
        "application_open",
        "kind",
        "applicant_did",
        unique=True,
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    ),
    sa.Index("application_state", "state", "submitted_at"),
)

application_version: Final = sa.Table(
    "application_version",
    metadata,
    sa.Column("application_id", sa.Text, sa.ForeignKey("application.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("form", Json, nullable=False),
    sa.Column("submitted_at", UtcTime, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("reasons", Json, nullable=False),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("decided_at", UtcTime),
)

subject: Final = sa.Table(
    "subject",
    metadata,
    sa.Column("subject_code", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_en", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("did", sa.Text, nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("registered_at", UtcTime, nullable=False),
)

_LIVE: Final = "state <> 'cancelled'"

connector: Final = sa.Table(
    "connector",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column(
        "subject_code", sa.Text, sa.ForeignKey("subject.subject_code"), nullable=False, index=True
    ),
    sa.Column("did", sa.Text, nullable=False),
    sa.Column("jwk", Json, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_en", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("credential", sa.Text, nullable=False),
    sa.Column("credential_expires_at", UtcTime, nullable=False),
    sa.Column("registered_at", UtcTime, nullable=False),
    sa.Column("reasons", Json, nullable=False),
    # Cancelled codes stay as tombstones; one live connector a DID.
    sa.Index(
        "connector_live_did",
        "did",
        unique=True,
        sqlite_where=sa.text(_LIVE),
        postgresql_where=sa.text(_LIVE),
    ),
)

# -- applications ----------------------------------------------------------------------------


def add_application(tx: Tx, made: Application) -> bool:
    """Keep a new application and its first version; False when one is open already."""
    values = {**made.__dict__, "kind": made.kind.value, "state": made.state.value}
    values["reasons"] = list(made.reasons)
    del values["versions"]
    if not tx.insert_once(application, values):
        return False
    _add_version(tx, made.id, 1, made.form)
    return True


def resubmit(tx: Tx, held: Application, form: dict[str, Any], jwk: Jwk) -> bool:
    """Put the next version of a returned application; False when it moved meanwhile."""
    number = held.version + 1
    moved = tx.execute(
        application.update()
        .where(application.c.id == held.id, *_unmoved(held))
        .values(
            state=State.SUBMITTED.value,
            version=number,
            form=form,
            applicant_jwk=jwk,
            reasons=[],
            submitted_at=tx.now,
            decided_at=None,
            reviewer="",
        )
    )
    if moved.rowcount != 1:
        return False
    _add_version(tx, held.id, number, form)
    return True


def decide(
    tx: Tx,
    held: Application,
    state: State,
    decision: str,
    reasons: tuple[str, ...],
    reviewer: str,
    code: str,
    credential: str,
) -> bool:
    """Write a decision on the application and its version; False when it moved meanwhile."""
    said = {"reasons": list(reasons), "reviewer": reviewer, "decided_at": tx.now}
    moved = tx.execute(
        application.update()
        .where(application.c.id == held.id, *_unmoved(held))
        .values(state=state.value, code=code, credential=credential, **said)
    )
    if moved.rowcount != 1:
        return False
    tx.execute(
        application_version.update()
        .where(
            application_version.c.application_id == held.id,
            application_version.c.number == held.version,
        )
        .values(decision=decision, **said)
    )
    return True


def _unmoved(held: Application) -> tuple[sa.ColumnElement[bool], ...]:
    return (application.c.state == held.state.value, application.c.version == held.version)


def _add_version(tx: Tx, application_id: str, number: int, form: dict[str, Any]) -> None:
    tx.execute(
        application_version.insert(),
        {
            "application_id": application_id,
            "number": number,
            "form": form,
            "submitted_at": tx.now,
            "decision": "",
            "reasons": [],
            "reviewer": "",
            "decided_at": None,
        },
    )


def find_application(tx: Tx, application_id: str) -> Application | None:
    """One application with all its versions."""
    row = tx.one(sa.select(application).where(application.c.id == application_id))
    if row is None:
        return None
    rows = tx.all(
        sa.select(application_version)
        .where(application_version.c.application_id == application_id)
        .order_by(application_version.c.number)
    )
    return _application(
        row,
        tuple(
            Version(
                v.number,
                v.form,
                v.submitted_at,
                v.decision,
                tuple(v.reasons),
                v.reviewer,
                v.decided_at,
            )
            for v in rows
        ),
    )


def latest_application(tx: Tx, kind: Kind, did: str) -> Application | None:
    """The newest application of this kind by this applicant."""
    row = tx.one(
        sa.select(application)
        .where(application.c.kind == kind.value, application.c.applicant_did == did)
        .order_by(application.c.submitted_at.desc(), application.c.id)
        .limit(1)
    )
    return None if row is None else _application(row)


def applications(tx: Tx, state: State | None, kind: Kind | None) -> list[Application]:
    """Applications, oldest first, without their versions; at most REVIEW_LIST_MAX."""
    wanted = sa.select(application).order_by(application.c.submitted_at, application.c.id)
    if state is not None:
        wanted = wanted.where(application.c.state == state.value)
    if kind is not None:
        wanted = wanted.where(application.c.kind == kind.value)
    return [_application(row) for row in tx.all(wanted.limit(limits.REVIEW_LIST_MAX))]


def _application(row: Any, versions: tuple[Version, ...] = ()) -> Application:
    return Application(
        id=row.id,
        kind=Kind(row.kind),
        applicant_did=row.applicant_did,
        applicant_jwk=row.applicant_jwk,
        state=State(row.state),
        version=row.version,
        form=row.form,
        reasons=tuple(row.reasons),
        code=row.code,
        credential=row.credential,
        submitted_at=row.submitted_at,
        decided_at=row.decided_at,
        reviewer=row.reviewer,
        versions=versions,
    )


# -- subjects and connectors -----------------------------------------------------------------


def add_subject(tx: Tx, made: Subject) -> bool:
    """Keep a subject; False when its code is registered."""
    return tx.insert_once(subject, {**made.__dict__, "state": made.state.value})


def find_subject(tx: Tx, subject_code: str) -> Subject | None:
    """One subject by its code."""
    row = tx.one(sa.select(subject).where(subject.c.subject_code == subject_code))
    return None if row is None else _subject(row)


def subjects(tx: Tx) -> list[Subject]:
    """Every subject, by code."""
    return [_subject(row) for row in tx.all(sa.select(subject).order_by(subject.c.subject_code))]


def _subject(row: Any) -> Subject:
    return Subject(**{**row._mapping, "state": State(row.state)})


def add_connector(tx: Tx, made: Connector) -> bool:
    """Keep a connector; False when its code or the DID of a live one is taken."""
    values = {**made.__dict__, "state": made.state.value, "reasons": list(made.reasons)}
    return tx.insert_once(connector, values)


def find_connector(tx: Tx, code: str) -> Connector | None:
    """One connector by its N04 code, cancelled ones included."""
    row = tx.one(sa.select(connector).where(connector.c.code == code))
    return None if row is None else _connector(row._asdict())


_CONNECTOR: Final = tuple(connector.c.keys())
_LIVE_OF: Final = sa.select(connector).where(
    connector.c.did == sa.bindparam("did"), connector.c.state != State.CANCELLED.value
)


def live_connector(tx: Tx, did: str) -> Connector | None:
    """The connector of a DID that is not cancelled."""
    rows = tx.rows(_LIVE_OF, {"did": did})
    return _connector(dict(zip(_CONNECTOR, rows[0], strict=True))) if rows else None


def connectors(tx: Tx) -> list[Connector]:
    """Every connector, by code."""
    return [
        _connector(row._asdict()) for row in tx.all(sa.select(connector).order_by(connector.c.code))
    ]


def move_connector(tx: Tx, held: Connector, state: State, reasons: tuple[str, ...]) -> bool:
    """Change the state; False when it moved meanwhile."""
    moved = tx.execute(
        connector.update()
        .where(connector.c.code == held.code, connector.c.state == held.state.value)
        .values(state=state.value, reasons=list(reasons))
    )
    return moved.rowcount == 1


def renew_connector(
    tx: Tx, held: Connector, jwk: Jwk, credential: str, expires_at: datetime
) -> bool:
    """Replace key and credential; False when the state moved meanwhile."""
    moved = tx.execute(
        connector.update()
        .where(connector.c.code == held.code, connector.c.state == held.state.value)
        .values(jwk=jwk, credential=credential, credential_expires_at=expires_at)
    )
    return moved.rowcount == 1


def _connector(row: Mapping[str, Any]) -> Connector:
    said = {"state": State(row["state"]), "reasons": tuple(row["reasons"])}
    return Connector(**{**row, **said})
