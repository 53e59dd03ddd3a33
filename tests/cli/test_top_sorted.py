"""`ballast top --sort --filter` and `ballast top DOMAIN`, on a running endpoint."""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from controller.cli.main import main
from controller.cli.sorting import SORTS
from controller.engine import balloon
from controller.engine.guest_pressure import PressureLevel
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.address import Address
from controller.observe.http import Endpoint
from controller.observe.routes import node_pages
from controller.observe.statusstore import StatusSnapshot, StatusStore
from controller.observe.timeseries import STEP_S, TimeSeries

MIB = 2**20


class SortedConnection:
    uri, connected, error = "qemu:///system", True, ""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Three domains: `mid`, `big` and `new`, of which nothing is known yet; `big` was moved, and is under pressure."""
    facts = [DomainFacts(name, name, name, 1, 4096 * MIB, 4096 * MIB) for name in ("mid", "big", "new")]
    inventory = replace(assign(facts, (), NodeIdentity("node-1")).inventory, obstacle=np.zeros(3))
    state = align(State.initial(), inventory, 0.0)
    for column in (state.observation.demand, state.estimate.forecast, state.observation.allocation):
        column[:] = [500 * MIB, 900 * MIB, np.nan]
    state.polling.interval[:] = [60, 1, 30]
    state.polling.stable[:] = [True, False, True]
    state.pressure.level[1] = PressureLevel.SHORT
    moved, targets, reasons = (
        np.array([False, True, False]),
        np.full(3, 1000.0 * MIB),
        np.full(3, int(Reason.PRESSURE_GROW)),
    )
    told = balloon.ordered(state.balloon, state.observation, state.inventory, moved, targets, reasons, 0.0)
    state = replace(state, balloon=told)
    time_series = TimeSeries().extended(state, 0.0).extended(state, STEP_S)
    status_store = StatusStore("node-1", lambda: 4.0)
    status_store.publish(StatusSnapshot(0.0, state, (SortedConnection(),), (), True, time_series=time_series))
    with Endpoint(Address("127.0.0.1", 0), status_store, more=node_pages(status_store)) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}"


@pytest.fixture(scope="module")
def kubevirt() -> Iterator[str]:
    """Two virtual machines of KubeVirt, in two namespaces, and a domain that has no pod."""
    found = [("u1@shop/launcher-1", "shop_web"), ("u2@bank/launcher-2", "bank_web"), ("u3@qemu:///system", "shop_old")]
    facts = [DomainFacts(key, key[:2], name, 1, 4096 * MIB, 4096 * MIB) for key, name in found]
    state = align(State.initial(), assign(facts, (), NodeIdentity("node-1")).inventory, 0.0)
    status_store = StatusStore("node-1", lambda: 0.0)
    status_store.publish(StatusSnapshot(0.0, state, (SortedConnection(),), (), True))
    with Endpoint(Address("127.0.0.1", 0), status_store, more=node_pages(status_store)) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}"


def test_virtual_machines_of_kubevirt_have_the_names_that_kubectl_knows(kubevirt):
    assert top("--url", kubevirt, "-o", "name", "--sort", "name").output.split() == ["bank/web", "shop/web", "shop_old"]
    assert top("--url", kubevirt, "-o", "name", "--filter", "shop/").output.split() == ["shop/web"]
    assert top("--url", kubevirt, "-o", "name", "--filter", "shop_").output.split() == ["shop/web", "shop_old"]
    table = top("--url", kubevirt, "--once").output
    assert ("bank/web" in table, "bank_web" in table) == (True, False)
    assert "bank/web" in top("--url", kubevirt, "bank/web", "--once").output


def top(*arguments: str):
    return CliRunner().invoke(main, ["top", *arguments])


def names(url: str, *arguments: str) -> list[str]:
    return [each["name"] for each in json.loads(top("--url", url, "-o", "json", *arguments).output)["domains"]]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["big", "mid", "new"]),
        ("demand", ["big", "mid", "new"]),
        ("forecast", ["big", "mid", "new"]),
        ("allocation", ["big", "mid", "new"]),
        ("target", ["big", "mid", "new"]),
        ("interval", ["mid", "new", "big"]),
        ("stability", ["big", "mid", "new"]),
        ("change", ["big", "mid", "new"]),
    ],
)
def test_domains_are_sorted_with_the_unknown_last(url, sort, expected):
    assert names(url, "--sort", sort) == expected


def test_without_a_sort_the_order_is_the_nodes(url):
    assert names(url) == ["mid", "big", "new"]


def test_an_unknown_sort_is_a_usage_error_that_lists_those_there_are(url):
    result = top("--url", url, "--sort", "colour")
    assert result.exit_code == 2
    assert all(sort in result.output for sort in SORTS)


@pytest.mark.parametrize("option", [("--sort", "name"), ("--filter", "big"), ("-o", "wide"), ("-o", "name")])
def test_one_domain_with_an_order_or_a_filter_is_a_usage_error(url, option):
    result = top("--url", url, "--once", "big", *option)
    assert result.exit_code == 2
    assert "leave them out with DOMAIN" in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [("BIG", ["big"]), ("decision", ["mid", "big", "new"]), ("zzz", []), ("", ["mid", "big", "new"])],
)
def test_domains_are_filtered_by_name_policy_or_reason(url, text, expected):
    assert names(url, "--filter", text) == expected


def test_the_table_shows_what_was_asked_for(url):
    result = top("--url", url, "--once", "--filter", "mid")
    assert result.exit_code == 0
    assert ("mid" in result.output, "big" in result.output) == (True, False)


def test_one_domains_history_is_drawn_with_what_holds_now(url):
    lines = top("--url", url, "--once", "big").output.splitlines()
    assert lines[:2] == ["big", "the last 14m00s:"]  # 80 columns hold 56 points
    demand = next(line for line in lines if line.strip().startswith("demand"))
    assert demand.split()[1:] == ["900", "MiB", "██"]
    assert max(map(len, lines[2:5])) == 80
    assert any(line.startswith("  Now: ") for line in lines)


def test_a_domain_without_figures_has_a_history_without_lines(url):
    result = top("--url", url, "--once", "new")
    assert (result.exit_code, "█" in result.output) == (0, False)


def test_an_unknown_domain_is_an_error_that_names_those_like_it(url):
    result = top("--url", url, "--once", "bigg")
    assert (result.exit_code, "is it one of big?" in result.output) == (1, True)
