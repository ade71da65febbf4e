"""`/health`, `/metrics`, `/doctor`: is it up and ready, what does it do, what will it lack."""

from __future__ import annotations

import platform
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from yunhe import __version__, monitor
from yunhe.api.deps import Operator, Parts, face
from yunhe.kernel import sandbox, walls
from yunhe.kernel.asgi import PROBLEM

router = face("node")


@router.get("/health")
def health(parts: Parts) -> dict[str, Any]:
    """Whether the node is up; answers without a token."""
    config = parts.config
    return {
        "status": "ok",
        "name": config.name,
        "did": config.did,
        "version": __version__,
        "roles": list(config.roles),
    }


# It waits for no thread of the verbs: they may all be waiting for the database.
@router.get("/health/ready")
async def ready(parts: Parts) -> Response:
    """Whether the node can take work now; answers without a token, and looks once a second."""
    try:
        await parts.readiness.check()
    except monitor.NotReady as refusal:
        # Not `problem_response`: that writes to the log, and strangers ask as often as they like.
        return JSONResponse(refusal.problem(), refusal.status, media_type=PROBLEM)
    return JSONResponse({"status": "ready"})


@router.get("/metrics")
def metrics(parts: Parts, _who: Operator) -> Response:
    """The node's figures, in the text format of Prometheus."""
    return Response(parts.figures.text(), media_type=monitor.MEDIA_TYPE)


@router.get("/doctor")
def doctor(parts: Parts, _who: Operator) -> dict[str, Any]:
    """What this node lacks, or soon will: each check tried out now."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "sandbox": walls.told(parts.config.sandbox, sandbox.available()),
        "checks": [each.to_json() for each in parts.checks.run()],
    }
