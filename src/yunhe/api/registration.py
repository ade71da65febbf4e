"""`/registration`, `/applications`, `/registrations`: join the federation, and decide who may."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from yunhe import catalog, federation, identity
from yunhe.api.deps import Admin, AnyCaller, Parts, Reviewer, face
from yunhe.api.forms import Empty, ReviewForm, when
from yunhe.kernel.tongues import in_both

router = face("registration")

StateFilter = Annotated[str | None, Query(max_length=32)]


@router.post("/registration", status_code=202)
def register_self(parts: Parts, _who: Admin, _body: Empty | None = None) -> dict[str, Any]:
    """Register this node's subject and connector at its parent."""
    return _status(parts.federation.register_self())


@router.get("/registration")
def registration(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """How far this node's own registration is."""
    return _status(parts.federation.status())


@router.get("/applications")
def applications(parts: Parts, _who: Reviewer, state: StateFilter = None) -> dict[str, Any]:
    """Subjects and connectors that applied here."""
    found = parts.identity.list_applications(state or "")
    return {"items": [_application(each) for each in found]}


@router.post("/applications/{key}/review")
def review(key: str, form: ReviewForm, parts: Parts, who: Reviewer) -> dict[str, Any]:
    """Approve, return for edit or reject an application; the applicant is told."""
    decided = parts.identity.review(key, form.decision, tuple(form.reasons), who)
    return _application(decided)


@router.get("/registrations")
def registrations(parts: Parts, _who: Reviewer, state: StateFilter = None) -> dict[str, Any]:
    """Resources, products and listings that were reported here."""
    found = parts.register.registrations(state)
    return {"items": [_registration(each) for each in found]}


@router.post("/registrations/{key}/review")
def review_registration(key: str, form: ReviewForm, parts: Parts, who: Reviewer) -> dict[str, Any]:
    """Approve, return for edit or reject a catalogue registration; the holder is told."""
    decided = parts.register.review(key, form.decision, form.reasons, who.name)
    return _registration(decided)


def _status(status: federation.Status) -> dict[str, Any]:
    return {
        "state": status.state,
        "step": status.step,
        "subject_code": status.subject_code or None,
        "connector_code": status.connector_code or None,
        "did": status.did,
        "parent_did": status.parent_did or None,
        "reasons": [in_both(each) for each in status.reasons],
        "last_contact_at": when(status.last_contact),
        "last_error": in_both(status.last_error),
        "waiting": status.waiting,
    }


def _application(found: identity.Application) -> dict[str, Any]:
    return {
        "id": found.id,
        "kind": found.kind.value,
        "state": found.state.value,
        "name": str(found.form.get("name", "")),
        "subject_code": found.form.get("subject_code"),
        "did": found.applicant_did,
        "code": found.code or None,
        "submitted_at": when(found.submitted_at),
        "reasons": list(found.reasons),
    }


def _registration(found: catalog.Registration) -> dict[str, Any]:
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state,
        "title_zh": found.title.zh,
        "title_en": found.title.en,
        "provider_did": found.origin_did,
        "provider_name": found.origin_name,
        "code": found.code or None,
        "submitted_at": when(found.received_at),
        "reasons": list(found.reasons),
        "warnings": list(found.warnings),
        "manifest": found.record.get("manifest"),  # of a program: what it reads, takes and gives
    }
