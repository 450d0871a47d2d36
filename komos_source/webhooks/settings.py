"""Defaults and limits of the receiver and the spool, each in this one place."""

from __future__ import annotations

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
"""Deliveries that are drained at once at most."""
DRAIN_BYTES = 32 * 2**20
"""Bytes of the bodies that are drained at once at most: memory does not grow with the spool."""
MAX_REFUSED = 10
"""Deliveries that the destination may refuse, and load no other, before a load gives up; and
deliveries set aside that a load tries again."""
