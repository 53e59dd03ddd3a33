"""The local HTTP endpoint: `/state`, `/healthz`, `/readyz`, `/metrics`, and pages it is given. Read-only, never in the
loop's way.

It runs on threads of its own and reads the status store, which needs no lock. What a client may cost is bounded in
`clients`.
"""

import asyncio
import errno
import gzip
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from itertools import chain
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.api.printable import printable
from controller.observe.address import Address
from controller.observe.clients import BACKLOG, REQUEST_LIMIT, Clients
from controller.observe.metrics import Collecting, StateCollector, registry
from controller.observe.statusstore import ProbeResult
from controller.observe.webconfig import BusyError, WebConfig

_log = logging.getLogger(__name__)

RETRY_S = 10.0
"""Seconds between two tries to have an address that somebody else has."""
_PASSING = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})
"""What may pass, and what others can bring about: no reason to leave guests without their memory."""
LINE_LIMIT = 2048
"""Bytes of a request line; the longest path here has eight."""
OPENMETRICS_END = b"# EOF\n"
"""Last line of an OpenMetrics text."""
GZIP_LEVEL = 6
"""zlib's default: a scrape of 1,000 domains shrinks to an eighth in 7 ms; at 9 it is 4 % smaller, in 21 ms."""
PROBES = ("/healthz", "/readyz")
"""Pages whose answer is made at once, whatever else is being made or taken."""


class ListenError(Exception):
    """The endpoint cannot be opened; the message holds the address, the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Body of an answer, ready to send."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """Further ones."""


NO_HEADERS = Message()


@dataclass(frozen=True, slots=True)
class Request:
    """What a page may want to know of a request."""

    query: str = ""
    """Of its address; empty without one."""
    headers: Message = NO_HEADERS


Page = Callable[[Request], Reply]

NO_PAGES: Mapping[str, Page] = {}


class StatusSource(Protocol):
    """What is shown: `StatusStore`, or the like. Asked from several threads at a time."""

    def document(self) -> dict[str, Any]:
        """The `/state` document, JSON-able."""
        ...

    def health(self) -> ProbeResult:
        """The answer to `/healthz`."""
        ...

    def readiness(self) -> ProbeResult:
        """The answer to `/readyz`."""
        ...


class Pages:
    """What the endpoint answers, without the wire."""

    def __init__(
        self,
        status_store: StatusSource,
        collecting: Collecting = StateCollector,
        more: Mapping[str, Page] = NO_PAGES,
        failures: Callable[[], int] = int,
    ) -> None:
        """`collecting` makes the metrics of the status store's document; `more` are further pages, by path.

        `failures` are the tries in which the address could not be had; none if not given.
        """
        self._status_store = status_store
        self._registry: CollectorRegistry = registry(status_store, collecting, failures)
        self._pages: dict[str, Page] = {
            "/state": lambda _: self._state(),
            "/healthz": lambda _: _verdict(status_store.health()),
            "/readyz": lambda _: _verdict(status_store.readiness()),
            "/metrics": self._metrics,
            **more,
        }

    def get(self, path: str, headers: Message = NO_HEADERS) -> Reply:
        """The page at `path`, query and all; 404 lists the pages there are."""
        path, _, query = path.partition("?")
        page = self._pages.get(path)
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, f"no such page; there is {', '.join(self._pages)}")
        return page(Request(query, headers))

    def _state(self) -> Reply:
        return Reply(HTTPStatus.OK, "application/json", together(map(str.encode, _json(self._status_store.document()))))

    def _metrics(self, request: Request) -> Reply:
        """Written family by family: the whole is never there as one `str`."""
        asked = (each.partition(";")[0] for each in request.headers.get("Accept", "").split(","))
        encode, content_type = choose_encoder(",".join(asked))  # which cannot bear every parameter
        families = (encode(_One(each)).removesuffix(OPENMETRICS_END) for each in self._registry.collect())
        end = OPENMETRICS_END if "openmetrics" in content_type else b""
        if not gzip_accepted(request.headers.get("Accept-Encoding", "")):
            return Reply(HTTPStatus.OK, content_type, together(chain(families, [end])))
        body = BytesIO()
        with gzip.GzipFile(fileobj=body, mode="wb", compresslevel=GZIP_LEVEL) as packed:
            packed.writelines(chain(families, [end]))
        return Reply(HTTPStatus.OK, content_type, body.getvalue(), (("Content-Encoding", "gzip"),))


class Endpoint:
    """The listening server with its thread; a context manager."""

    def __init__(
        self,
        address: Address,
        status_store: StatusSource,
        collecting: Collecting = StateCollector,
        more: Mapping[str, Page] = NO_PAGES,
        secured: WebConfig | None = None,
    ) -> None:
        """Bind at once; an address that somebody else has is tried again. Raises ListenError for one of no use.

        With `secured` there is TLS, and each request needs a login.
        """
        self._address = address
        self._secured = secured
        self._option = "--secure-listen" if secured else "--listen"
        self._failures = 0
        """Tries in which the address could not be had."""
        self._listener: socket.socket | None = None
        self._listen()
        self._pages = Pages(status_store, collecting, more, lambda: self._failures)
        if not address.loopback and secured is None:
            _log.warning("--listen %s: whoever reaches this address can read the state; there is no login", address)

    @property
    def port(self) -> int:
        """The port in use (interesting when 0 was asked for); 0 while there is none."""
        return int(self._listener.getsockname()[1]) if self._listener else 0

    def _listen(self) -> None:
        """Raises ListenError."""
        try:
            self._listener = _listening(self._address)
        except OSError as error:
            problem = f"{self._option} {self._address}: {error.strerror or error}; {_remedy(error)}"
            if error.errno not in _PASSING:
                raise ListenError(problem) from error
            if not self._failures:
                _log.warning("%s. Going on without the page and /metrics; tried again until it works", problem)
            self._failures += 1
        else:
            if self._failures:
                _log.info("%s %s: works now", self._option, self._address)

    def __enter__(self) -> "Endpoint":
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._stop = asyncio.Event()
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self) -> None:
        with self._runner:
            self._runner.run(self._answer())

    async def _answer(self) -> None:
        while self._listener is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), RETRY_S)
                return
            try:
                self._listen()
            except ListenError as error:
                _log.error("%s. Not tried any more", error)
                return
        answers = HttpResponder(self._pages, self._address, self._secured)
        context = None if self._secured is None else self._secured.context
        await Clients(self._listener, answers, context).serve(self._stop)


class HttpResponder:
    """Requests and answers as bytes."""

    def __init__(self, pages: Pages, address: Address, secured: WebConfig | None = None) -> None:
        self._pages = pages
        self._address = address
        self._secured = secured

    def prompt(self, request: bytes) -> bool:
        """The probes: they cost nothing, and who asks them acts on silence. A login costs time."""
        if self._secured is not None:
            return False
        line = request.partition(b"\n")[0].split()
        return len(line) > 1 and line[1].partition(b"?")[0].decode(errors="replace") in PROBES

    def answer(self, request: bytes) -> tuple[bytes, bytes]:
        """Headers and body."""
        exchange = _Exchange(request, self._pages, self._address, self._secured)
        exchange.handle()
        return exchange.wfile.getvalue(), exchange.body


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer, both in memory."""

    raw_requestline: bytes
    rfile: BytesIO
    wfile: BytesIO

    def __init__(self, request: bytes, pages: Pages, address: Address, secured: WebConfig | None) -> None:
        # The base class would read from a socket at once.
        self.rfile, self.wfile = BytesIO(request), BytesIO()
        self._pages = pages
        self._address = address
        self._secured = secured
        self._size = len(request)
        self.body = b""

    def parse_request(self) -> bool:
        """Refuse what is too long and other methods before anything else is read of them."""
        self.requestline = self.request_version = self.command = ""
        if len(self.raw_requestline) > LINE_LIMIT:
            self._send(_text(HTTPStatus.REQUEST_URI_TOO_LONG, f"request line longer than {LINE_LIMIT} bytes"))
            return False
        if self._size >= REQUEST_LIMIT:
            text = f"request with headers longer than {REQUEST_LIMIT} bytes"
            self._send(_text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text))
            return False
        if not super().parse_request():
            return False
        if self.command not in {"GET", "HEAD"}:
            self._send(_text(HTTPStatus.METHOD_NOT_ALLOWED, f"{self.command}: only GET and HEAD"))
            return False
        hosts = self.headers.get_all("Host", [])
        if not all(map(self._address.answers_to, hosts)):
            text = "this is not the host that was asked for; use an address, or name it with --listen-name"
            self._send(_text(HTTPStatus.MISDIRECTED_REQUEST, text))
            return False
        return self._admitted()

    def _admitted(self) -> bool:
        try:
            if self._secured is None or self._secured.admits(self.headers.get("Authorization", "")):
                return True
        except BusyError:
            later = (("Retry-After", "1"),)
            text = b"other logins are being checked; try again\n"
            self._send(Reply(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text, later))
            return False
        asked = (("WWW-Authenticate", 'Basic realm="ballast"'),)
        self._send(Reply(HTTPStatus.UNAUTHORIZED, "text/plain; charset=utf-8", b"no login\n", asked))
        return False

    def do_GET(self) -> None:
        """Answer with the page; for HEAD `_send` leaves the body out."""
        self._send(self._pages.get(self.path, self.headers))

    do_HEAD = do_GET  # noqa: N815 - the base class's naming

    def version_string(self) -> str:
        """Tell no more of the software than its name."""
        return "ballast"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Requests are not news."""
        _log.debug(format, *args)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.body = reply.body


def together(parts: Iterable[bytes]) -> bytes:
    """A text made of parts. It is never there as one `str`, in which a single rare sign makes all take four bytes."""
    body = BytesIO()
    for part in parts:
        body.write(part)
    return body.getvalue()


def _json(document: Mapping[str, Any]) -> Iterator[str]:
    """Field by field, and of lists item by item."""
    for number, (name, value) in enumerate(document.items()):
        yield f"{', ' if number else '{'}{json.dumps(name)}: "
        if isinstance(value, list):
            yield from (f"{', ' if at else '['}{json.dumps(each, allow_nan=False)}" for at, each in enumerate(value))
            yield "]" if value else "[]"
        else:
            yield json.dumps(value, allow_nan=False)
    yield "}"


class _One(Collector):
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def _listening(address: Address) -> socket.socket:
    """Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is it another Ballast, which must not run beside this one? Else choose another address, or none"
    return "choose another address, or none"


def _verdict(verdict: ProbeResult) -> Reply:
    status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return _text(status, "ok" if verdict.ok else "\n".join(map(printable, verdict.reasons)))


def _text(status: HTTPStatus, text: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode())
