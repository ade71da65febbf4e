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
