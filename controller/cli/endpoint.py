"""Asks a running Ballast's HTTP endpoint: what `top` and `explain` share."""

import json
import shlex
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

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
        help="Address of the running Ballast (its --listen).",
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


def fetch(url: str, page: str = "/state", expected: Callable[[Any], bool] = is_state) -> dict[str, Any]:
    """The document at `page` of the Ballast at `url`. Raises ClickException where there is no `expected` one."""
    if not _is_url(url):
        raise click.UsageError(f"--url {url!r} is not a URL; write it like http://{DEFAULT_LISTEN}")
    stranger = listener(url)
    if stranger:
        raise click.ClickException(
            f"what answers at {url} belongs to user {stranger}, not to root, {SERVICE_USER!r} or you: it is not Ballast"
        )
    try:
        state = json.loads(_asked(f"{url.rstrip('/')}{page}"))
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
    if not expected(state):
        raise click.ClickException(f"{url} answers with something else; is that a Ballast?")
    return dict(state)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Ballast sends nobody elsewhere."""


def _asked(address: str) -> bytes:
    """The answer's body. Raises URLError, HTTPError, OSError, HTTPException, ValueError for one that has no end."""
    proxies = ProxyHandler({}) if loopback(address) else ProxyHandler()
    end = time.monotonic() + WHOLE_S
    body = bytearray()
    with build_opener(proxies, _NoRedirect).open(address, timeout=TIMEOUT_S) as reply:
        while part := reply.read1(PART):
            body += part
            if len(body) > LONGEST_ANSWER:
                raise ValueError("too long")
            if time.monotonic() > end:
                raise TimeoutError(f"its answer took longer than {WHOLE_S:g} s")
    return bytes(body)


def _is_url(url: str) -> bool:
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
