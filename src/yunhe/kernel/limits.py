"""Every bound of the house in one place, units last in the names (DESIGN §4.13).

An attacker meets a limit, not the memory. Constants only; one block a slice, in house order.
"""

from __future__ import annotations

from typing import Final

# kernel
GROUP_VERBS_MAX: Final = 64  # verbs in one SQLite commit
GROUP_MS_MAX: Final = 50
SOON_S: Final = 0.02  # a verb that nobody waits for waits so long for one to share a commit
WRITE_QUEUE_MAX: Final = 4096
OUTBOX_ATTEMPTS_MAX: Final = 40
OUTBOX_ATTEMPTS_LONG_MAX: Final = 10_000  # some five days: what money depends on
OUTBOX_BACKOFF_S_MAX: Final = 60
OUTBOX_WORKERS: Final = 8  # all but one of them for one peer
OUTBOX_FEW_MAX: Final = 1  # of them for one that has not answered yet, failed, or is slow
OUTBOX_EXTRA_MAX: Final = 24  # more of them while sends take long
OUTBOX_SPARED: Final = 2  # of them, never for such
OUTBOX_SLOW_S: Final = 1.0  # an answer that takes longer is slow
OUTBOX_QUICK_PEERS_MAX: Final = 10_000  # remembered as quick
JSON_BYTES_MAX: Final = 1 << 20
JSON_DEPTH_MAX: Final = 64
FACT_CHARS_MAX: Final = 1000  # of a text in a refusal
JWS_BYTES_MAX: Final = 16_384
GROUP_GATHER_S_MAX: Final = 0.001
SQLITE_BUSY_S_MAX: Final = 5
SQLITE_READERS_MAX: Final = 32  # in use at once
SQLITE_IDLE_MAX: Final = 16  # readers kept open, each with its statements
PG_RETRIES_MAX: Final = 8
PG_IDLE_MAX: Final = 16  # connections kept open, each with its statements
PG_CONNECTIONS_MAX: Final = 32  # of one process
PG_CONNECT_S_MAX: Final = 5
PG_LOCK_S_MAX: Final = 10  # waiting for a lock, or for a connection to come free
PG_SILENCE_S_MAX: Final = 30  # of a server over the network
SEQUENCER_GATHER_S: Final = 0.02  # PostgreSQL: between two checkpoints, for more entries in one
OUTBOX_BACKOFF_S_MIN: Final = 0.05
OUTBOX_TICK_S: Final = 1.0
OUTBOX_SCAN_MAX: Final = 500
OUTBOX_CLAIM_S: Final = 60
HEAD_S_MAX: Final = 20.0  # for a whole request line and headers
BODY_S_MAX: Final = 30.0
CLOCK_STAND_S_MAX: Final = 30  # a clock set back by more is not waited for
CLOCK_GOODBYE_S: Final = 10  # what is under way has so long, before the node starts anew for it
STALL_S_MAX: Final = 120.0  # how long a client may take nothing of a stream

# evidence
EVIDENCE_BODY_BYTES_MAX: Final = 1 << 20
EVIDENCE_FIND_MAX: Final = 1000
SEQUENCER_POLL_S: Final = 0.2  # PostgreSQL: for entries of a replica that died
PROOF_POLL_S: Final = 0.01
TILE_CACHE_S: Final = 31_536_000  # tiles are immutable
BUNDLE_BYTES_MAX: Final = 64 << 20
BUNDLE_FIELDS_MAX: Final = 1_000_000
BUNDLE_USES_MAX: Final = 4_000  # some 10 KB each, with its part of the manifest
BUNDLE_FINDINGS_MAX: Final = 1000
BUNDLE_CREDENTIALS_MAX: Final = 64  # two, and one for each key that a party had later

# identity
SI_TOKEN_S_MAX: Final = 300  # longest life of a self-issued token
SI_TOKEN_SKEW_S: Final = 30
SI_TOKEN_BYTES_MAX: Final = 8192
CREDENTIAL_DAYS: Final = 90
CREDENTIAL_CACHE_MAX: Final = 1024
API_TOKENS_KNOWN_MAX: Final = 1024
API_TOKEN_KNOWN_S: Final = 5  # SQLite: then the database is asked again, whatever happened
DID_CHARS_MAX: Final = 512
DID_DOCUMENT_BYTES_MAX: Final = 65_536
DID_DOCUMENT_KEYS_MAX: Final = 16
DID_FETCH_S_MAX: Final = 5
DID_FETCHES_MAX: Final = 16
DID_LIST_MAX: Final = 64  # entries of one list in a document that are looked at
DID_CACHE_S: Final = 300
DID_REFRESH_S: Final = 5  # an unknown key may cause one more fetch, not oftener
DID_CACHE_MAX: Final = 1024
ADDRESSES_TRIED_MAX: Final = 8  # of one name
NONCE_PRUNE_S: Final = 60
NAME_CHARS_MAX: Final = 100
ADDRESS_CHARS_MAX: Final = 200
REASON_CHARS_MAX: Final = 500
REVIEW_LIST_MAX: Final = 500
FOREIGN_TOKEN_S_MAX: Final = 3600  # longest life of a foreign token: its jti is kept as long
CREDENTIAL_BYTES_MAX: Final = 65_536  # one credential or presentation as JWT
CREDENTIALS_MAX: Final = 32  # in one presentation, request, message or offer
PRESENTATIONS_MAX: Final = 8
ACCESS_TOKEN_S_MAX: Final = 300
PRESENTATION_S_MAX: Final = 300
HELD_CREDENTIALS_MAX: Final = 1000
OFFERS_KEPT_MAX: Final = 200
SCOPES_MAX: Final = 32
STATUS_BITS: Final = 131_072  # 16 KiB: the least the standard allows, for herd privacy
STATUS_BITS_MAX: Final = 1 << 23  # of a foreign list: 1 MiB unpacked
STATUS_LIST_BYTES_MAX: Final = 65_536  # of a list as fetched; 16 KiB of noise make 30
EARLIER_KEYS_MAX: Final = 8  # of one purpose, replaced since the start
FOREIGN_KNOWN_S: Final = 4  # what a foreign wallet showed; its status is asked all the same
ACCESS_TOKEN_REUSED_S: Final = 60  # of ours by one peer; it lives ACCESS_TOKEN_S_MAX
STATUS_CACHE_S: Final = 4  # a revoked member is refused within five seconds
STATUS_GRACE_S: Final = 300  # how long the last list counts while its issuer is silent
STATUS_RETRY_S: Final = 5
STATUS_LISTS_MAX: Final = 256
STATUS_INDEX_TRIES_MAX: Final = 32
KEY_OVERLAP_DAYS: Final = 90  # a rotated key verifies as long as what it signed may live
REFUSAL_SOURCES_MAX: Final = 100  # rows a minute; further sources are counted as "other"
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

# sources
SOURCE_FILES_MAX: Final = 10_000
SOURCE_COLUMNS_MAX: Final = 2_000
PROFILE_MEMORY_MB_MAX: Final = 1_024
LOCATOR_CHARS_MAX: Final = 2_000
CONNECTIONS_MAX: Final = 64
CREDENTIAL_FILE_BYTES_MAX: Final = 65_536
SOURCE_BYTES_MAX: Final = 64 << 30  # of one table as it lies at its source
SOURCE_UNPACKED_BYTES_MAX: Final = 64 << 30
SOURCE_RATIO_MAX: Final = 200  # unpacked over packed, beyond the slack
SOURCE_RATIO_SLACK_BYTES: Final = 64 << 20
SOURCE_CHECK_S: Final = 1.0  # a local source is looked at again for changes, not oftener
SOURCE_REMOTE_CHECK_S: Final = 10.0  # the same for an object store
SOURCE_ANSWER_S_MAX: Final = 30
SOURCE_HTTP_S_MAX: Final = 600.0  # all pages of one API
SOURCE_PAGE_S_MAX: Final = 120.0  # one of them, from the connection to its last byte
SOURCE_HTTP_PAGES_MAX: Final = 10_000
SOURCE_HTTP_PAGE_BYTES_MAX: Final = 16 << 20
SOURCE_HTTP_BYTES_MAX: Final = 4 << 30
SOURCE_HTTP_TRIES: Final = 4
SOURCE_HTTP_WAIT_S_MAX: Final = 30.0  # however long an API asks us to wait
SOURCE_HTTP_RATE: Final = 10  # requests a second, unless the connection says otherwise
SOURCE_HTTP_AGE_S: Final = 300
SOURCE_LOOK_S: Final = 0.005  # a look that takes no longer is taken by every query
SOURCES_LOOKED_MAX: Final = 10_000  # origins remembered since they were last looked at
SOURCE_NAME_CHARS_MAX: Final = 255  # of a column
SOURCE_LINE_BYTES_MAX: Final = 8 << 20  # one row of text
SOURCE_JSON_BYTES_MAX: Final = 256 << 20  # one JSON document; NDJSON has no such bound
INGEST_MEMORY_MB_MAX: Final = 3_072  # address space of the process that reads strangers' files
INGEST_S_MAX: Final = 900
INGEST_REPORT_BYTES_MAX: Final = 16 << 20  # what such a process may say of them
LOOK_S_MAX: Final = 1_800  # to measure Parquet that lies there as such
LOOKS_MAX: Final = 4  # at once
INGESTS_MAX: Final = 2  # at once
SNAPSHOT_KEEP_S: Final = 3_600  # a replaced snapshot may still be read by a query under way
SNAPSHOT_FAILED_S: Final = 5.0  # a source that failed is not asked again at once
SAMPLE_ROWS_MAX: Final = 100

# dataplane
SQL_BYTES_MAX: Final = 16_384
SQL_NODES_MAX: Final = 2_000
SQL_NODES_WRITTEN_MAX: Final = 10_000  # with aliases and stars written out
SQL_BRACKETS_DEPTH_MAX: Final = 64
SQL_TABLES_MAX: Final = 16  # table uses in one query
OUTPUT_NAME_BYTES_MAX: Final = 56  # of an output that nobody named; databases cut at 63
SQL_NAMES_TOLD_MAX: Final = 20  # tables or columns listed in a refusal
GOVERNED_KEPT_MAX: Final = 256  # answers of the gate, the latest used
GOVERNED_SQL_KEPT_CHARS_MAX: Final = 4_096  # longer questions are read anew each time
QUERY_S_MAX: Final = 60.0  # from the start of a query to its first bytes
QUERY_CPU_S_MAX: Final = 240
STREAM_S_MAX: Final = 3_600.0
STREAM_CHECK_S: Final = 0.5  # how often a running stream asks whether its contract still stands
WORKER_MEMORY_MB_MAX: Final = 2_048  # what DuckDB may take
WORKER_ADDRESS_MB_MAX: Final = 16_384  # RLIMIT_AS: code and reserved space included
WORKER_WAIT_S_MAX: Final = 10.0  # for a free worker
WORKER_REFILL_S: Final = 0.15  # a taken spare is replaced when its first query has had its turn
WORKERS_MAX: Final = 8
FRAME_BYTES_MIN: Final = 262_144
BATCH_ROWS: Final = 16_384  # in one record batch; also the grain of a cut delivery's count
RESULT_ROWS_MAX: Final = 1_000_000_000  # one use, where the contract states no number
IPC_METADATA_BYTES_MAX: Final = 16_777_216
PARTS_MAX: Final = 4  # of one result, for readers at once
PART_BYTES_MIN: Final = 256 << 20  # of Parquet, for a part of one file
PARTS_S: Final = 125.0  # a part that nobody has opened by then is given up
PRINT_BUCKETS_MIN: Final = 64  # places of a group's print, by which answers are compared
PRINT_BUCKETS_MAX: Final = 4_096
PRINTS_MAX: Final = 1_024  # groups of one aggregate-only answer

# control
COMPILED_RULES_MAX: Final = 256
RULE_CONSTRAINTS_MAX: Final = 64  # constraints and duties in one rule
CONSTRAINT_VALUES_MAX: Final = 4096  # members of a set, characters of a text
POLICIES_CACHED_MAX: Final = 1024
FILTERS_KEPT_MAX: Final = 256  # row filters as the engine reads them
USE_ID_CHARS_MAX: Final = 128
USE_PURPOSE_CHARS_MAX: Final = 1024
USE_FIELDS_MAX: Final = 10_000
USE_ROWS_MAX: Final = 1 << 53  # beyond, JSON numbers are not exact
RECOVERY_USES_MAX: Final = 10_000  # handled in one sweep; it repeats until none is left
REASONS_STORED_MAX: Final = 64  # of one denial, in its evidence entry
DENIALS_LISTED_MAX: Final = 1000
IN_FLIGHT_BYTES_MAX: Final = 16 << 20  # of a cut stream, in all buffers up to its receiver
NEVER_ADMITTED_MAX: Final = 1024  # uses of one contract that were asked about and never came
PRINTS_KEPT_MAX: Final = 4_096  # groups answered to one party about one data set
PRINTS_PAIRED_MAX: Final = 48  # the latest of them that are tried two at a time
PRINTS_GROUPS_PAIRED_MAX: Final = 4  # of answers with no more groups than these
ANSWERS_GIVEN_BACK_MAX: Final = 32  # uses of one contract that ended in a refusal about the data

# catalog
CATALOG_TABLES_MAX: Final = 64
CATALOG_COLUMNS_MAX: Final = 2000
CATALOG_PATHS_MAX: Final = 4096
CATALOG_KEYWORDS_MAX: Final = 20
CATALOG_RESOURCES_MAX: Final = 64
CATALOG_RECORD_BYTES_MAX: Final = 256 * 1024
CATALOG_LIST_MAX: Final = 500
CATALOG_PROGRAMS_MAX: Final = 2_000  # listed programs that a search goes through, the newest
CATALOG_REASONS_MAX: Final = 20
CODE_CLASHES_MAX: Final = 8  # random parts tried before an allocation is given up
SEARCH_TEXT_CHARS_MAX: Final = 128  # N05 A.1
SEARCH_TERMS_MAX: Final = 16
SEARCH_WORD_CHARS_MAX: Final = 64
SEARCH_PREFIX_CHARS_MIN: Final = 3
SEARCH_LIMIT_MAX: Final = 200
SEARCH_OFFSET_MAX: Final = 1_000_000
SEARCH_FRESH_ROWS_MAX: Final = 200  # more than this is indexed before the answer
INDEX_BATCH_ROWS: Final = 1000
INDEX_HEAP_BYTES: Final = 32_000_000
INDEX_COMMIT_S_MIN: Final = 0.2  # a commit costs ~90 ms: gather this long

# federation
PEER_SEARCH_LIMIT_MAX: Final = 200
PLACE_KEPT_S: Final = 30.0  # where a product was found; what it is its provider says each time
PLACES_KEPT_MAX: Final = 1_024

# contracts
PID_CHARS_MAX: Final = 255  # ids of peers: negotiations, transfers, offers, messages
CALLBACK_CHARS_MAX: Final = 1000
COUNTER_OFFERS_MAX: Final = 3  # of the automatic provider in one negotiation
OFFERS_MAX: Final = 40  # on the table in one negotiation, by both sides
POLICY_RULES_MAX: Final = 64
POLICY_CONSTRAINTS_MAX: Final = 256  # in one policy, duties included
REASONS_MAX: Final = 8
CONTRACT_LIST_MAX: Final = 1000
DATA_TOKEN_S_MAX: Final = 600
DATA_TOKENS_KEPT_MAX: Final = 1_024  # digests of those verified, the latest used
DATA_TOKEN_RENEW_S: Final = 60  # a connector renews a token that ends sooner
TRANSFERS_OPEN_MAX: Final = 64  # of one contract
PEER_NEGOTIATIONS_MAX: Final = 1_000  # open with one counterparty, unless the settings differ
PEER_TRANSFERS_MAX: Final = 10_000
TRANSFER_IDLE_S: Final = 86_400  # a pull whose token is over for so long is completed
NEGOTIATION_IDLE_DAYS: Final = 30  # without a word of either side
IDLE_SWEEP_S: Final = 3_600
OPEN_MAX: Final = 10_000_000  # what the settings may allow one counterparty

PUSH_BYTES_MAX: Final = 16 << 30  # one pushed result
PUSH_TOKEN_S: Final = 86_400  # how long the address of a push is open
PUSH_S_MAX: Final = 86_400  # after that, a push that fails is given up
PUSH_ATTEMPTS_MAX: Final = 200
SPARE_BYTES: Final = 256 << 20  # what a push leaves free on a disk

# protocols.dsp
DSP_BODY_BYTES_MAX: Final = 1 << 20
DSP_REPLY_BYTES_MAX: Final = 1 << 20
DSP_CATALOG_BYTES_MAX: Final = 16 << 20
DSP_CALL_S_MAX: Final = 10
VERSION_BYTES_MAX: Final = 64 << 10  # a peer's version document
VERSION_CACHE_S: Final = 300
VERSIONS_CACHED_MAX: Final = 1000
DSP_NOT_FOUND_RETRY_S: Final = 1.0  # a peer may not know yet what it just said
DSP_EARLY_RETRY_S: Final = 5.0  # the same within a conversation, where to give up is to end it
DSP_REST_S: Final = 0.2  # what a connector of another make needs after our reply
DSP_BUSY_S: Final = 0.3  # after its 409: to say once more what it was busy with
DSP_REPLIES_MAX: Final = 10_000  # under way at once
DSP_HANDS: Final = 40  # messages read and answered at once
DSP_REPLY_WAIT_S: Final = 1.0
DSP_TOKEN_RETRIES_MAX: Final = 5
DSP_CATALOG_PAGE: Final = 200
DSP_CATALOG_PAGES_MAX: Final = 1000
DSP_FILTERS_MAX: Final = 16
DSP_CATALOG_OFFSET_MAX: Final = 1_000_000

# api
API_HANDS: Final = 40  # verbs at once
LONG_POLL_S_MAX: Final = 30
LONG_POLL_READ_S: Final = 0.25
LONG_POLL_TOLD_MAX: Final = 1024  # negotiations whose last move a long poll begins with

# monitor
READY_KEPT_S: Final = 1.0  # however many ask, the node looks once in so long
READY_S_MAX: Final = 2.0  # for the database to answer who asks whether the node is ready
OUTBOX_STUCK_S: Final = 180  # due so long and nothing was tried: longer than any pause
UNSEQUENCED_S_MAX: Final = 30.0  # an entry waits for its index
FIGURES_KEPT_S: Final = 5.0  # what the database is asked for when figures are read
DISK_FREE_BYTES_MIN: Final = 256 << 20  # below it the node is about to refuse
DISK_FREE_BYTES_LOW: Final = 2 << 30
CREDENTIAL_LOW_DAYS: Final = 30  # the registrar renews at half of its ninety days
ENDS_SOON_DAYS: Final = 7
CLOCK_OFF_S_MAX: Final = 30.0  # tokens bear so much of difference
CLOCK_OFF_S_LOW: Final = 5.0
CLOCK_ASKED_S_MAX: Final = 5.0
BACKUP_DAYS_MAX: Final = 7
OUTBOX_OLD_S: Final = 86_400

# ledger
TRANSFER_FEN_MAX: Final = 10**15
TRANSFERS_LISTED_MAX: Final = 1000

# exchange
STATEMENT_LINES_MAX: Final = 2_000  # fits one message; the rest goes on the next statement
STATEMENT_SKEW_S: Final = 60  # by which the clocks of provider and consumer may differ
STATEMENT_DIFFERENCES_MAX: Final = 500  # named in one dispute
STATEMENTS_LISTED_MAX: Final = 1000
RECEIPT_WAIT_S: Final = 3_600  # a cut delivery waits so long for the receipt that lowers it
DOUBT_ASK_S: Final = 3_600  # how often the outcome of a use in doubt is asked for anew
PROOF_WAIT_S_MAX: Final = 3.0  # for the sequencer, before a line counts as unproven

# protocols.arrow
QUERY_THREADS: Final = 16
STREAM_THREADS: Final = 32
DOOR_BACKLOG: Final = 2048  # connections that wait for a process of the data plane
RELAY_S_MAX: Final = 120  # between two bytes of a provider
RELAY_CHUNK_BYTES: Final = 1 << 20
RELAY_IDLE_MAX: Final = 8
PUSH_THREADS: Final = 16  # pushes of a provider under way at once
PUSHES_OF_PEER_MAX: Final = 4
PUSH_TICK_S: Final = 1.0
PUSH_BACKOFF_S_MIN: Final = 0.2
PUSH_BACKOFF_S_MAX: Final = 60.0
PUSH_CONNECT_S_MAX: Final = 10.0
PUSH_ANSWER_S_MAX: Final = 120.0  # for the receiver, once it has all
PUSH_CHUNK_BYTES: Final = 1 << 18
PROBLEM_BYTES_MAX: Final = 65_536
POLL_S: Final = 30  # how often an undecided application is asked after
WITHDRAWN_AGAIN_S: Final = 3600  # how often an unconfirmed withdrawal is told again
CREDENTIAL_ASK_HOURS: Final = 24  # the registrar renews when half its life is over
CREDENTIAL_MISSED_S: Final = 120  # how often, while none of the present key is in force
PENDING_ASKED_MAX: Final = 100

# node
PEER_CALL_S_MAX: Final = 10
NODE_TICK_S: Final = 5
HEAD_BYTES_MAX: Final = 65_536  # of a request we get, and of an answer

# vault
VAULT_SHARD_BYTES: Final = 4 << 20  # a shard holds whole record batches, so it may be larger
VAULT_MANIFEST_BYTES_MAX: Final = 4 << 20
VAULT_NOTES_LISTED_MAX: Final = 10_000
VAULT_PROOF_S: Final = 3_600  # after a contract's end, until a missing proof is overdue
VAULT_DUE_TAKEN_MAX: Final = 200  # overdue proofs taken up at once
VAULT_SQL_BYTES_MAX: Final = 256 << 20  # plain bytes of a delivery that a worker holds in memory
WATERMARK_CHARS_MAX: Final = 10_000  # of the term
WATERMARK_ROWS_MAX: Final = 100_000  # of a suspected file, looked at once
WATERMARK_RECIPIENTS_MAX: Final = 1_000
WATERMARK_FALSE_POSITIVE: Final = 1e-6  # to name anybody innocent, over all recipients
WATERMARK_BOUND_STEPS: Final = 30
VAULT_ANSWER_BYTES_MAX: Final = 64 << 20  # of one query over a sealed delivery

# protocols.delta
DELTA_PROFILES_MAX: Final = 64  # of one contract, at once
DELTA_PROFILE_S: Final = 30 * 86_400
DELTA_PROFILE_S_MAX: Final = 366 * 86_400
DELTA_FILES_MAX: Final = 64
DELTA_FILES_EACH_MAX: Final = 8  # of one profile
DELTA_FILE_BYTES_MAX: Final = 4 << 30
DELTA_GROUP_BYTES: Final = 64 << 20  # of Arrow, in one row group
DELTA_MESSAGE_BYTES_MAX: Final = 256 << 20  # one record batch of a provider
DELTA_URL_S: Final = 900.0  # how long the address of a file counts
DELTA_AGAIN_S: Final = 60.0  # the same query again is the same use, while nothing was fetched
DELTA_GRACE_S: Final = 5.0  # an address counts so long after the last byte, once all have gone out
DELTA_SERVED_TIMES: Final = 64  # readers fetch 5 MiB ahead for each column of each row group
DELTA_PAGE: Final = 500

# protocols.flight
DESCRIBED_BYTES_MAX: Final = 4 << 20  # the schemas of one contract's tables, in base64
FLIGHT_COMMAND_BYTES_MAX: Final = 65_536  # a descriptor, a ticket, the body of an action
FLIGHT_FIELDS_MAX: Final = 256  # in one message
FLIGHT_HEADER_CHARS_MAX: Final = 65_536
FLIGHT_KEPT_MAX: Final = 1_024  # statements and tickets of all callers
FLIGHT_KEPT_EACH_MAX: Final = 128  # of one caller
FLIGHT_STATEMENT_S: Final = 3_600.0
FLIGHT_TICKET_S: Final = 120.0  # from GetFlightInfo to DoGet
FLIGHT_PEER_S: Final = 120.0  # how long a node's token holds for the connection that showed it
FLIGHT_PEERS_MAX: Final = 256
FLIGHT_MESSAGE_BYTES_MAX: Final = 256 << 20  # one record batch of a provider
FLIGHT_BATCH_BYTES_MAX: Final = 8 << 20  # one message to a client; stock ones take 16 MiB
FLIGHT_STREAMS_MAX: Final = 40
FLIGHT_WATCH_S: Final = 0.2  # how often a running stream's caller is looked for
FLIGHT_GOODBYE_S: Final = 1.0  # for running calls to end by themselves at a stop
FLIGHT_PARAMETERS_MAX: Final = 256
FLIGHT_CATALOGS_MAX: Final = 64  # contracts listed where the caller names none

# apps
APP_CODE_BYTES_MAX: Final = 256 << 10  # SQL or Python
APP_MODEL_BYTES_MAX: Final = 64 << 20  # ONNX
APP_PIECE_BYTES: Final = 1 << 20  # of a package or a result, in one message
APP_MANIFEST_BYTES_MAX: Final = 64 << 10
APP_TABLES_MAX: Final = 8
APP_COLUMNS_MAX: Final = 200
APP_PARAMETERS_MAX: Final = 20
APP_PARAMETER_CHARS_MAX: Final = 1_000
APP_INPUT_ROWS_MAX: Final = 20_000_000
APP_INPUT_BYTES_MAX: Final = 2 << 30
APP_GROUPS_MAX: Final = 10_000
APP_GROUPS_BYTES_MAX: Final = 8 << 20
APP_OUTPUT_BYTES_MAX: Final = 64 << 20  # of what a program writes, before the rule is applied
APP_LOG_BYTES_MAX: Final = 64 << 10  # of what a program prints, kept for its host
APP_MEMORY_MB_MAX: Final = 4_096
APP_SECONDS_MAX: Final = 600
APP_THREADS_MAX: Final = 64
APP_JOBS_AT_ONCE: Final = 2
APP_JOBS_WAITING_MAX: Final = 64
APP_JOBS_OF_ONE_MAX: Final = 16  # waiting or running under one contract
APP_DEPLOYMENTS_OF_ONE_MAX: Final = 32  # versions under one contract
APP_LISTED_MAX: Final = 200
APP_HOLDERS_MAX: Final = 10_000  # nodes that took one listed version, each told when it ends
APP_LOOK_S: Final = 0.25  # how often a running program's contract is asked for
APP_ASK_S: Final = 2.0  # how often the author's node asks for what becomes of its jobs
APP_ASK_S_MAX: Final = 60.0  # while nothing changes
APP_RESULT_KEEP_S: Final = 7 * 86_400  # then the host removes what was released

# fabric
FABRIC_CONTRACTS_MAX: Final = 64  # contracts one query names
FABRIC_PARTS_MAX: Final = 32  # sub-queries of one query
FABRIC_KEYS_MAX: Final = 1_000  # values of a semi-join shown to a provider
FABRIC_KEY_CHARS_MAX: Final = 200
FABRIC_PACE_ANSWERS_MAX: Final = 50  # the latest, by which seconds are estimated
FABRIC_ANSWERS_SHOWN_MAX: Final = 200
FABRIC_ANSWERS_SEARCHED_MAX: Final = 2_000  # the latest, for those that stand on a source
FABRIC_LINEAGE_COLUMNS_MAX: Final = 100
FABRIC_LOCAL_S_MAX: Final = 120.0  # for the last step, from the last part to the first bytes
FABRIC_SHAPES_KEPT_S: Final = 30.0  # a part is bound anew each time, so an old shape is refused
FABRIC_SHAPES_KEPT_MAX: Final = 256
FABRIC_BYTES_MAX: Final = 4 << 30  # Arrow bytes that may come to one query

# sources.database: what one query may bring from a database to this node
PULL_ROWS_MAX: Final = 50_000_000
PULL_BYTES_MAX: Final = 8 << 30
PULL_VALUE_BYTES_MAX: Final = 64 << 20  # one text of one row
SOURCE_ASK_S_MAX: Final = 60.0  # shape, profile, sample
SOURCE_CONNECT_S_MAX: Final = 10
PLANS_KEPT_MAX: Final = 256
