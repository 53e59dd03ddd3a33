"""What `ballast run --once` prints for people: one decision, domain by domain."""

from typing import Any

from controller.api.printable import for_people
from controller.engine.reasons import Reason
from controller.observe.text import change, mib, reason_with_advice, troubles_of

State = dict[str, Any]

MOVES = frozenset(str(reason) for reason in Reason if reason.moves)
"""Reasons that stand for a change."""


def table(state: State, refused: dict[str, str]) -> str:
    """A paragraph a domain; `refused` maps keys to libvirt's messages."""
    state, refused = for_people(state), for_people(refused)
    node = state["node"]
    head = (
        f"node {node['name']}: {mib(node['total'])}, budget {mib(node['budget'])}, "
        f"allocated {mib(node['allocated'])}, spare {mib(node['spare'])}"
    )
    lines = [head, *(f"! {trouble}" for trouble in troubles_of(state))]
    if not state["domains"]:
        return "\n".join([*lines, "no running domains"])
    return "\n".join([*lines, *(_domain(domain, refused.get(domain["key"])) for domain in state["domains"])])


def _domain(domain: State, refusal: str | None) -> str:
    owner = f"policy {domain['policy']}, {domain['mode']}" if domain["policy"] else "no policy"
    return (
        f"\n{domain['name']}  ({owner})\n"
        f"  demand {mib(domain['demand'])}, forecast {mib(domain['forecast'])} "
        f"(upper {mib(domain['upper'])}), "
        f"allocation {mib(domain['allocation'])}, target {mib(domain['target'])}\n"
        f"  {_verdict(domain, refusal)}"
    )


def _verdict(domain: State, refusal: str | None) -> str:
    """What was done, would be done, or was not, and why."""
    before, target, last = domain["allocation"], domain["target"], domain["last_action"]
    if refusal is not None:
        return f"libvirt refused: {refusal}"
    if last is not None:
        return f"changed {change(last['from'], last['to'])}: {last['reason_text']} [{last['reason']}]"
    why = f"{reason_with_advice(domain)} [{domain['reason']}]"
    if domain["mode"] == "Observe" and None not in {before, target} and before != target:
        later = "" if domain["reason"] in MOVES else ", not now"
        return f"would change {change(before, target)}{later}: {why}"
    return f"left alone: {why}"
