"""The errors of this package. Each is a `KomosError`, whose message says what to do next."""

from __future__ import annotations

from datetime import datetime


class KomosError(Exception):
    """Base of all errors raised by this package."""


class UsageError(KomosError):
    """An argument cannot be used. Raised before any request is made."""


class ConfigurationError(KomosError):
    """A setting is missing or cannot be used."""


class LockedError(KomosError):
    """Timed out waiting for a lock held by another process."""


class DestinationError(KomosError):
    """The destination cannot be reached or refused the data."""


class NotLoadedError(DestinationError):
    """The dataset does not have the tables yet: nothing has been loaded into it."""


class SpoolError(KomosError):
    """The spool of webhook deliveries cannot be reached, or accepts nothing now."""


class AuthenticationError(KomosError):
    """The API refused the key (401, 403). Ends the load: every request would be refused."""


class ApiUnreachableError(KomosError):
    """No request was ever answered. Ends the load: there is nothing to load from."""


class RequestError(KomosError):
    """One request failed, after all its tries. Concerns one run or task; the load continues.

    Attributes:
        status: The HTTP status, or None when no answer came.
        served_at: The server's clock when it answered; None if unknown.
        detail: The text in ``detail`` of a JSON body, such as ``run_not_found``. None if there is
            none: the answer may come from a gateway and not from the API.
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
    """The answer is not what the API documents."""


class NotJsonError(AnswerError):
    """The answer is not JSON: cut off, or not from the API. Retried."""
