"""Asks a running Ballast's HTTP endpoint: what `top` and `explain` share."""

import json
import shlex
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any, NamedTuple, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import click
from click.shell_completion import CompletionItem

from controller.api.printable import printable
from controller.cli.answers import is_explanation, is_state
from controller.cli.listener import SERVICE_USER, listener, loopback
from controller.observe.address import DEFAULT_LISTEN

TIMEOUT_S = 5.0
"""Seconds to wait for an answer, and for each further part of it."""
WHOLE_S = 30.0
"""Seconds that all of it may take."""
PART = 2**16
"""Bytes."""
NO_LOCK: AbstractContextManager[Any] = nullcontext()
LONGEST_ANSWER = 2**26
"""Bytes; 64 MiB. A domain has less than one KiB of the state."""

Command = TypeVar("Command", bound=Callable[..., Any])


def url_option(command: Command) -> Command:
    """`--url`: where the running Ballast answers."""
    return click.option(
        "--url",
        default=f"http://{DEFAULT_LISTEN}",
        show_default=True,
        envvar="BALLAST_URL",
        metavar="URL",
        help="Address of the running Ballast: its --listen, or https://USER:PASSWORD@HOST:PORT for its "
        "--secure-listen, whose certificate the system or the file in SSL_CERT_FILE must trust.",
    )(command)


def complete_domains(context: click.Context, _argument: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: domains that the running Ballast knows. One whose name a shell would take for more is not among
    them, as it is put into the command line as it is.
    """
    try:
        names = {
            str(each["name"]) for each in fetch(context.params.get("url") or f"http://{DEFAULT_LISTEN}")["domains"]
        }
    except click.ClickException:
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete) and shlex.quote(name) == name]


def fetch(
    url: str,
    page: str = "/state",
    expected: Callable[[Any], bool] = is_state,
    *,
    most: int = LONGEST_ANSWER,
    whole_s: float = WHOLE_S,
    parsing: AbstractContextManager[Any] = NO_LOCK,
) -> dict[str, Any]:
    """The document at `page` of the Ballast at `url`, of at most so many bytes, here within so many seconds.

    `parsing` is held while it is read. Raises ClickException where there is no `expected` one.
    """
    if not is_url(url):
        raise click.UsageError(f"--url {url!r} is not a URL; write it like http://{DEFAULT_LISTEN}")
    url, login = _apart(url)
    stranger = listener(url)
    if stranger:
        raise click.ClickException(
            f"what answers at {url} belongs to user {stranger}, not to root, {SERVICE_USER!r} or you: it is not Ballast"
        )
    try:
        answer = _asked(f"{url.rstrip('/')}{page}", login, most, whole_s)
        with parsing:
            state = json.loads(answer)
            is_expected = expected(state)
    except HTTPError as error:
        error.close()
        raise click.ClickException(f"{url} answers {error.code} {error.reason}; is that a Ballast?") from error
    except (URLError, OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise click.ClickException(
            f"nothing answers at {url} ({cause}); is `ballast run` running, and --url what its --listen says?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{url} does not answer with JSON; is that a Ballast?") from error
    if not is_expected:
        raise click.ClickException(f"{url} answers with something else; is that a Ballast?")
    return dict(state)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Ballast sends nobody elsewhere."""


def _apart(url: str) -> tuple[str, str]:
    """The URL without user and password, and these as the header of a request; empty without them."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    login = b64encode(unquote(user).encode(errors="replace")).decode() if at else ""
    return parts._replace(netloc=place).geturl(), login and f"Basic {login}"


class _Limits(NamedTuple):
    """Of all that is received, heads and what frames a body included."""

    most: int
    """Bytes."""
    whole_s: float
    end: float
    """Monotonic seconds."""


class _Received(RawIOBase):
    """What comes from a socket, as much and as long as the limits allow."""

    def __init__(self, raw: RawIOBase, limits: _Limits) -> None:
        self._raw, self._limits, self._count = raw, limits, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises OSError, ValueError for an answer that has no end."""
        if time.monotonic() > self._limits.end:
            raise TimeoutError(f"its answer took longer than {self._limits.whole_s:g} s")
        count = self._raw.readinto(buffer)
        self._count += count or 0
        if self._count > self._limits.most:
            raise ValueError("too long")
        return int(count) if count is not None else None

    def close(self) -> None:
        """The socket's stream with it."""
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """Within limits from its first byte: there is no end to interim answers, or to trailers, that a server may send."""

    def __init__(self, limits: _Limits, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.fp.close()
        self.fp = BufferedReader(_Received(sock.makefile("rb", buffering=0), limits))


def _within(limits: _Limits, kind: type[HTTPConnection]) -> Callable[..., HTTPConnection]:
    """Makes connections that read answers within limits."""

    def connection(*given: Any, **named: Any) -> HTTPConnection:
        made = kind(*given, **named)
        made.response_class = partial(_Response, limits)  # type: ignore[assignment]
        return made

    return connection


class _Http(HTTPHandler):
    def __init__(self, limits: _Limits) -> None:
        super().__init__()
        self._limits = limits

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_within(self._limits, HTTPConnection), req)


class _Https(HTTPSHandler):
    def __init__(self, limits: _Limits) -> None:
        super().__init__()
        self._limits = limits

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_within(self._limits, HTTPSConnection), req)


def _asked(address: str, login: str, most: int, whole_s: float) -> bytes:
    """The answer's body. Raises URLError, HTTPError, OSError, HTTPException, ValueError for one that has no end."""
    proxies = ProxyHandler({}) if loopback(address) else ProxyHandler()
    limits = _Limits(most, whole_s, time.monotonic() + whole_s)
    opener = build_opener(proxies, _NoRedirect, _Http(limits), _Https(limits))
    asked = Request(address, headers={"Authorization": login} if login else {})  # noqa: S310 - `is_url` looked at it
    body = bytearray()
    with opener.open(asked, timeout=min(TIMEOUT_S, whole_s)) as reply:
        while part := reply.read1(PART):
            body += part
    return bytes(body)


def is_url(url: str) -> bool:
    """Whether it can be asked."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.port != 0
    except ValueError:  # such as a bracket that is not closed, or a port beyond 65535
        return False


def explained(url: str, domain: str) -> dict[str, Any]:
    """The `/explain` document of the domain with this name or UUID. Raises ClickException that names those like it."""
    told = fetch(url, f"/explain?domain={quote(domain, safe='', errors='replace')}", is_explanation)
    if not told["domains"]:
        names = ", ".join(map(printable, told["near"]))
        remedy = f"is it one of {names}?" if names else "`ballast top` lists those there are"
        raise click.ClickException(f"DOMAIN {domain!r} is not known on {told['node']['name']}; {remedy}")
    return told
