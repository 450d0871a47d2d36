"""Names, defaults and limits, each in this one place."""

from __future__ import annotations

SOURCE_NAME = "komos"
PIPELINE_NAME = "komos_task_run_logs"
DATASET_NAME = "komos"
DESTINATION = "duckdb"
DUCKDB_FILE = "komos.duckdb"
TABLE_FORMAT = "delta"
"""On a filesystem; keeps each entry once, as plain Parquet does not."""
TABLE_FORMAT_VARIABLE = "SOURCES__KOMOS__TABLE_FORMAT"

BASE_URL = "https://api.komos.ai"
API_PREFIX = "/public/v1"
API_KEY_VARIABLE = "SOURCES__KOMOS__API_KEY"
FALLBACK_API_KEY_VARIABLE = "KOMOS_API_KEY"
"""Komos' own examples call it so; read when dlt's configuration has no key."""

# The API as documented.
TASKS_PER_PAGE = 100
RUNS_WINDOW = 50
"""``GET /tasks/{id}/runs`` answers at most this many runs, the newest, and has no paging."""
TERMINAL_STATUSES = frozenset({"COMPLETED", "FAILED", "CANCELLED"})

# How we ask.
MAX_CONCURRENCY = 8
MAX_TRIES = 5
BACKOFF = 0.5
"""Seconds before the second try; doubles with every further one, with jitter."""
MAX_BACKOFF = 30.0
MAX_RETRY_AFTER = 300.0
"""Seconds; a server that wants a longer wait is asked again by the next load instead."""
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
MAX_FAILURES_IN_A_ROW = 16
"""So many requests given up in a row mean the API is gone: the next load does the rest."""
BUFFERED_BYTES = 24 * 2**20
"""Bodies held in memory at once; one that is larger than all of this is held alone."""
INLINE_BYTES = 256 * 2**10
"""Up to this size an answer is parsed on the event loop: a thread would cost more."""

ALONE_BYTES = 256 * 2**10
"""Bytes; a larger log is decoded on a thread of its own, smaller ones are decoded together."""
DECODED_TOGETHER = 32
"""Logs decoded together at most."""

# What we keep.
SETTLE_AFTER = 600.0
"""Seconds past a run's end after which its log counts as complete."""
ROWS_PER_BATCH = 122_880
"""Rows handed over at once: as many as in one of DuckDB's row groups."""
ROWS_PER_GROUP = 20_480
"""Rows in a Parquet row group: so many of them that DuckDB's threads end at the same time."""
GIVEN_CURSORS = 10_000
"""Cursors kept for runs named by id; the oldest are forgotten first (a cursor is a cache)."""
DUCKDB_MEMORY = "256MB"
"""What DuckDB may use in a loading process."""
DUCKDB_LOG = "4MB"
"""Size of DuckDB's write-ahead log from which a commit goes into the file itself."""

# How long a load waits for another process before it says who is in the way.
LOCK_TIMEOUT = 60.0
HELD_WHILE_READING = 1.0
"""Seconds of reading the API after which a DuckDB file is let go until there are rows to load."""

# Webhooks.
WEBHOOK_PEPPER = "komos-webhook-pepper"
"""Komos' own, as documented; an organisation may set another."""
WEBHOOK_MIN_SECRET = 8
"""Characters of a secret after ``wh_``; a shorter one could be guessed."""
DEMO_WEBHOOK_SECRET = "wh_demo_secret"  # noqa: S105 - public on purpose
"""The emulator's default; the receiver warns if it is used."""
WEBHOOK_TOLERANCE = 300.0
"""Seconds by which the signed time of a delivery may differ from this machine's clock."""
WEBHOOK_RECENT_SIGNATURES = 100_000
"""Signatures of stored deliveries that a receiver remembers while their time is accepted."""
WEBHOOK_MAX_BODY = 5 * 2**20
"""Bytes of one delivery's body; a larger one is refused while it is read."""
WEBHOOK_HELD_BYTES = 64 * 2**20
"""Bytes of bodies in memory at once. Beyond, the body that has been read for longest is refused."""
WEBHOOK_HEAD_BYTES = 16 * 2**10
"""Bytes of a request's head, of a chunk's head and of trailers."""
WEBHOOK_HEAD_TIMEOUT = 10.0
"""Seconds a sender may take for the head of a request."""
WEBHOOK_READ_TIMEOUT = 30.0
"""Seconds a sender may take for one body."""
WEBHOOK_COMMIT_TIMEOUT = 20.0
"""Seconds until a delivery that is not in the spool yet is answered with 503."""
WEBHOOK_REQUEST_TIMEOUT = 60.0
"""Seconds after its head until a request's connection is closed, whatever it waits for."""
WEBHOOK_IDLE_TIMEOUT = 5
"""Seconds that a connection stays open without a request."""
WEBHOOK_MAX_CONNECTIONS = 4_096
"""Open connections. Beyond, the one that has been sending its request for longest is closed."""
WEBHOOK_SPARE_DESCRIPTORS = 64
"""File descriptors that are not used for connections: the spool needs some."""
WEBHOOK_RETRY_AFTER = 10
"""Seconds after which a sender that could not be served should try again."""
REFUSAL_LOG_INTERVAL = 60.0
"""Seconds; refusals of one kind are logged once in this time, the others are counted."""
COMMIT_DELIVERIES = 512
"""Deliveries in one commit at most."""
SPOOL_URL = "sqlite:///komos_spool.db"
SPOOL_TIMEOUT = 10.0
"""Seconds to wait for a connection, a lock or a statement of the spool's database."""
SPOOL_RESERVE = 2**30
"""Bytes of disk that a SQLite spool leaves free: a load needs room to drain it."""
SPOOL_MAX_BYTES = 16 * 2**30
"""Bytes of deliveries that may wait in a spool."""
SPOOL_STATS_INTERVAL = 5.0
"""Seconds between two counts of the spool by a receiver."""
DRAIN_DELIVERIES = 5_000
"""Deliveries that are drained at once at most, ..."""
DRAIN_BYTES = 32 * 2**20
"""... and bytes of their bodies: so memory does not grow with the spool."""

# Following.
FOLLOW_TICK = 0.1
"""Seconds between two looks into the spool."""
FOLLOW_MAX_WAIT = 60.0
"""Seconds to wait at most after outages in a row."""
