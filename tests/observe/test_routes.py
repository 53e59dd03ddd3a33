"""Pages for people, without a browser: what they may load, and that they hold text where names come from outside."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.http import Pages
from controller.observe.routes import ASSETS, node_pages
from controller.observe.statusstore import StatusSnapshot, StatusStore

MIB = 2**20
HOSTILE = "\"><img src=x onerror=alert(1)>&'\ud800\n"


class RoutedConnection:
    uri, connected, error = "qemu:///system", True, ""


def pages(*names: str, problems: tuple[str, ...] = (), minimums_fit: bool = True) -> Pages:
    """Of a node with these domains, of which nothing is known yet; keys are k0, k1, ..."""
    facts = [DomainFacts(f"k{n}", f"u{n}", name, 1, 1024 * MIB, 1024 * MIB) for n, name in enumerate(names)]
    inventory = assign(facts, (), NodeIdentity("node-1")).inventory
    status_store = StatusStore("node-1", lambda: 0.0)
    state = replace(align(State.initial(), inventory, 0.0), minimums_fit=minimums_fit)
    status_store.publish(StatusSnapshot(0.0, state, (RoutedConnection(),), problems, True))
    return Pages(status_store, more=node_pages(status_store))


class Elements(HTMLParser):
    """Tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", ["/", "/domain?key=k0", "/domain?key=none", *(f"/{name}" for name in ASSETS)])
def test_nothing_runs_inline_and_nothing_comes_from_elsewhere(path):
    headers = dict(pages("web").get(path).headers)
    directives = headers["Content-Security-Policy"].split("; ")
    assert directives[0] == "default-src 'none'"
    assert {each.split(" ", 1)[1] for each in directives} == {"'none'", "'self'"}
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/domain?key=k0"])
def test_a_hostile_name_adds_no_element_and_no_attribute(path):
    page = pages(HOSTILE, problems=(HOSTILE,)).get(path).body.decode()
    elements = Elements(page).found
    assert "img" not in {tag for tag, _ in elements}
    assert not any(name.startswith("on") or name == "style" for _, attributes in elements for name in attributes)


@pytest.mark.parametrize("path", ["/metrics", "/state", "/explain?domain=k0"])
def test_a_name_that_cannot_be_encoded_is_no_end_of_a_page(path):
    assert pages(HOSTILE).get(path).status == 200


def test_every_address_on_the_page_is_one_that_is_served():
    served = pages("web", "db")
    elements = Elements(served.get("/").body.decode()).found
    addresses = {value for _, attributes in elements for name, value in attributes.items() if name in {"href", "src"}}
    assert {"/page.css", "/page.js", "/icon.svg", "/domain?key=k0", "/domain?key=k1"} == addresses
    assert {served.get(str(address)).status for address in addresses} == {200}


def test_a_key_with_a_connection_in_it_finds_its_domain():
    status_store = StatusStore("node-1", lambda: 0.0)
    key = "u0@qemu+unix:///system?socket=/run/a&b=c"
    inventory = assign([DomainFacts(key, "u0", "web", 1, MIB, MIB)], (), NodeIdentity("node-1")).inventory
    status_store.publish(StatusSnapshot(0.0, align(State.initial(), inventory, 0.0), (RoutedConnection(),), (), True))
    served = Pages(status_store, more=node_pages(status_store))
    (address,) = [a["href"] for tag, a in Elements(served.get("/").body.decode()).found if tag == "a"]
    assert "<h1><bdi>web</bdi></h1>" in served.get(str(address)).body.decode()


def test_what_is_wrong_stands_on_the_page():
    assert "policy refused: a.yaml: broken" in pages(problems=("a.yaml: broken",)).get("/").body.decode()


@pytest.mark.parametrize("fit", [True, False])
def test_minimums_that_do_not_fit_stand_on_the_page(fit):
    page = pages("web", minimums_fit=fit).get("/").body.decode()
    assert ("The minimums here are more than the budget." in page) is not fit


def test_before_the_loop_has_run_there_is_a_page_that_says_so():
    status_store = StatusStore("node-1", lambda: 0.0)
    served = Pages(status_store, more=node_pages(status_store))
    assert "The loop has not run yet." in served.get("/").body.decode()
    assert served.get("/domain?key=k0").status == 404
    assert json.loads(served.get("/explain?domain=web").body)["domains"] == []


@pytest.mark.parametrize("query", ["", "?", "?key=", "?key=%ff%00", "?a=1&b=2&c=3&d=4&e=5", "?key=k0&key=k1;"])
def test_a_query_without_a_known_domain_is_answered_with_not_found_or_the_first(query):
    assert pages("web").get(f"/domain{query}").status in {200, 404}


def test_of_two_domains_that_are_asked_for_the_first_is_explained():
    (told,) = json.loads(pages("web", "db").get("/explain?domain=web&domain=db").body)["domains"]
    assert told["domain"]["name"] == "web"


def test_the_explanation_is_a_document_with_name_uuid_or_key():
    served = pages("web", "db")
    for wanted in ("web", "u0", "k0"):
        (told,) = json.loads(served.get(f"/explain?domain={wanted}").body)["domains"]
        assert (told["domain"]["name"], told["decisions"]) == ("web", [])
        assert told["standing"][-1] == "Now: no decision yet [None]."
