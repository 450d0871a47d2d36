"""What loading costs, beside what else could be used: see README.md here."""
