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

# identity
SI_TOKEN_S_MAX: Final = 300  # longest life of a self-issued token
SI_TOKEN_SKEW_S: Final = 60
SI_TOKEN_BYTES_MAX: Final = 8192
CREDENTIAL_DAYS: Final = 90
CREDENTIAL_CACHE_MAX: Final = 1024
DID_CHARS_MAX: Final = 512
DID_DOCUMENT_BYTES_MAX: Final = 65_536
DID_DOCUMENT_KEYS_MAX: Final = 16
DID_FETCH_S_MAX: Final = 5
DID_CACHE_S: Final = 300
DID_CACHE_MAX: Final = 1024
NONCE_PRUNE_S: Final = 60
NAME_CHARS_MAX: Final = 100
ADDRESS_CHARS_MAX: Final = 200
REASON_CHARS_MAX: Final = 500
REVIEW_LIST_MAX: Final = 500
REFUSAL_SOURCES_MAX: Final = 1000  # distinct (source, reason) held in memory; the rest are "other"
REFUSAL_FLUSH_S: Final = 1.0
REFUSAL_KEEP_DAYS: Final = 180  # N03 9: identity logs are kept at least 180 days

# protocols.tds
TDS_BODY_BYTES_MAX: Final = 1 << 20
TDS_BODY_DEPTH_MAX: Final = 32
TDS_WINDOW_S: Final = 300  # N03 8.2: how far the timestamp header may be off
TDS_SEQUENCE_CHARS_MAX: Final = 64
TDS_CODE_CHARS_MAX: Final = 32
TDS_MESSAGE_CHARS_MAX: Final = 255
TDS_CALL_S_MAX: Final = 10
TDS_REPLY_BYTES_MAX: Final = 8 << 20
