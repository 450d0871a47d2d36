"""The ``komos`` command, one file a command."""
