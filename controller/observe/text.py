"""Sizes and times as people read them; JSON and metrics keep bytes and seconds."""

from collections.abc import Mapping
from typing import Any

MIB = 2**20
"""Bytes."""


def mib(size: float | None) -> str:
    """`1234 MiB`; a dash where the size is not known."""
    return "-" if size is None else f"{round(size / MIB)} MiB"


def stays(before: float, after: float) -> bool:
    """A balloon is told to stop where it is."""
    return abs(after - before) < MIB


def change(before: float, after: float) -> str:
    """`512 MiB -> 768 MiB (+256 MiB)`; or that it stays."""
    if stays(before, after):
        return f"stays at {mib(after)}"
    return f"{mib(before)} -> {mib(after)} ({round((after - before) / MIB):+d} MiB)"


def display_name(domain: Mapping[str, Any]) -> str:
    """What people know a domain of the `/state` document by: in KubeVirt `NAMESPACE/NAME`, as kubectl does."""
    namespace, machine = domain.get("namespace"), domain.get("virtual_machine")
    return f"{namespace}/{machine}" if namespace and machine else str(domain["name"])


def reason_with_advice(domain: Mapping[str, Any]) -> str:
    """Why a domain of the `/state` document is left alone, and what its user can do about it."""
    return f"{domain['reason_text']}: {domain['advice']}" if domain["advice"] else str(domain["reason_text"])


def troubles_of(state: Mapping[str, Any]) -> list[str]:
    """What is wrong, a line each, from the `/state` document: connections, and what keeps policies from counting."""
    down = [each for each in state["connections"] if not each["connected"]]
    lost = [each["error"] or f"{each['uri']}: not connected" for each in down]
    outage = [f"policies as last known: {state['outage']}"] if state["outage"] else []
    return [*lost, *outage, *(f"policy refused: {problem}" for problem in state["problems"]), *state["warnings"]]


def seconds(span: float | None) -> str:
    """`4s`, `2m05s`, `3h20m`; a dash where the span is not known."""
    if span is None:
        return "-"
    whole = max(0, round(span))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
