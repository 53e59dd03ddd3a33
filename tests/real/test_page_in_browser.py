"""The page of a node in a real Chromium: what is on it, and that its Content-Security-Policy is kept and in force."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from chromium import HEIGHT, WIDTH, Tab, browser

from controller.api.documents import load
from controller.engine import balloon
from controller.engine.decision import Action, Decision
from controller.engine.guest_pressure import PressureLevel
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.address import Address
from controller.observe.decisionhistory import DecisionHistory
from controller.observe.http import Endpoint
from controller.observe.routes import node_pages
from controller.observe.statusstore import StatusSnapshot, StatusStore
from controller.observe.timeseries import POINTS, STEP_S, TimeSeries

MIB = 2**20
HOSTILE = "<script>alert(1)</script>\"'&\u202e<img src=x onerror=alert(2)>"
SHOWN = HOSTILE.replace("\u202e", "\\u202e")
POLICY = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}, spec: {mode: Enforce}}"
SCHEMES = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}


class UpConnection:
    uri, connected, error = "qemu:///system", True, ""


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser() as opened:
        yield opened


@pytest.fixture
def phone(tab) -> Iterator[Tab]:
    """The tab, as wide as a phone."""
    tab.resize(390, 844)
    yield tab
    tab.resize(WIDTH, HEIGHT)


@contextmanager
def node(names: list[str]) -> Iterator[tuple[str, StatusStore]]:
    """The address of a node with these domains, which have lived for a while, and its status store."""
    status_store = StatusStore("node-1", lambda: now)
    facts = [DomainFacts(f"k{n}", f"u{n}", name, 1, 2048 * MIB, 2048 * MIB) for n, name in enumerate(names)]
    inventory = assign(facts, load(POLICY, "test").policies, NodeIdentity("node-1")).inventory
    now, state, time_series = 0.0, State.initial(), TimeSeries()
    for point in range(POINTS):
        now = point * STEP_S
        state = lived(align(state, inventory, now), point)
        time_series = time_series.extended(state, now)
    grown = [Action(0, "k0", names[0], 512 * MIB, 768 * MIB, Reason.FORECAST_GROW)] if names else []
    if names:
        moved, targets = ~state.polling.stable, state.observation.allocation + 128 * MIB
        reasons = np.full(len(moved), int(Reason.FORECAST_GROW))
        told = balloon.ordered(state.balloon, state.observation, inventory, moved, targets, reasons, now - 42)
        state = replace(state, balloon=told)
    decision_history = DecisionHistory().extended(state, Decision(tuple(grown)), {}, now)
    status_store.publish(
        StatusSnapshot(
            now, state, (UpConnection(),), (), True, decision_history=decision_history, time_series=time_series
        )
    )
    with Endpoint(Address("127.0.0.1", 0), status_store, more=node_pages(status_store)) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}", status_store


def lived(state: State, point: int) -> State:
    """Figures that rise and fall, other ones for each domain."""
    state = deepcopy(state)
    for row in range(len(state.inventory)):
        demand = (300 + 150 * math.sin(point / (5 + row % 7)) + 40 * (row % 11)) * MIB
        state.observation.demand[row] = demand
        state.estimate.forecast[row] = demand * (1.1 + 0.1 * math.cos(point / 6))
        state.estimate.upper[row] = demand * 1.25
        state.observation.allocation[row] = (512 if point < 30 else 768 + 64 * (row % 4)) * MIB
        state.polling.stable[row] = row % 3 == 0
        state.polling.interval[row] = 60 if row % 3 == 0 else 1
        state.pressure.level[row] = PressureLevel.SHORT if row % 9 == 4 else PressureLevel.NONE
    state.reason[:] = Reason.WITHIN_THRESHOLD
    return replace(state, host=replace(state.host, budget=96.0 * 1024 * MIB))


def names(count: int) -> list[str]:
    return [HOSTILE, "db-1", "web-1"][:count] if count <= 3 else [f"vm-{number:03d}" for number in range(count)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("count", [0, 3, 300])
def test_every_domain_is_on_the_page_and_the_browser_has_no_complaint(tab, count, scheme):
    with node(names(count)) as (url, _):
        tab.open(url, scheme)
        assert tab.run("document.querySelector('h1').textContent") == "node-1"
        assert tab.run("[...document.querySelectorAll('tbody a')].map(a => a.textContent)") == [
            SHOWN if name == HOSTILE else name for name in names(count)
        ]
        assert tab.run("document.querySelectorAll('tbody svg path.demand').length") == count
        assert tab.run("getComputedStyle(document.body).backgroundColor") == SCHEMES[scheme]
        assert tab.run("document.body.textContent.includes('No running domains.')") == (count == 0)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        assert tab.complaints == []


OVERFLOWING = """
[...document.querySelectorAll('body *')]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5 || each.scrollWidth > innerWidth)
    .map(each => each.outerHTML.slice(0, 80))
"""
"""What a reader would have to scroll sideways for."""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("count", [0, 3, 300])
def test_on_a_phone_nothing_is_scrolled_sideways_for(phone, count, scheme):
    with node(names(count)) as (url, _):
        phone.open(url, scheme)
        assert phone.run("document.querySelectorAll('tbody tr').length") == count
        assert phone.run(OVERFLOWING) == []
        assert phone.run("getComputedStyle(document.body).backgroundColor") == SCHEMES[scheme]
        assert phone.complaints == []


CUT = """
[...document.querySelectorAll('th, td, .scroll, dd, li, h1, p, a, button, label')]
    .filter(each => each.offsetParent !== null)
    .filter(each => each.scrollWidth > each.clientWidth && getComputedStyle(each).display !== 'inline')
    .map(each => each.outerHTML.slice(0, 80))
"""
"""What is wider than its place, so that it is cut, or lies over its neighbour."""
LONG = [
    "a-virtual-machine-with-a-rather-long-name-of-production-frontend-eu-central-1a-0123456789",
    "x" * 255,
    "Datenbank für Auswertungen (nachts)",
]
WIDTHS = (1200, 1120, 820, 400, 320)


@pytest.fixture(params=WIDTHS)
def sized(request, tab) -> Iterator[Tab]:
    """The tab, in one of the widths that screens and their halves have."""
    tab.resize(request.param, HEIGHT)
    yield tab
    tab.resize(WIDTH, HEIGHT)


def test_a_chart_is_as_wide_as_its_place_in_every_width(sized):
    with node(names(10)) as (url, _):
        sized.open(url)
        chart, area = (
            sized.run(f"(box => [box.left, box.right])(document.querySelector('tbody {part}').getBoundingClientRect())")
            for part in ("svg", "svg path.allocation")
        )
        edge = 2 / 140 * (chart[1] - chart[0])
        assert area == pytest.approx([chart[0] + edge, chart[1] - edge], abs=1)


@pytest.mark.parametrize("domains", [names(1), names(10), names(60), LONG], ids=["one", "ten", "sixty", "long names"])
def test_every_column_can_be_read_in_every_width(sized, domains):
    with node(domains) as (url, _):
        sized.open(url)
        assert sized.run(OVERFLOWING) == []
        assert sized.run(CUT) == []
        sized.open(f"{url}/domain?key=k0")
        assert sized.run(OVERFLOWING) == []


def test_whatever_goes_wrong_can_be_read_in_every_width(sized):
    with node(names(10)) as (url, status_store):
        latest = status_store.latest
        assert latest is not None
        state = deepcopy(latest.state)
        state.reason[:] = np.resize([int(Reason.REFUSED), int(Reason.NO_STATISTICS), int(Reason.STUCK)], 10)
        state.observation.demand[::2] = np.nan
        host = replace(state.host, reading=replace(state.host.reading, pressure=True))
        status_store.publish(
            replace(
                latest,
                state=replace(state, host=host, minimums_fit=False),
                problems=("/etc/ballast/policies/production/batch-guests.yaml:14: spec.limits.minimum: broken",) * 3,
                refusals=dict.fromkeys(
                    state.inventory.keys, "internal error: unable to execute QEMU command 'balloon'"
                ),
                outage="MemoryPolicies: https://10.0.0.1:6443: connection refused",
            )
        )
        sized.open(url)
        assert sized.run("document.querySelectorAll('.pressure').length") == 2
        assert sized.run(OVERFLOWING) == []
        assert sized.run(CUT) == []


def test_the_time_that_charts_show_grows_with_the_history_while_the_page_is_open(tab):
    with node(names(3)) as (url, status_store):
        latest = status_store.latest
        assert latest is not None
        young = deepcopy(latest.time_series.values)
        young[:, :, : POINTS - 8] = np.nan
        status_store.publish(replace(latest, time_series=replace(latest.time_series, values=young)))
        tab.open(url)
        span = "document.querySelector('thead [data-sort=\"\"]').textContent"
        assert tab.run(span) == "Last 2 minutes"
        status_store.publish(latest)
        tab.run("refresh()")
        assert tab.run(span) == "Last 15 minutes"
        assert tab.complaints == []


def test_on_a_phone_neither_troubles_nor_terabytes_nor_long_names_are_cut(phone):
    with node(["n" * 255]) as (url, status_store):
        latest = status_store.latest
        assert latest is not None
        state = deepcopy(latest.state)
        state.observation.demand[:] = state.estimate.forecast[:] = state.observation.allocation[:] = 2.0**43
        status_store.publish(
            replace(latest, state=state, problems=("/etc/ballast/policies/" + "long" * 60 + ".yaml: broken",))
        )
        phone.open(url)
        assert phone.run("document.querySelector('.troubles').textContent").endswith("broken")
        assert phone.run(OVERFLOWING) == []
        phone.open(f"{url}/domain?key=k0")
        assert phone.run(OVERFLOWING) == []


def test_on_a_phone_every_figure_has_its_title_and_domains_can_be_sorted(phone):
    with node(names(30)) as (url, _):
        phone.open(url)
        title = "cell => getComputedStyle(cell, '::before').content"
        titles = phone.run(f"[...document.querySelectorAll('tbody tr:first-child td.number')].map({title})")
        assert titles == ['"Demand"', '"Forecast"', '"Allocation"', '"Target"', '"Looks every"']
        phone.run("[...document.querySelectorAll('thead button')].find(b => b.textContent === 'Demand').click()")
        demands = phone.run("[...document.querySelectorAll('tbody tr')].map(row => Number(row.cells[2].dataset.value))")
        assert demands == sorted(demands, reverse=True)


def test_on_a_wide_screen_titles_stand_above_the_columns_alone(tab):
    with node(names(3)) as (url, _):
        tab.open(url)
        content = "getComputedStyle(document.querySelector('tbody td.number'), '::before').content"
        assert tab.run(content) == "none"
        assert tab.run("document.querySelector('thead').getBoundingClientRect().height > 0")


def test_a_hostile_name_is_text_on_every_page(tab):
    with node([HOSTILE]) as (url, _):
        tab.open(url)
        tab.open(f"{url}{tab.run('document.querySelector(`tbody a`).getAttribute(`href`)')}")
        assert tab.run("document.querySelector('h1').textContent") == SHOWN
        assert tab.run("document.querySelectorAll('main script, main img').length") == 0
        assert tab.complaints == []


def test_a_domains_page_tells_its_decisions(tab):
    with node(["web"]) as (url, _):
        tab.open(f"{url}/domain?key=k0")
        assert "512 MiB → 768 MiB" in tab.run("document.querySelector('article').textContent").replace("->", "→")
        assert "forecast demand needs more memory" in tab.run("document.querySelector('article').textContent")


def test_the_table_is_sorted_and_filtered_and_stays_so_when_figures_are_renewed(tab):
    with node(names(30)) as (url, status_store):
        tab.open(url)
        tab.run("document.querySelectorAll('thead button')[1].click()")
        shown = "[...document.querySelectorAll('tbody tr:not([hidden])')].map(r => Number(r.cells[2].dataset.value))"
        demands = tab.run(shown)
        assert demands == sorted(demands, reverse=True)
        tab.run("(i => { i.value = 'VM-01'; i.dispatchEvent(new Event('input')); })(document.querySelector('input'))")
        assert len(tab.run(shown)) == 10
        latest = status_store.latest
        assert latest is not None
        state = deepcopy(latest.state)
        state.observation.demand[10] = 1900 * MIB
        status_store.publish(replace(latest, state=state))
        tab.run("refresh()")
        renewed = tab.run(shown)
        assert (len(renewed), renewed[0]) == (10, 1900 * MIB)
        assert tab.run("document.querySelector('input').value") == "VM-01"


@pytest.mark.parametrize(
    "break_in",
    [
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))",
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')",
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:1/x.png'}))",
    ],
    ids=["inline script", "inline style", "image from elsewhere"],
)
def test_the_content_security_policy_is_in_force(tab, break_in):
    with node(["web"]) as (url, _):
        tab.open(url)
        violated = "new Promise(done => addEventListener('securitypolicyviolation', e => done(e.disposition)))"
        assert tab.run(f"(() => {{ const seen = {violated}; {break_in}; return seen }})()") == "enforce"
        assert tab.run("window.broken") is None
