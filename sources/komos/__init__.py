"""Loads tasks, runs and logs of Komos (https://komos.ai), each log entry exactly once."""

from komos_source import komos_source

__all__ = ["komos_source"]
