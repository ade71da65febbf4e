"""The log's lines: instants in UTC whatever the machine's zone, others' chatter left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

SCRIPT = """
import logging
from yunhe.kernel import logs

logs.begin()
logging.getLogger("yunhe.part").info("a sentence")
logging.getLogger("httpx").info("chatter")
"""


def test_instants_are_utc_in_any_zone() -> None:
    environ = {**os.environ, "TZ": "Asia/Shanghai"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environ, capture_output=True, text=True, check=True
    )
    found = re.fullmatch(r"(\S+Z) INFO yunhe\.part a sentence\n", ran.stderr)
    assert found, ran.stderr
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found[1])) < timedelta(minutes=5)
