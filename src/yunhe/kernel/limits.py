"""Every bound of the house in one place, units last in the names (DESIGN §4.13).

An attacker meets a limit, not the memory. Constants only; one block a slice, in house order.
"""

from __future__ import annotations

from typing import Final

# kernel
GROUP_VERBS_MAX: Final = 64  # verbs in one SQLite commit
GROUP_MS_MAX: Final = 50
WRITE_QUEUE_MAX: Final = 4096
OUTBOX_ATTEMPTS_MAX: Final = 40
OUTBOX_BACKOFF_S_MAX: Final = 60
OUTBOX_WORKERS: Final = 8
INBOX_KEEP_DAYS: Final = 30
JSON_BYTES_MAX: Final = 1 << 20
JSON_DEPTH_MAX: Final = 64
JWS_BYTES_MAX: Final = 16_384
GROUP_GATHER_S_MAX: Final = 0.001
SQLITE_BUSY_S_MAX: Final = 5
PG_RETRIES_MAX: Final = 8
OUTBOX_BACKOFF_S_MIN: Final = 0.05
OUTBOX_TICK_S: Final = 1.0
OUTBOX_SCAN_MAX: Final = 500
OUTBOX_CLAIM_S: Final = 60
