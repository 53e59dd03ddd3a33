"""Asks a running Ballast's HTTP endpoint: what `top` and `explain` share."""

import json
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import click

from controller.observe.address import DEFAULT_LISTEN
from controller.observe.text import printable

TIMEOUT_S = 5.0
"""Seconds to wait for an answer."""

Command = TypeVar("Command", bound=Callable[..., Any])


def url_option(command: Command) -> Command:
    """`--url`: where the running Ballast answers."""
    return click.option(
        "--url",
        default=f"http://{DEFAULT_LISTEN}",
        show_default=True,
        metavar="URL",
        help="Address of the running Ballast (its --listen).",
    )(command)


def fetch(url: str, page: str = "/state") -> dict[str, Any]:
    """The document at `page` of the Ballast at `url`. Raises ClickException when there is none."""
    if not _is_url(url):
        raise click.UsageError(f"--url {url!r} is not a URL; write it like http://{DEFAULT_LISTEN}")
    try:
        with urlopen(f"{url.rstrip('/')}{page}", timeout=TIMEOUT_S) as reply:  # noqa: S310 - the scheme is checked above
            state = json.load(reply)
    except HTTPError as error:
        error.close()
        raise click.ClickException(f"{url} answers {error.code} {error.reason}; is that a Ballast?") from error
    except (URLError, OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise click.ClickException(
            f"nothing answers at {url} ({cause}); is `ballast run` running, and --url what its --listen says?"
        ) from error
    except ValueError as error:
        raise click.ClickException(f"{url} does not answer with JSON; is that a Ballast?") from error
    if not _is_ballasts(state):
        raise click.ClickException(f"{url} answers with something else; is that a Ballast?")
    return dict(state)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _is_ballasts(state: Any) -> bool:
    """Whether it is about a node and its domains."""
    if not isinstance(state, dict):
        return False
    node, domains = state.get("node"), state.get("domains")
    named = isinstance(node, dict) and "name" in node
    return named and isinstance(domains, list) and all(isinstance(each, dict) for each in domains)


def explained(url: str, domain: str) -> dict[str, Any]:
    """The `/explain` document of the domain with this name or UUID. Raises ClickException that names those like it."""
    told = fetch(url, f"/explain?domain={quote(domain, safe='', errors='replace')}")
    if not told["domains"]:
        names = ", ".join(map(printable, told["near"]))
        remedy = f"is it one of {names}?" if names else "`ballast top` lists those there are"
        raise click.ClickException(f"DOMAIN {domain!r} is not known on {told['node']['name']}; {remedy}")
    return told
