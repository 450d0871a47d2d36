"""Redaction of personal data and secrets in texts, before and after they are stored."""
