"""The page for people without a dashboard: one host's domains, as HTML that needs nothing but its own origin.

Whatever comes from outside (names, reasons of libvirt) is escaped here; what a browser may load is said in `routes`.
"""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import chain
from typing import Any
from urllib.parse import quote

import numpy as np

from controller.api.printable import printable
from controller.observe.sparkline import sparkline
from controller.observe.text import MIB, display_name, mib, reason_with_advice, seconds, troubles_of
from controller.observe.timeseries import STEP_S, TimeSeries

Document = Mapping[str, Any]

COLUMNS = (
    ("Domain", "text"),
    ("", ""),
    ("Demand", "number"),
    ("Forecast", "number"),
    ("Allocation", "number"),
    ("Target", "number"),
    ("Looks every", "number"),
    ("Stability", "text"),
    ("Why", "text"),
)
"""Title, and how the column is sorted; empty: it is not, and its title is the time that the charts show. On a narrow
screen, where a domain is a card, not a row, each figure has its title beside it: the style sheet takes it from
`data-title`."""


def overview(state: Document, time_series: TimeSeries) -> Iterator[str]:
    """The whole node, from its `/state` document, in parts."""
    node = state["node"]
    head = (
        f"<h1>{_text(node['name'])}</h1>",
        _troubles(troubles_of(state)),
        _summary(node),
        _senses(state["senses"]),
    )
    return _page(f"{node['name']} - Ballast", chain(head, _domains(state["domains"], time_series)), state["version"])


def detail(explained: Document, time_series: TimeSeries, version: str) -> Iterator[str]:
    """One domain's last decisions, from its `/explain` document, in parts; what is not known is said."""
    parts = [_back()]
    for each in explained["domains"]:
        domain = each["domain"]
        points = time_series.points(domain["key"])
        chart = _chart(domain, time_series, points)
        parts.append(f"<h1>{_text(display_name(domain))}</h1>{_legend()}<div class=large>{chart}</div>")
        parts.append(_axes(domain, time_series, points))
        parts.append(f"<h2>What holds now</h2>{_sentences(each['standing'])}<h2>Last decisions</h2>")
        parts.append("".join(map(_decision, each["decisions"])) or "<p>None yet: it was left as it is.</p>")
    if not explained["domains"]:
        parts.append("<h1>No such domain</h1><p>It may have been shut down, or undefined.</p>")
    heading = display_name(explained["domains"][0]["domain"]) if explained["domains"] else "No such domain"
    return _page(f"{heading} - Ballast", parts, version)


def _page(heading: str, body: Iterable[str], version: str) -> Iterator[str]:
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(printable(heading))}</title>"
        '<link rel="icon" href="/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="/page.css">'
        '<script src="/page.js" defer></script></head>'
        '<body><main id="main">'
    )
    yield from body
    yield (
        f'</main><footer>Ballast {escape(version)}, read-only. <span id="age"></span>'
        '<button type="button" id="pause" aria-pressed="false" hidden>Pause updates</button>'
        "<noscript>Reload the page for newer figures.</noscript></footer></body></html>"
    )


def _troubles(troubles: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(trouble)}</li>" for trouble in troubles)
    return f'<ul class="troubles" aria-label="What is wrong">{items}</ul>' if items else ""


def _summary(node: Document) -> str:
    if "budget" not in node:
        return "<p>The loop has not run yet.</p>"
    figures = [
        ("Budget", mib(node["budget"])),
        ("Allocated", mib(node["allocated"])),
        ("Spare", mib(node["spare"])),
        ("Guests need", mib(node["demand"])),
        ("Reclaimable", mib(node["reclaimable"])),
        ("Host uses", f"{mib(node['host_use'])} of {mib(node['total'])}"),
        ("Stable domains", f"{node['stable_domains']} of {node['domains']}"),
        ("Reallocations", str(node["reallocations_total"])),
        ("Looks", f"{node['looks_total']} ({node['fixed_looks_total']} at fixed intervals)"),
    ]
    pressure = '<p class="pressure">! The host is under memory pressure.</p>' if node["pressure"] else ""
    unmet = "" if node["minimums_fit"] else '<p class="pressure">! The minimums here are more than the budget.</p>'
    items = "".join(f"<div><dt>{name}</dt><dd>{_text(figure)}</dd></div>" for name, figure in figures)
    return f'{pressure}{unmet}<dl class="summary">{items}</dl>'


def _senses(senses: Iterable[Document]) -> str:
    """What tells of guests between looks, what it takes, and why one of it does not."""
    items = "".join(f"<li>{_text(_sense(each))}{_because(each['trouble'])}</li>" for each in senses)
    return f'<ul class="senses" aria-label="Senses: what tells of guests between looks">{items}</ul>' if items else ""


def _sense(sense: Document) -> str:
    domains, cost = sense["domains"], sense["cpu_percent"]
    taken = f", {cost:.2g} % of a processor" if cost else ""
    return f"Sense {sense['name']}: {domains} domain{'' if domains == 1 else 's'}, by {sense['source']}{taken}"


def _because(trouble: str) -> str:
    return f'<span class="more">Not of others: {_text(trouble)}</span>' if trouble else ""


def _domains(domains: list[Document], time_series: TimeSeries) -> Iterator[str]:
    if not domains:
        yield "<p>No running domains.</p>"
        return
    points = time_series.points()
    heads = "".join(_head(name or _span(points), kind) for name, kind in COLUMNS)
    yield (
        '<div class="tools"><label id="filter" hidden>Filter '
        '<input type="search" name="filter" autocomplete="off"></label>'
        f"{_legend()}</div>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Domains"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>"
    )
    yield from (_row(domain, time_series, points) for domain in domains)
    yield "</tbody></table></div>"


def _legend() -> str:
    names = ("allocation", "demand", "forecast")
    keys = "".join(
        f'<li><svg viewBox="0 0 24 10" aria-hidden="true"><path class="{name}" d="{_sample(name)}"/></svg>{name}</li>'
        for name in names
    )
    return f'<ul class="legend" aria-label="Lines of the charts">{keys}</ul>'


def _sample(name: str) -> str:
    return "M0 10 L0 2 L24 2 L24 10 Z" if name == "allocation" else "M0 5 L24 5"


def _span(points: int) -> str:
    minutes = round(points * STEP_S / 60)
    return "Last minute" if minutes == 1 else f"Last {minutes} minutes"


def _axes(domain: Document, time_series: TimeSeries, points: int) -> str:
    """What a chart alone does not tell; nothing of an empty one."""
    known = time_series.of(domain["key"])
    if not np.isfinite(known).any():
        return ""
    return f'<p class="more">{_span(points)}, 0 to {mib(float(np.nanmax(known)))}</p>'


def _head(name: str, kind: str) -> str:
    return f'<th scope="col" class="{kind}" data-sort="{kind}">{name}</th>'


def _row(domain: Document, time_series: TimeSeries, points: int) -> str:
    sizes = "".join(_size(name, domain[name]) for name in ("demand", "forecast", "allocation", "target"))
    word, kind = ("stable", "calm") if domain["stable"] else ("unstable", "restless")
    if domain["pressure"]:
        word, kind = "under pressure", "pressed"
    sign = {"calm": "=", "restless": "~", "pressed": "!"}[kind]
    interval = domain["interval_s"]
    return (
        f'<tr><th scope="row"><a href="/domain?key={_address(domain["key"])}">{_text(display_name(domain))}</a>'
        f'<span class="more">{_owner(domain)}</span></th>'
        f'<td class="wide" data-title="{_span(points)}">{_chart(domain, time_series, points)}</td>{sizes}'
        f'<td class="number wide" data-title="Looks every" data-value="{interval}">{escape(seconds(interval))}</td>'
        f'<td class="{kind} wide" data-title="Stability"><span aria-hidden="true">{sign}</span>&nbsp;{word}</td>'
        f'<td class="why">{_why(domain)}</td></tr>'
    )


def _why(domain: Document) -> str:
    """The last change with its age and reason, and under it why the domain is as it is."""
    now, action = _text(reason_with_advice(domain)), domain["last_action"]
    if action is None:
        return now
    size = f"{round((action['to'] - action['from']) / MIB):+d} MiB"
    made = _text(f"{size} {seconds(action['age_s'])} ago: {action['reason_text']}")
    return made if action["reason"] == domain["reason"] else f'{made}<span class="more">{now}</span>'


def _owner(domain: Document) -> str:
    return f"{_text(domain['policy'])}, {_text(domain['mode'])}" if domain["policy"] else "no policy"


def _size(name: str, size: int | None) -> str:
    value = -1 if size is None else size
    return f'<td class="number" data-title="{name.capitalize()}" data-value="{value}">{escape(mib(size))}</td>'


def _chart(domain: Document, time_series: TimeSeries, points: int) -> str:
    sizes = ", ".join(f"{name} {mib(domain[name])}" for name in ("demand", "forecast", "allocation"))
    return sparkline(time_series.of(domain["key"])[:, -points:], escape(f"Now: {sizes}"))


def _decision(decision: Document) -> str:
    head, *rest = decision["sentences"]
    age = escape(seconds(decision["age_s"]))
    return f"<article><h3>{age} ago</h3><p class=head>{_text(head)}</p>{_sentences(rest)}</article>"


def _sentences(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(sentence)}</li>' for sentence in sentences)}</ul>"


def _back() -> str:
    return '<p><a href="/">All domains</a></p>'


def _address(key: str) -> str:
    return escape(quote(key, safe="", errors="replace"))


def _text(text: str) -> str:
    """Escaped; control characters are shown, so that none turns the direction of what follows."""
    return f"<bdi>{escape(printable(text))}</bdi>"
