"""What a user would otherwise pick: each a short program of its own.

All are called alike, ``PEER ADDRESS RUNS_FILE DATABASE [VARIANT]``: a peer loads the logs of the
runs in RUNS_FILE (one id a line) into the DuckDB file DATABASE, in a table with columns ``id`` and
``timestamp`` besides others. What it remembers it keeps in the current directory, where it is
called a second time the same way.
"""
