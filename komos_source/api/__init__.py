"""The Komos API over HTTP."""
