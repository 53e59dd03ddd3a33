"""A small client for what Ballast asks of the API server: plain JSON in and out, every request with a deadline.

The `kubernetes` package finds the server, the credentials and the TLS settings; its generated models are left
alone, for each would be memory that an agent on every node pays for. Thread-safe.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.utils.keepalive import tcp_keepalive_socket_options
from prometheus_client import Counter

from controller import __version__
from controller.cluster.access import AccessError, Load
from controller.cluster.deadline import Deadline, heed_deadlines
from controller.cluster.errors import ApiError, broken, late, of_status, refused, unreachable
from controller.cluster.resources import Object, Resource
from controller.cluster.shape import object_of, sound_list

CONNECT_S = 5.0
"""Seconds to open a connection: further away than that is away."""
ANSWER_S = 20.0
"""Seconds for a whole answer; the API server itself gives up a write after that order of time."""
WATCH_S = 300
"""Seconds after which the server is asked to end a watch, so that one that died silently is noticed."""
WATCH_GRACE_S = 15.0
"""Seconds that the server may end it late."""
PAGE = 250
"""Objects a page."""
MAXIMUM_ANSWER = 8 * 2**20
"""Bytes of an answer, or of one event of a watch, that are read. A page of the largest objects seen has 3 MiB; read as
JSON, the worst of 8 MiB takes 200 MiB, and agents may have 512."""
MAXIMUM_LIST = 32 * 2**20
"""Bytes of a whole list that is kept, in pages: ten thousand ordinary policies."""
MAXIMUM_PAGES = 2**30
"""Bytes of a whole list that is handed on page by page: a hundred thousand nodes, but no list without an end."""
MAXIMUM_REFUSAL = 65_536
"""Bytes that are read of an answer that says no."""
_CHUNK = 65_536
"""Bytes read at a time."""

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""The server leaves out all but the metadata of each object: of a Node that is a tenth. `{}`: `List` for a list."""


class Page(NamedTuple):
    """A part of a list."""

    items: list[Object]
    """Without `kind` and `apiVersion`, as lists are."""
    resource_version: str
    """Of the whole list; a watch goes on from here."""
    server_time: str = ""
    """The server's clock as it answered, RFC 3339; empty when it did not say."""


class Event(NamedTuple):
    """One event of a watch."""

    type: str
    """`ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK` (of which only the resourceVersion counts)."""
    object: Object


@dataclass(frozen=True, slots=True)
class _Session:
    """One reading of the access, and the connections made with it."""

    configuration: Configuration
    pool: urllib3.PoolManager

    def headers(self) -> dict[str, str]:
        """Credentials as of now: a service account's token is read again every minute."""
        settings = self.configuration.auth_settings()
        return {each["key"]: each["value"] for each in cast(Mapping[str, Any], settings).values() if each["value"]}


def request_counter() -> Counter:
    """client-go's metric, without the label `host`, as there is only one."""
    text = "Requests to the API server by method and status code, but for kopf's."
    return Counter("rest_client_requests", text, ["code", "method"], registry=None)


class Client:
    """Requests to one API server. Every method raises ApiError, and nothing else."""

    def __init__(
        self,
        load: Load,
        answer_s: float = ANSWER_S,
        monotonic: Callable[[], float] = time.monotonic,
        requests: Counter | None = None,
    ) -> None:
        """`load` reads the access: now, and again when the server no longer knows us. Raises AccessError.

        `answer_s` is the deadline of a request and its whole answer, in seconds; watches have their own. `requests` is
        that of another client, where both are to be counted together.
        """
        self.requests = requests or request_counter()
        self._load = load
        self._answer_s = answer_s
        self._monotonic = monotonic
        self._session = _session(load())

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._session.configuration.host)

    def get(
        self, resource: Resource, name: str, *, namespace: str | None = None, metadata_only: bool = False
    ) -> Object:
        """One object."""
        accept = _METADATA.format("") if metadata_only else _JSON
        answer = self._open("GET", resource.path(namespace=namespace, name=name), {}, accept=accept)
        return object_of(self._read(answer), resource.kind, name)

    def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        field_selector: str = "",
        label_selector: str = "",
        limit: int = PAGE,
        metadata_only: bool = False,
        most: int = MAXIMUM_PAGES,
    ) -> Iterator[Page]:
        """A list page by page, consistent as of its first page, in `most` bytes.

        ApiError.gone: it took too long, begin again.
        """
        query = {"limit": str(limit), "fieldSelector": field_selector, "labelSelector": label_selector}
        accept = _METADATA.format("List") if metadata_only else _JSON
        token = ""
        while True:
            answer = self._open("GET", resource.path(namespace=namespace), query | {"continue": token}, accept=accept)
            content = self._content(answer, min(most, MAXIMUM_ANSWER))
            most -= len(content)
            said = sound_list(self._understood(answer, content), resource.kind)
            metadata = said["metadata"]
            yield Page(said["items"] or [], metadata["resourceVersion"], _rfc3339(answer.response.headers.get("Date")))
            token = metadata.get("continue") or ""
            if not token:
                return

    def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        field_selector: str = "",
        label_selector: str = "",
        limit: int = PAGE,
    ) -> Page:
        """A whole list; asked for in pages, which bounds what the server holds for us."""
        for last_try in (False, True):
            items: list[Object] = []
            version = ""
            try:
                for page in self.pages(
                    resource,
                    namespace=namespace,
                    field_selector=field_selector,
                    label_selector=label_selector,
                    limit=limit,
                    most=MAXIMUM_LIST,
                ):
                    items += page.items
                    version = page.resource_version
            except ApiError as error:
                if last_try or not error.gone:
                    raise
            else:
                break
        return Page(items, version)

    def watch(
        self,
        resource: Resource,
        resource_version: str,
        *,
        namespace: str | None = None,
        field_selector: str = "",
        label_selector: str = "",
        timeout_s: int = WATCH_S,
        metadata_only: bool = False,
    ) -> "Watch":
        """Changes after `resource_version`, until the server ends it after `timeout_s`.

        ApiError of any kind, here or from the watch: list again. What broke it may have been a restore of the cluster
        from a backup, and one from a version that is yet to come hears nothing.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "fieldSelector": field_selector,
            "labelSelector": label_selector,
            "timeoutSeconds": str(timeout_s),
        }
        path = resource.path(namespace=namespace)
        accept = _METADATA.format("") if metadata_only else _JSON
        due = self._monotonic() + timeout_s
        answer = self._open("GET", path, query, accept=accept, answer_s=timeout_s + WATCH_GRACE_S)
        return Watch(self.server, resource.kind, answer, lambda: self._monotonic() >= due)

    def create(self, resource: Resource, body: Object, *, namespace: str | None = None) -> Object:
        """A new object. ApiError.conflict: the name is taken."""
        return self._write("POST", resource, resource.path(namespace=namespace), {}, body)

    def update(
        self, resource: Resource, body: Object, *, namespace: str | None = None, subresource: str = ""
    ) -> Object:
        """Replace an object as it was read. ApiError.conflict: someone else changed it since it was read."""
        path = resource.path(namespace=namespace, name=body["metadata"]["name"], subresource=subresource)
        return self._write("PUT", resource, path, {}, body)

    def merge(self, resource: Resource, name: str, patch: Object, *, namespace: str | None = None) -> Object:
        """Change the fields that stand in `patch` (RFC 7386)."""
        return self._write("PATCH", resource, resource.path(namespace=namespace, name=name), {}, patch, _MERGE)

    def apply(
        self,
        resource: Resource,
        body: Object,
        *,
        field_manager: str,
        namespace: str | None = None,
        subresource: str = "",
        force: bool = True,
    ) -> Object:
        """Server-side apply: make it so, creating the object if need be (`subresource` needs one that exists).

        `body` holds `apiVersion`, `kind`, `metadata.name` and the fields that `field_manager` is to own.
        """
        path = resource.path(namespace=namespace, name=body["metadata"]["name"], subresource=subresource)
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return self._write("PATCH", resource, path, query, body, _APPLY)

    def close(self) -> None:
        """Close idle connections."""
        self._session.pool.clear()

    def _write(
        self,
        method: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str],
        body: Object,
        content_type: str = _JSON,
    ) -> Object:
        """The object as it stands after a write."""
        name = body.get("metadata", {}).get("name", "")
        return object_of(self._read(self._open(method, path, query, body, content_type)), resource.kind, name)

    def _read(self, answer: "_Answer") -> Object:
        """The object in an answer."""
        return self._understood(answer, self._content(answer, MAXIMUM_ANSWER))

    def _content(self, answer: "_Answer", most: int) -> bytes:
        try:
            return b"".join(_pieces(answer, most))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _failed(self.server, answer, error) from error
        finally:
            answer.deadline.end()
            answer.response.close()

    def _understood(self, answer: "_Answer", content: bytes) -> Object:
        try:
            return _parsed(content)
        except ValueError as error:
            raise _failed(self.server, answer, error) from error

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        answer_s: float = 0.0,
    ) -> "_Answer":
        """An answer that granted the request, its body unread. Rotated credentials are read again once."""
        types, deadline_s = (accept, content_type), answer_s or self._answer_s
        try:
            return self._counted(method, path, query, body, types, deadline_s)
        except ApiError as error:
            if not error.unauthorized:
                raise
        self._session = _session(self._reload())
        return self._counted(method, path, query, body, types, deadline_s)

    def _counted(self, method: str, *request: Any) -> "_Answer":
        """As client-go counts them: one that nobody answered has the code `<error>`."""
        try:
            answer = _request(self._session, method, *request)
        except ApiError as error:
            self.requests.labels(str(error.status or "<error>"), method).inc()
            raise
        self.requests.labels(str(answer.response.status), method).inc()
        return answer

    def _reload(self) -> Configuration:
        try:
            return self._load()
        except AccessError as error:
            raise ApiError(0, "NoAccess", str(error)) from error


class Watch:
    """The events of one watch: iterate in one thread, close in any."""

    def __init__(self, server: str, kind: str, answer: "_Answer", due: Callable[[], bool]) -> None:
        """`kind` is that of its objects; `due` tells whether it is time for the server to end it."""
        self._server = server
        self._kind = kind
        self._answer = answer
        self._due = due
        self._closed = False

    def __iter__(self) -> Iterator[Event]:
        """Ends when the server ends the watch in its time, or after `close`. Raises ApiError."""
        try:
            for line in _lines(self._answer):
                yield _event(_parsed(line), self._kind)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise _failed(self._server, self._answer, error) from error
        finally:
            self._answer.deadline.end()
            self._answer.response.close()
        if not (self._closed or self._due()):
            raise broken(self._server)

    def close(self) -> None:
        """End it, also while another thread waits for its next event."""
        self._closed = True
        with suppress(OSError, ValueError, RuntimeError):  # it has ended already
            self._answer.response.shutdown()


class _Answer(NamedTuple):
    """What a server answers, its body unread, and until when that has to be read."""

    response: urllib3.BaseHTTPResponse
    deadline: Deadline


def _pieces(answer: _Answer, most: int) -> Iterator[bytes]:
    """The body as it comes, as it is: nobody asked for it to be compressed. Raises ValueError if it is too large."""
    size = 0
    for piece in answer.response.stream(_CHUNK, decode_content=False):
        size += len(piece)
        if size > most:
            raise ValueError(f"more than {most} bytes")
        yield piece


def _lines(answer: _Answer) -> Iterator[bytes]:
    """Lines as they come, without empty ones. Raises ValueError if one is too large."""
    rest = bytearray()
    for piece in answer.response.stream(_CHUNK, decode_content=False):
        *whole, last = piece.split(b"\n")
        for line in whole:
            rest += line
            if rest:
                yield bytes(rest)
            rest.clear()
        rest += last
        if len(rest) > MAXIMUM_ANSWER:
            raise ValueError(f"more than {MAXIMUM_ANSWER} bytes in one event")
    if rest:
        yield bytes(rest)


def _parsed(content: bytes) -> Object:
    """Raises ValueError."""
    try:
        said = json.loads(content)
    except ValueError as error:
        raise ValueError("no JSON in its answer") from error
    except RecursionError:
        raise ValueError("JSON that is nested too deeply in its answer") from None
    if not isinstance(said, dict):
        raise ValueError("no object in its answer")
    return said


def _event(said: Object, of: str) -> Event:
    """Raises ApiError where it is an error, or about another kind than `of`; ValueError where it is no event."""
    kind, told = said.get("type"), said.get("object")
    if kind == "ERROR":
        raise of_status(told)
    if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(told, dict):
        raise ValueError("no event in its answer")
    return Event(kind, object_of(told, of))


def _failed(server: str, answer: _Answer, error: Exception) -> ApiError:
    """Why an answer could not be read."""
    if answer.deadline.passed:
        return late(server)
    if isinstance(error, ValueError):
        message = f"API server {server}: {error}; is a proxy in between?"
        return ApiError(answer.response.status, "InvalidAnswer", message)
    return unreachable(server, error)


def _session(configuration: Configuration) -> _Session:
    configuration.socket_options = tcp_keepalive_socket_options()
    if not configuration.verify_ssl:  # somebody wants it so; urllib3 would say so at every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    manager = RESTClientObject(configuration).pool_manager
    heed_deadlines(manager)
    return _Session(configuration, manager)


def _request(
    session: _Session,
    method: str,
    path: str,
    query: Mapping[str, str],
    body: Object | None,
    types: tuple[str, str],
    answer_s: float,
) -> _Answer:
    """`types` are the media types of the answer and of the body."""
    server = str(session.configuration.host)
    accept, content_type = types
    given = {name: value for name, value in query.items() if value}
    deadline = Deadline(answer_s)
    try:
        deadline.begin()
        response = session.pool.request(
            method,
            server + path + (f"?{urlencode(given)}" if given else ""),
            body=None if body is None else json.dumps(body),
            headers=session.headers() | {"Accept": accept, "Content-Type": content_type, "User-Agent": _USER_AGENT},
            timeout=urllib3.Timeout(connect=min(CONNECT_S, answer_s), read=answer_s),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        answer = _Answer(response, deadline)
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise _refusal(answer)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        deadline.end()
        raise late(server) if deadline.passed else unreachable(server, error) from error
    except ApiError:
        deadline.end()
        raise
    return answer


def _refusal(answer: _Answer) -> ApiError:
    """What an answer says that does not grant the request."""
    body = b""
    with closing(answer.response):
        for piece in answer.response.stream(_CHUNK, decode_content=False):
            body += piece
            if len(body) > MAXIMUM_REFUSAL:
                break
    return refused(answer.response.status, body[:MAXIMUM_REFUSAL], answer.response.headers.get("Retry-After"))


_USER_AGENT = f"ballast/{__version__}"


def _rfc3339(date: str | None) -> str:
    """An HTTP date in the form that Kubernetes uses; empty for none, and for one that makes no sense."""
    try:
        return parsedate_to_datetime(date or "").astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
