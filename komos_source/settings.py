"""Names, defaults and limits, each in this one place."""

from __future__ import annotations

SOURCE_NAME = "komos"
PIPELINE_NAME = "komos_task_run_logs"
DATASET_NAME = "komos"
DESTINATION = "duckdb"
DUCKDB_FILE = f"{PIPELINE_NAME}.duckdb"
"""As dlt names it. A file called as its dataset makes ``FROM komos.task_run_logs`` ambiguous."""
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
BYTES_PER_BATCH = 4 * 2**20
"""Bytes of rows that dlt gets at once and writes as one Parquet row group, which is what a database
reads into memory at once; a larger row is alone in its group."""
BYTES_PER_FILE = 32 * 2**20
"""Size at which dlt begins another file of a load package; the direct merge merges file by file."""
LOGS_PER_BATCH = 10_000
"""Logs in one batch at most, so that logs without new entries are recorded while a load runs."""
GIVEN_CURSORS = 10_000
"""Cursors kept for runs named by id; the oldest are forgotten first (a cursor is a cache)."""
DUCKDB_MEMORY = "320MB"
"""What DuckDB may use in a loading process."""
DUCKDB_LOG = "16MB"
"""Size of DuckDB's write-ahead log from which a commit goes into the file itself; until then it is
held in memory."""
LONG_ROW = 2 * 2**10
"""Bytes; 122,880 rows that are longer on average, a row group of DuckDB's, exceed its memory."""

# How long a load waits for another process before it says who is in the way.
LOCK_TIMEOUT = 60.0
HELD_WHILE_READING = 1.0
"""Seconds of reading the API after which a DuckDB file is let go until there are rows to load."""

# Webhooks.
WEBHOOK_PEPPER = "komos-webhook-pepper"
"""Komos' own, as documented; an organisation may set another."""
WEBHOOK_TOLERANCE = 300.0
"""Seconds a delivery's signed time may lie from ours, either way."""
WEBHOOK_MAX_BODY = 5 * 2**20
"""Bytes of one delivery's body; a larger one is refused while it is read."""
WEBHOOK_HELD_BYTES = 64 * 2**20
"""Bodies held in memory at once, read or waiting for their commit; beyond, senders have to wait."""
WEBHOOK_READ_TIMEOUT = 30.0
"""Seconds a sender may take over one body."""
WEBHOOK_RETRY_AFTER = 10
"""Seconds after which a sender that could not be served should try again."""
COMMIT_DELIVERIES = 512
"""Deliveries that share one commit at most."""
SPOOL_URL = "sqlite:///komos_spool.db"
SPOOL_BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process that writes into a SQLite spool."""
DRAIN_DELIVERIES = 5_000
"""Deliveries that one load drains at most, ..."""
DRAIN_BYTES = 32 * 2**20
"""... and bytes of their bodies, after which it takes no more: so memory does not grow with the
spool."""

# Following.
FOLLOW_TICK = 0.1
"""Seconds between two looks into the spool."""
FOLLOW_MAX_WAIT = 60.0
"""Seconds to wait at most after outages in a row."""
