"""How a request to the API server fails, whatever the cause: one exception for callers to tell cases apart by."""

import json
import ssl
from http import HTTPStatus
from typing import Any

import urllib3

from controller.api.printable import cut, printable


class ApiError(Exception):
    """A request that was not granted. `str()` is one line for people, with the address or the server's own words."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float = 0.0) -> None:
        """`status` is the HTTP status, 0 without an answer; `reason` is Kubernetes' (`NotFound`), or ours without one.

        `retry_after_s`: how long the server asks to be left alone; 0 where it does not.
        """
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def unreachable(self) -> bool:
        """No answer at all: the server is away, or the network is."""
        return self.status == 0

    @property
    def unauthorized(self) -> bool:
        """The credentials are not (or no longer) valid."""
        return self.status == HTTPStatus.UNAUTHORIZED

    @property
    def forbidden(self) -> bool:
        """We are known, and may not do that."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def not_found(self) -> bool:
        """There is no such object, or its kind is not installed."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """The object was changed, or made, by someone else in between."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def gone(self) -> bool:
        """The resourceVersion is too old (compacted away): list again."""
        return self.status == HTTPStatus.GONE


def unreachable(server: str, cause: BaseException) -> ApiError:
    """No answer came."""
    return ApiError(0, "Unreachable", f"API server {server} does not answer: {_cause(cause)}")


def broken(server: str) -> ApiError:
    """A watch was ended before its time, as by an API server that is being stopped."""
    return ApiError(0, "Broken", f"API server {server} ended a watch before its time")


def late(server: str) -> ApiError:
    """An answer was not complete in its time."""
    return ApiError(0, "Unreachable", f"API server {server} does not answer: no answer in time")


def invalid(cause: str) -> ApiError:
    """An answer that makes no sense, and why."""
    return ApiError(HTTPStatus.OK, "InvalidAnswer", f"not an answer of an API server: {cause}; is a proxy in between?")


def refused(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error in an answer; `body` is a `Status` object where the API server itself wrote it."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        said = {"message": body[:_SHOWN_BYTES].decode(errors="replace").strip()}
    return of_status(said | {"code": status}, retry_after)


def of_status(said: object, retry_after: str | None = None) -> ApiError:
    """The error in a `Status` object, such as a watch sends as its last event; of anything else as far as it goes."""
    fields: dict[str, Any] = said if isinstance(said, dict) else {}
    status = _status(fields.get("code"))
    reason = _line(fields.get("reason"), _WORD_BYTES) or _phrase(status)
    message = _line(fields.get("message"), _MESSAGE_BYTES) or reason
    details = fields.get("details")
    asked = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    seconds = _seconds(retry_after if retry_after is not None else asked)
    return ApiError(status, reason, f"{message} ({status} {reason})", seconds)


_WORD_BYTES = 64
_MESSAGE_BYTES = 512
"""Of what a server says: API servers say all there is to say in less."""


def _status(code: object) -> int:
    """An HTTP status; 500 for what is none."""
    if isinstance(code, int) and 100 <= code <= 999:
        return int(code)
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _line(said: object, most: int) -> str:
    return cut(printable(said.strip()), most) if isinstance(said, str) else ""


_SHOWN_BYTES = 200
"""Of a body that is no Status: a proxy's page, say."""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.replace(" ", "")
    except ValueError:
        return "Unknown"


LONGEST_PAUSE_S = 60.0
"""Most seconds that a server, or a proxy before it, may ask to be left alone for: whoever is an hour late is lost."""


def _seconds(value: object) -> float:
    """Retry-After in seconds, 0 for what is no number; its other form, a date, is not used by Kubernetes."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0.0
    try:
        return max(0.0, min(float(value), LONGEST_PAUSE_S))  # NaN is not more than 0
    except (ValueError, OverflowError):
        return 0.0


def _cause(error: BaseException) -> str:
    """What the operating system or TLS said, out of what HTTP layers wrapped around it."""
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    for each in chain:
        if isinstance(each, OSError) and each.strerror and not isinstance(each, ssl.SSLEOFError):
            return each.strerror[:1].lower() + each.strerror[1:]
    timed_out = any(isinstance(each, TimeoutError | urllib3.exceptions.TimeoutError) for each in chain)
    return "no answer in time" if timed_out else "the connection broke off"
