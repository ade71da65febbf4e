"""The log of a process: lines of instant, level, part and sentence on the standard error.

In: nothing. Out: lines whose instants are UTC like every other that Yunhe tells, so that the logs
of several nodes can be laid beside each other.
"""

from __future__ import annotations

import logging
import time
from typing import Final

_CHATTY: Final = ("httpx", "alembic")


class _Lines(logging.Formatter):
    """`2026-11-22T10:21:18.256Z WARNING yunhe.node the sentence`."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def begin() -> None:
    """Log from `INFO` on; what others' code says of each of its calls, from `WARNING` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
