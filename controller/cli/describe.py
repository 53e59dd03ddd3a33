"""`ballast describe`: all that is known of one domain, as `kubectl describe` prints an object."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from controller.cli.endpoint import complete_domains, explained, url_option
from controller.cli.output import say
from controller.observe.text import display_name, mib, reason_with_advice, seconds

LABEL = 16
"""Columns before a value."""


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@url_option
def describe(domain: str, url: str) -> None:
    """Show all figures of DOMAIN (name or UUID), and its last decisions, one line each.

    `ballast explain` gives the reasons in sentences, and with -o json for programs.

    \b
    Examples:
      ballast describe web
    """
    told = explained(url, domain)
    for number, each in enumerate(told["domains"]):
        say(*([""] if number else []), *_fields(each["domain"], told["node"]["name"]), *_decisions(each["decisions"]))
    if told["more"]:
        say(f"{told['more']} more have this name; ask for one by its UUID")


def _fields(domain: dict[str, Any], node: str) -> Iterator[str]:
    values = {
        "Name": display_name(domain),
        "UUID": domain["uuid"],
        "Node": node,
        "Policy": domain["policy"] or "-",
        "Mode": domain["mode"] or "-",
        "Reason": f"{domain['reason']}: {reason_with_advice(domain)}",
        "Allocation": mib(domain["allocation"]),
        "Target": mib(domain["target"]),
        "Minimum": mib(domain["minimum"]),
        "Maximum": mib(domain["maximum"]),
        "Demand": mib(domain["demand"]),
        "Forecast": mib(domain["forecast"]),
        "Upper forecast": mib(domain["upper"]),
        "Stable": "yes" if domain["stable"] else "no",
        "Pressure": "yes" if domain["pressure"] else "no",
        "Looked at every": seconds(domain["interval_s"]),
        "Reallocations": str(domain["reallocations"]),
    }
    return (f"{f'{name}:':<{LABEL}} {value}" for name, value in values.items())


def _decisions(decisions: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Newest first, in columns."""
    if not decisions:
        yield f"{'Decisions:':<{LABEL}} none"
        return
    rows = [("AGE", "OUTCOME", "REASON", "FROM", "TO", "")]
    for each in decisions:
        sizes = (mib(each["allocation"]), mib(each["target"]))
        rows.append((seconds(each["age_s"]), each["outcome"], each["reason"], *sizes, each["error"]))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    yield "Decisions:"
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
