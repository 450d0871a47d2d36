"""Names, defaults and limits, each in this one place."""

from __future__ import annotations

SOURCE_NAME = "komos"
PIPELINE_NAME = "komos_task_run_logs"
DATASET_NAME = "komos"
DESTINATION = "duckdb"
DUCKDB_FILE = f"{PIPELINE_NAME}.duckdb"
"""As dlt names it. A file named like its dataset makes ``komos.task_run_logs`` ambiguous."""
TABLE_FORMAT = "delta"
"""On a filesystem; keeps each entry once, as plain Parquet does not."""
KNOWN_PROBLEMS_FILE = "komos.toml"
"""In the working directory."""

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
OTHER_STATUSES = frozenset({"PENDING", "RUNNING"})

# Requests.
MAX_CONCURRENCY = 8
MAX_TRIES = 5
BACKOFF = 0.5
"""Seconds before the second try; doubles with every further one, with jitter."""
MAX_BACKOFF = 30.0
MAX_RETRY_AFTER = 300.0
"""Seconds that one request waits in all because the API asks for it; if the API asks for more, the
request is left to the next load."""
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
"""Seconds without a byte."""
TOTAL_TIMEOUT = 300.0
"""Seconds that one answer may take, besides what `SLOWEST_RATE` allows."""
SLOWEST_RATE = 100_000
"""Bytes received that extend `TOTAL_TIMEOUT` by a second."""
MAX_FAILURES_IN_A_ROW = 16
"""After so many failed requests without a success the API may be down: one more request decides."""
MAX_TASK_PAGES = 1_000
"""Pages of the list of tasks that are read at most: a list may be wrong and never end."""
MAX_BODY = 2**30
"""Bytes of one answer, unpacked; a larger one is not read (``SOURCES__KOMOS__MAX_BODY``)."""
MAX_ERROR_BODY = 64 * 2**10
"""Bytes read of an answer that reports an error."""
MAX_DETAIL = 300
"""Characters kept of what an error answer says."""
BUFFERED_BYTES = 24 * 2**20
"""Bodies in memory at once. If they are more, only the largest of them is read on."""
INLINE_BYTES = 256 * 2**10
"""Up to this size an answer is decoded on the event loop: a thread would cost more."""

# What we keep.
MAX_ID_LENGTH = 255
"""Characters of an id: databases cannot index texts of any length."""
SETTLE_AFTER = 600.0
"""Seconds past a run's end after which its log counts as complete."""
GIVE_UP_AFTER = 86_400.0
"""Seconds for which the API must refuse a run for good before it counts as lost."""
LOADS_BEFORE_LOST = 3
"""Loads in which it must have refused it, at least."""
QUIET_AFTER = 3_600.0
"""Seconds without a change after which a run that has left its task's window is looked up less
often."""
QUIET_SHARE = 20
"""It is looked up every 1/20 of the time without a change; deliveries set aside likewise."""
FORGET_TASK_AFTER = 7 * 86_400.0
"""Seconds for which no list shows a task before what is kept of its list of runs is dropped."""
MAX_KEPT_RUNS = 10_000
"""Cursors of runs named by id, and lost runs, that are kept; the oldest are dropped first."""
MAX_STATUSES = 100
"""Undocumented statuses of runs that are kept, so that each is reported once."""
BYTES_PER_BATCH = 4 * 2**20
"""Bytes of rows that dlt gets at once and writes as one Parquet row group, which is what a database
reads into memory at once; a larger row is alone in its group."""
BYTES_PER_FILE = 32 * 2**20
"""Size at which dlt begins another file of a load package; the direct merge merges file by file."""
BYTES_PER_PACKAGE = 24 * 2**20
"""Bytes of rows after which a load begins another load package, where the database merges a whole
package in memory: dlt's merge in DuckDB takes five times the bytes of a package."""
LOGS_PER_BATCH = 10_000
"""Logs in one batch at most, so that logs without new entries are recorded while a load runs."""
DUCKDB_MEMORY = "320MB"
"""What DuckDB may use in a loading process."""
DUCKDB_LOG = "16MB"
"""Size of DuckDB's write-ahead log from which a commit goes into the file itself; until then it is
held in memory."""
LONG_ROW = 2 * 2**10
"""Bytes; 122,880 rows that are longer on average, a row group of DuckDB's, exceed its memory."""

# Alerts.
REMIND_AFTER = 7 * 86_400.0
"""Seconds after which a finding that is still there is sent again."""
RESOLVE_AFTER = 7_200.0
"""Seconds without a finding after which it is resolved: two looks of an hourly schedule."""

# How long a load waits for another process before it reports which process that is.
LOCK_TIMEOUT = 60.0

# Following.
FOLLOW_TICK = 0.1
"""Seconds between two looks into the spool."""
FOLLOW_MAX_WAIT = 60.0
"""Seconds to wait at most after outages in a row."""

# `komos logs --follow`.
LOG_WAIT = 1.0
"""Seconds between two looks at a log while it grows."""
LOG_WAIT_GROWTH = 1.5
"""How many times longer the wait becomes with each look that finds nothing new."""
LOG_MAX_WAIT = 15.0
"""Seconds between two looks at most."""
LOG_QUIET = 10.0
"""Seconds without a new entry, after a run's end, after which its log is no longer followed."""
LOG_RECONNECT_WAIT = 15.0
"""Seconds to wait after a look that failed."""
LOG_MAX_FAILURES = 20
"""Looks in a row that may fail before a log is no longer followed."""

# Ids of runs that are completed or looked up by their beginning.
MAX_CANDIDATES = 20
"""Ids that are listed at most."""

# `komos prune`.
PRUNED_RUNS_AT_ONCE = 5_000
"""Runs in one transaction at most."""
PRUNED_ENTRIES_AT_ONCE = 500_000
"""Entries after which a transaction takes no further run: what it deletes is held in memory."""

# `komos redact`.
REDACTED_ROWS_AT_ONCE = 20_000
"""Rows that are read at once, and changed in one transaction, at most."""
REDACTED_BYTES_AT_ONCE = 32 * 2**20
"""Characters of the texts of these rows, about: they are held in memory."""
