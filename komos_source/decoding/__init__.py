"""Decoding of a run's log: bytes in, an Arrow table and rejected entries out."""
