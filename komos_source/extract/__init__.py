"""What to read from the API, how far each run has been read, and reading it."""
