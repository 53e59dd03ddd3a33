"""The local HTTP endpoint: `/state`, `/healthz`, `/readyz`, `/metrics`, and pages it is given. Read-only, never in the
loop's way.

It runs on threads of its own and reads the board, which needs no lock. Requests are bounded in number,
size and time.
"""

import errno
import json
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedReader, RawIOBase
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from controller.observe.address import Address
from controller.observe.board import Verdict
from controller.observe.metrics import Collecting, StateCollector, registry

_log = logging.getLogger(__name__)

CONCURRENT_REQUESTS = 8
"""A scraper, a `ballast top` and some probes; each costs a thread and the rendering of a whole state."""
LINE_LIMIT = 2048
"""Bytes of a request line; the longest path here has eight."""
REQUEST_LIMIT = 16 * 1024
"""Bytes of a whole request with its headers."""
REQUEST_TIMEOUT_S = 5.0
"""Seconds a client may let us wait: for its whole request, and then until it has taken the answer."""


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


Page = Callable[[str], Reply]
"""Answers a request, from the query of its address; empty without one."""

NO_PAGES: Mapping[str, Page] = {}


class Shown(Protocol):
    """What is shown: `Board`, or the like. Asked from several threads at a time."""

    def document(self) -> dict[str, Any]:
        """The `/state` document, JSON-able."""
        ...

    def health(self) -> Verdict:
        """The answer to `/healthz`."""
        ...

    def readiness(self) -> Verdict:
        """The answer to `/readyz`."""
        ...


class Pages:
    """What the endpoint answers, without the wire."""

    def __init__(
        self, board: Shown, collecting: Collecting = StateCollector, more: Mapping[str, Page] = NO_PAGES
    ) -> None:
        """`collecting` makes the metrics of the board's document; `more` are further pages, by path."""
        self._board = board
        self._registry: CollectorRegistry = registry(board, collecting)
        self._pages: dict[str, Page] = {
            "/state": lambda _query: self._state(),
            "/healthz": lambda _query: _verdict(board.health()),
            "/readyz": lambda _query: _verdict(board.readiness()),
            "/metrics": lambda _query: self._metrics(),
            **more,
        }

    def get(self, path: str) -> Reply:
        """The page at `path`; 404 lists the pages there are."""
        path, _, query = path.partition("?")
        page = self._pages.get(path)
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, f"no such page; there is {', '.join(self._pages)}")
        return page(query)

    def _state(self) -> Reply:
        body = json.dumps(self._board.document(), allow_nan=False).encode()
        return Reply(HTTPStatus.OK, "application/json", body)

    def _metrics(self) -> Reply:
        return Reply(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self._registry))


class Endpoint:
    """The listening server with its thread; a context manager."""

    def __init__(
        self,
        address: Address,
        board: Shown,
        collecting: Collecting = StateCollector,
        more: Mapping[str, Page] = NO_PAGES,
    ) -> None:
        """Bind at once. Raises ListenError when the address cannot be had."""
        try:
            self._server = _Server(address, Pages(board, collecting, more))
        except OSError as error:
            raise ListenError(f"--listen {address}: {error.strerror or error}; {_remedy(error)}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        if not address.loopback:
            _log.warning("--listen %s: whoever reaches this address can read the state; there is no login", address)

    @property
    def port(self) -> int:
        """The port in use (interesting when 0 was asked for)."""
        return int(self._server.server_address[1])

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * CONCURRENT_REQUESTS

    def __init__(self, address: Address, pages: Pages) -> None:
        self.pages = pages
        self._slots = threading.BoundedSemaphore(CONCURRENT_REQUESTS)
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the request a thread, or drop it when all are busy: waiting here would block the next too."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Run in the request's own thread; hands the slot back whatever happens."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """A client that went away is no news; anything else is logged, and the server goes on."""
        error = sys.exception()
        if isinstance(error, OSError):
            _log.debug("HTTP client %s: %s", client_address, error)
        else:
            _log.error("HTTP request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S
    server: _Server
    raw_requestline: bytes

    def setup(self) -> None:
        """Bound what one client can make us read."""
        super().setup()
        self.rfile = BufferedReader(_Bounded(self.connection, REQUEST_LIMIT, REQUEST_TIMEOUT_S))

    def parse_request(self) -> bool:
        """Refuse long lines and other methods before anything else is read of them."""
        if len(self.raw_requestline) > LINE_LIMIT:
            self.requestline = self.request_version = self.command = ""
            self._send(_text(HTTPStatus.REQUEST_URI_TOO_LONG, f"request line longer than {LINE_LIMIT} bytes"))
            return False
        if not super().parse_request():
            return False
        if self.command not in {"GET", "HEAD"}:
            self._send(_text(HTTPStatus.METHOD_NOT_ALLOWED, f"{self.command}: only GET and HEAD"))
            return False
        return True

    def do_GET(self) -> None:
        """Answer with the page; for HEAD `_send` leaves the body out."""
        self._send(self.server.pages.get(self.path))

    do_HEAD = do_GET  # noqa: N815 - the base class's naming

    def version_string(self) -> str:
        """Tell no more of the software than its name."""
        return "ballast"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Requests are not news."""
        _log.debug("%s %s", self.address_string(), format % args)

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
            self.wfile.write(reply.body)


class _Bounded(RawIOBase):
    """What a socket brings in, up to `limit` bytes and `seconds`: a client that sends drop by drop ends there too."""

    def __init__(self, connection: socket.socket, limit: int, seconds: float) -> None:
        self._connection = connection
        self._left = limit
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Some bytes; 0 at the limit. Raises TimeoutError."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the request was not complete in time")
        self._connection.settimeout(seconds)
        try:
            count = self._connection.recv_into(memoryview(buffer)[: self._left])
        finally:
            self._connection.settimeout(self._seconds)
        self._left -= count
        return count


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "end the Ballast that runs here already, or choose another address, or none"
    return "choose another address, or none"


def _verdict(verdict: Verdict) -> Reply:
    status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return _text(status, "ok" if verdict.ok else "\n".join(verdict.reasons))


def _text(status: HTTPStatus, text: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode())
