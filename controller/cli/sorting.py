"""Which domains `ballast top` shows, and in which order."""

from collections.abc import Iterator
from typing import Any

from controller.observe.text import display_name

SORTS = ("name", "demand", "forecast", "allocation", "target", "interval", "stability", "change")
"""What domains can be sorted by."""


def arranged(state: dict[str, Any], sort: str | None, wanted: str) -> dict[str, Any]:
    """A `/state` document with the domains that hold `wanted` in name, policy or reason, sorted.

    Names go up; sizes go down, the largest first; so do the interval, instability (under pressure first) and the age of
    the last change (newest first). What is not known comes last. Without `sort` the order stays.
    """
    text = wanted.lower()
    domains = [each for each in state["domains"] if any(text in said.lower() for said in _said(each))]
    if sort == "name":
        domains.sort(key=display_name)
    elif sort is not None:
        domains.sort(key=lambda each: _rank(each, sort))
    return state | {"domains": domains}


def _said(domain: dict[str, Any]) -> Iterator[str]:
    yield display_name(domain)
    yield from (str(domain[field]) for field in ("name", "policy", "reason", "reason_text"))


def _rank(domain: dict[str, Any], sort: str) -> tuple[bool, float]:
    """Ascending: unknown last, then the negative of what comes first when large."""
    if sort == "stability":
        return False, -(2 * domain["pressure"] + (not domain["stable"]))
    if sort == "change":
        action = domain["last_action"]
        return action is None, action["age_s"] if action else 0.0
    size = domain["interval_s" if sort == "interval" else sort]
    return size is None, -(size or 0)
