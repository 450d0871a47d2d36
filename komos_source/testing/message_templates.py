"""What the nodes of a browser automation write: message templates, by kind of node and level."""

from __future__ import annotations

import random
from collections.abc import Callable

INFO: dict[str, tuple[str, ...]] = {
    "navigate": (
        "Navigated to https://shop.example.com/orders/{n}",
        "Page loaded in {ms} ms (https://shop.example.com/p/{uuid})",
        "Redirected to https://login.example.com/?next=/orders/{n}",
    ),
    "login": ("Signed in as user {n}", "Session {uuid} restored", "Cookie banner dismissed"),
    "click": ('Clicked "{label}"', "Clicked element #{css}", "Scrolled element #{css} into view"),
    "extract": (
        "Extracted {k} rows from table #{css}",
        'Found value "{label}" in #{css}',
        "Parsed {k} items in {ms} ms",
    ),
    "download": ("Downloaded invoice-{n}.pdf ({n} bytes)", "Saved file {uuid}.csv"),
    "wait": ("Waited {ms} ms for #{css}", "Element #{css} became visible after {ms} ms"),
    "submit": ('Submitted form "{label}"', "Form #{css} accepted, reference {uuid}"),
}
WARNING = (
    "Retrying element click after timeout ({k} of 3)",
    "Slow response: {ms} ms from https://shop.example.com/api/{n}",
    "Selector #{css} matched {k} elements, using the first",
    'Unexpected dialog "{label}" dismissed',
    "Session {uuid} about to expire",
    "Download took longer than {ms} ms",
)
ERROR = (
    "Element #{css} not found after {ms} ms",
    "Navigation to https://shop.example.com/orders/{n} timed out",
    'Login rejected: "{label}"',
    "Server answered {k} for https://shop.example.com/api/{n}",
    "Download of invoice-{n}.pdf failed after {k} tries",
    "Unhandled exception in step {uuid}",
)
CLEANUP = ("Screenshot {uuid}.png taken before giving up", "Page source of {n} bytes kept")
NEW_WARNING = "Consent layer v2 covers #{css}, trying to close it"
_LABELS = ("Next", "Export", "Download CSV", "Sign in", "Confirm order", "Größe wählen")
_SELECTORS = ("main-table", "next-page", "login-form", "price", "order-list", "submit")


def fill(template: str, pick: random.Random, new_id: Callable[[], str]) -> str:
    """A message from a template."""
    return template.format(
        n=pick.randrange(1000, 99999),
        ms=pick.randrange(50, 30000),
        k=pick.randrange(1, 60),
        uuid=new_id() if "{uuid}" in template else "",
        label=pick.choice(_LABELS),
        css=pick.choice(_SELECTORS),
    )
