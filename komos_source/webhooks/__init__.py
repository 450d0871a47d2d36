"""Komos' webhooks: checked, kept durably, and drained by the loads.

Needs the extra ``webhooks`` (``pip install "komos-source[webhooks]"``).
"""
