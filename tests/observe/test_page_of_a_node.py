"""The page of a node: what stands in each cell, and what is said above the table."""

import re

import numpy as np
import pytest

from controller.observe.page import COLUMNS, detail, overview
from controller.observe.timeseries import FEWEST, POINTS, TimeSeries

MIB = 2**20
NODE = {
    "name": "node-1",
    "budget": 4096 * MIB,
    "allocated": 3000 * MIB,
    "spare": 1096 * MIB,
    "demand": 1900 * MIB,
    "reclaimable": 900 * MIB,
    "host_use": 500 * MIB,
    "total": 8192 * MIB,
    "stable_domains": 1,
    "domains": 2,
    "reallocations_total": 7,
    "looks_total": 90,
    "fixed_looks_total": 900,
    "pressure": False,
    "minimums_fit": True,
}
DOMAIN = {
    "key": "k0",
    "name": "web",
    "namespace": None,
    "virtual_machine": None,
    "policy": "gold",
    "mode": "Enforce",
    "demand": 400 * MIB,
    "forecast": 410 * MIB,
    "allocation": 512 * MIB,
    "target": None,
    "interval_s": 5.0,
    "stable": True,
    "pressure": False,
    "reason": "WithinThreshold",
    "reason_text": "it has what it wants",
    "advice": "",
    "last_action": None,
}
NO_HISTORY = TimeSeries()
GROWN = {"from": 256 * MIB, "to": 512 * MIB, "age_s": 125.0, "reason": "ForecastGrow", "reason_text": "more is needed"}


def history(points: int, begun: dict[str, int]) -> TimeSeries:
    """Of a node for so many points, and of its domains for the newest ones only; all sizes 512 MiB."""
    values = np.full((3, len(begun), POINTS), np.nan, dtype=np.float32)
    for row, known in enumerate(begun.values()):
        assert known <= points
        values[:, row, POINTS - known :] = 512 * MIB
    return TimeSeries(0.0, {key: row for row, key in enumerate(begun)}, values)


def page(
    *domains: dict,
    senses: tuple[dict, ...] = (),
    time_series: TimeSeries = NO_HISTORY,
    warnings: tuple[str, ...] = (),
    **node: object,
) -> str:
    state = {
        "node": NODE | node,
        "version": "1.2",
        "connections": [],
        "outage": None,
        "problems": [],
        "warnings": [*warnings],
        "domains": [*domains],
        "senses": [*senses],
    }
    return "".join(overview(state, time_series))


def row(**changes: object) -> str:
    """Of one domain, without the chart and what keeps directions of text apart."""
    (found,) = re.findall(r"<tbody><tr>(.*)</tr></tbody>", page(DOMAIN | changes))
    return re.sub(r"<svg.*?</svg>|</?bdi>", "", found)


def test_figures_of_the_node_stand_above_the_table():
    assert re.findall(r"<dt>(.*?)</dt><dd><bdi>(.*?)</bdi></dd>", page()) == [
        ("Budget", "4096 MiB"),
        ("Allocated", "3000 MiB"),
        ("Spare", "1096 MiB"),
        ("Guests need", "1900 MiB"),
        ("Reclaimable", "900 MiB"),
        ("Host uses", "500 MiB of 8192 MiB"),
        ("Stable domains", "1 of 2"),
        ("Reallocations", "7"),
        ("Looks", "90 (900 at fixed intervals)"),
    ]


@pytest.mark.parametrize("pressure", [True, False])
def test_a_host_under_pressure_is_told(pressure):
    assert ("The host is under memory pressure." in page(pressure=pressure)) is pressure


def test_what_is_wrong_is_a_list_and_nothing_where_all_is_well():
    shown = re.sub("</?bdi>", "", page(warnings=("a<b", "c")))
    assert '<ul class="troubles" aria-label="What is wrong"><li>a&lt;b</li><li>c</li></ul>' in shown
    assert "What is wrong" not in page()


def test_every_sense_stands_there_with_what_it_takes_and_what_keeps_it():
    well = {"name": "swap", "source": "swap_in of guests' statistics", "domains": 2, "trouble": "", "cpu_percent": 0.0}
    off = well | {"name": "resident", "source": "/proc/PID/statm", "domains": 1, "cpu_percent": 0.034}
    off["trouble"] = "a<b: mount the host's there"
    shown = re.sub(r"</?bdi>", "", page(senses=(off, well)))
    assert re.findall(r"<li>(.*?)</li>", shown) == [
        "Sense resident: 1 domain, by /proc/PID/statm, 0.034 % of a processor"
        '<span class="more">Not of others: a&lt;b: mount the host&#x27;s there</span>',
        "Sense swap: 2 domains, by swap_in of guests&#x27; statistics",
    ]
    assert '<ul class="senses"' not in page()


def test_a_node_without_domains_says_so():
    assert "<p>No running domains.</p></main>" in page()
    assert "No running domains" not in page(DOMAIN)


def test_a_domain_is_a_row_with_its_sizes():
    assert re.findall(r'data-title="(\w+)" data-value="(-?\d+)">(.*?)<', row()) == [
        ("Demand", str(400 * MIB), "400 MiB"),
        ("Forecast", str(410 * MIB), "410 MiB"),
        ("Allocation", str(512 * MIB), "512 MiB"),
        ("Target", "-1", "-"),
    ]
    assert 'data-title="Looks every" data-value="5.0">5s<' in row()
    assert '<a href="/domain?key=k0">web</a><span class="more">gold, Enforce</span>' in row()
    assert '<span class="more">no policy</span>' in row(policy=None)


@pytest.mark.parametrize(
    ("changes", "kind", "shown"),
    [
        ({}, "calm", "=</span>&nbsp;stable"),
        ({"stable": False}, "restless", "~</span>&nbsp;unstable"),
        ({"pressure": True}, "pressed", "!</span>&nbsp;under pressure"),
    ],
)
def test_how_a_domain_is_has_a_colour_a_sign_and_a_word(changes, kind, shown):
    assert f'<td class="{kind} wide" data-title="Stability"><span aria-hidden="true">{shown}</td>' in row(**changes)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "it has what it wants"),
        ({"advice": "do that"}, "it has what it wants: do that"),
        (
            {"last_action": GROWN},
            '+256 MiB 2m05s ago: more is needed<span class="more">it has what it wants</span>',
        ),
        ({"last_action": GROWN, "reason": "ForecastGrow"}, "+256 MiB 2m05s ago: more is needed"),
    ],
)
def test_why_a_domain_is_as_it_is_stands_in_the_last_cell(changes, shown):
    assert row(**changes).endswith(f'<td class="why">{shown}</td>')


def test_a_machine_of_kubevirt_has_the_name_that_kubectl_knows():
    machine = {"name": "shop_web-1", "namespace": "shop", "virtual_machine": "web-1"}
    assert '<a href="/domain?key=k0">shop/web-1</a>' in row(**machine)
    shown = explained(domain=DOMAIN | machine)
    assert "<h1>shop/web-1</h1>" in shown
    assert "<title>shop/web-1 - Ballast</title>" in shown


EDGES = {"whole": "M2 34 ", "later": r"M\d{2,}\S* 34 "}
"""Where an area begins."""


@pytest.mark.parametrize(
    ("points", "span"), [(60, "Last 15 minutes"), (20, "Last 5 minutes"), (4, "Last minute"), (1, "Last minute")]
)
def test_charts_begin_where_the_history_of_the_node_begins(points, span):
    time_series = history(points, {"k0": points, "k1": max(points // 2, 1)})
    shown = page(DOMAIN, DOMAIN | {"key": "k1"}, time_series=time_series)
    assert 'data-sort="">Last minute</th>' in page(DOMAIN)
    assert f'data-sort="">{span}</th>' in shown
    assert f'<td class="wide" data-title="{span}">' in shown
    old, young = re.findall('<path class="allocation" d="([^"]*)"', shown.partition("<tbody>")[2])
    assert re.match(EDGES["whole" if points >= FEWEST else "later"], old)
    assert re.match(EDGES["later"], young)


def test_the_chart_of_a_domain_alone_begins_where_its_own_history_begins():
    time_series = history(60, {"k1": 60, "k0": 20})
    shown = explained(time_series=time_series)
    assert '<path class="allocation" d="M2 34 ' in shown
    assert '<p class="more">Last 5 minutes, 0 to 512 MiB</p>' in shown
    assert '<p class="more">' not in explained()
    time_series.values[0, time_series.index["k0"], -1] = 100 * MIB
    assert ", 0 to 512 MiB</p>" in explained(time_series=time_series)


def test_lines_of_the_charts_are_explained():
    assert re.findall(r'path class="(\w+)" d="([^"]*)"/></svg>(\w+)</li>', page(DOMAIN)) == [
        ("allocation", "M0 10 L0 2 L24 2 L24 10 Z", "allocation"),
        ("demand", "M0 5 L24 5", "demand"),
        ("forecast", "M0 5 L24 5", "forecast"),
    ]


def explained(*decisions: dict, time_series: TimeSeries = NO_HISTORY, domain: dict = DOMAIN) -> str:
    told = {"domains": [{"domain": domain, "standing": ["It is so."], "decisions": [*decisions]}]}
    return re.sub("</?bdi>", "", "".join(detail(told, time_series, "1.2")))


def test_decisions_about_a_domain_are_told_with_their_age():
    shown = explained({"age_s": 125.0, "sentences": ["Grown.", "As it lacked."]})
    assert "<h3>2m05s ago</h3><p class=head>Grown.</p><ul><li>As it lacked.</li></ul>" in shown
    assert "<h2>What holds now</h2><ul><li>It is so.</li></ul>" in shown
    assert "<title>web - Ballast</title>" in shown
    assert "None yet" not in shown
    assert "No such domain" not in shown


def test_a_domain_without_decisions_was_left_as_it_is():
    assert "<h2>Last decisions</h2><p>None yet: it was left as it is.</p>" in explained()


def test_a_domain_that_is_not_there_is_said():
    shown = "".join(detail({"domains": []}, TimeSeries(), "1.2"))
    assert "<title>No such domain - Ballast</title>" in shown
    assert "It may have been shut down, or undefined." in shown


def test_several_domains_of_one_name_are_shown_under_the_first():
    each = {"standing": [], "decisions": []}
    told = {"domains": [{"domain": DOMAIN | {"name": name}, **each} for name in ("web", "db")]}
    shown = re.sub("</?bdi>", "", "".join(detail(told, NO_HISTORY, "1.2")))
    assert "<title>web - Ballast</title>" in shown
    assert re.findall("<h1>(.*?)</h1>", shown) == ["web", "db"]


def test_columns_have_their_names():
    heads = re.findall(r"<th scope[^>]*>(.*?)</th>", page(DOMAIN).partition("<tbody>")[0])
    told = [(name and head, name) for head, (name, _) in zip(heads, COLUMNS, strict=True)]
    assert all(head == name for head, name in told)
