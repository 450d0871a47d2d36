"""What can go wrong, worded for the person who has to act.

Every error of ours is a `KomosError`; the command catches that one class at its edge.
"""

from __future__ import annotations

from datetime import datetime


class KomosError(Exception):
    """Base of all errors raised by this package."""


class UsageError(KomosError):
    """An argument cannot be used: it is refused before any request is made."""


class ConfigurationError(KomosError):
    """A setting is missing or cannot be used."""


class LockedError(KomosError):
    """Another process holds what this load needs, and held it for the whole bounded wait."""


class DestinationError(KomosError):
    """The destination cannot be reached or refused the data."""


class NotLoadedError(DestinationError):
    """The dataset does not have the tables yet: nothing has been loaded into it."""


class SpoolError(KomosError):
    """The spool of webhook deliveries cannot be reached, or takes nothing now."""


class AuthenticationError(KomosError):
    """The API refused the key (401, 403). Ends the load: every other request would be refused."""


class ApiUnreachableError(KomosError):
    """No request was ever answered. Ends the load: there is nothing to load from."""


class RequestError(KomosError):
    """One request failed for good; concerns one run or task, the others go on.

    Attributes:
        status: The HTTP status, or None when no answer came.
        served_at: The server's clock when it refused; None if it did not say.
        detail: The API's own word for it, such as ``run_not_found``: the text in ``detail`` of a
            JSON body. None if the answer has none (a gateway's page).
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        served_at: datetime | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.served_at = served_at
        self.detail = detail


class NotVisibleError(RequestError):
    """404: the organisation behind this key cannot see that run or task."""


class AnswerError(RequestError):
    """An answer came, but its shape is not the documented one."""


class NotJsonError(AnswerError):
    """The body is not JSON: cut off, or not written by the API. Worth another try."""
