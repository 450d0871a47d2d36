"""One load from lock to history; following, shards and reconciliation."""
