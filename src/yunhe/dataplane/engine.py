"""The engine versions under which nothing hidden is known to leak: another one is refused.

An engine's optimizer may lose a protection from one version to the next without a word (DuckDB
2.0 lost two that 1.5 had), so a version counts only after the whole of `make attack` held on it.
"""

from __future__ import annotations

import logging
from typing import Final

import duckdb

from yunhe.dataplane.errors import EngineUntested

log = logging.getLogger(__name__)

TESTED: Final = ("1.5.5", "2.0.0")


def check_engine(*, development: bool = False) -> None:
    """Raise EngineUntested for an engine that `make attack` never held on.

    `development`: only warn, so that the attacks can be run on a new version at all.
    """
    version = str(duckdb.__version__)
    if version in TESTED:
        return
    if not development:
        raise EngineUntested(version=version, tested=", ".join(TESTED))
    log.warning("DuckDB %s is untested; outside development it is refused", version)
