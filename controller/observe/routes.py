"""Pages that only a control loop has: `/` and `/domain` for people, `/explain` for `ballast explain`.

A strict Content-Security-Policy goes with them: nothing inline runs, and nothing is loaded from anywhere else.
"""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qs

from controller.observe.http import Page, Reply, Request, together
from controller.observe.page import detail, overview
from controller.observe.statusstore import StatusStore
from controller.observe.timeseries import TimeSeries

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)

ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Files of the folder `static`, with their types."""


def node_pages(status_store: StatusStore) -> Mapping[str, Page]:
    """By path, what a node's endpoint serves besides the state."""
    folder = files("controller.observe") / "static"
    assets = {f"/{name}": _asset((folder / name).read_bytes(), kind) for name, kind in ASSETS.items()}
    return {
        "/": lambda _: _html(overview(status_store.document(), _time_series(status_store))),
        "/domain": lambda request: _domain(status_store, _asked(request, "key")),
        "/explain": lambda request: _explain(status_store, _asked(request, "domain")),
        **assets,
    }


def _asked(request: Request, field: str) -> str:
    """The first value of a field; empty without one."""
    return parse_qs(request.query).get(field, [""])[0]


def _time_series(status_store: StatusStore) -> TimeSeries:
    return status_store.latest.time_series if status_store.latest else TimeSeries()


def _domain(status_store: StatusStore, key: str) -> Reply:
    explained = status_store.explain(key)
    status = HTTPStatus.OK if explained["domains"] else HTTPStatus.NOT_FOUND
    return _html(detail(explained, _time_series(status_store), status_store.document()["version"]), status)


def _explain(status_store: StatusStore, wanted: str) -> Reply:
    body = json.dumps(status_store.explain(wanted), allow_nan=False).encode()
    return Reply(HTTPStatus.OK, "application/json", body)


def _asset(body: bytes, kind: str) -> Page:
    return lambda _: Reply(HTTPStatus.OK, kind, body, HEADERS)


def _html(parts: Iterable[str], status: HTTPStatus = HTTPStatus.OK) -> Reply:
    return Reply(status, "text/html; charset=utf-8", together(part.encode(errors="replace") for part in parts), HEADERS)
