"""The last decisions about a domain as sentences, with the numbers they came from: what `/explain` answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any

from controller.engine.state import State
from controller.observe.chronicle import Chronicle, Entry, Figures, Outcome, figures, table
from controller.observe.text import MIB, change, mib, reason_with_advice, seconds, stays
from controller.observe.trail import Trail

TOGETHER_S = 30.0
"""Seconds between one domain's giving and another's getting within which they are told together: a balloon's way."""
NAMED = 3
"""Other domains that one sentence names, largest change first; the rest is counted."""
NEAR = 5
"""Names that are offered for one that is not known."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an explanation is made from: one publication."""

    state: State
    chronicle: Chronicle
    trail: Trail
    now: float
    """Monotonic seconds."""


def matching(domains: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """The domains of a `/state` document with this name, UUID or key: several where connections share a name."""
    return [each for each in domains if wanted in (each["name"], each["uuid"], each["key"])]


def near(domains: list[dict[str, Any]], wanted: str) -> list[str]:
    """Names like the one that is not known: spelt alike, or holding it."""
    names = sorted({each["name"] for each in domains})
    holding = [name for name in names if wanted and wanted.lower() in name.lower()]
    return list(dict.fromkeys([*get_close_matches(wanted, names, NEAR), *holding]))[:NEAR]


def explanation(domain: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    """One domain of the `/state` document, what holds now, how it went, its last decisions, newest first."""
    key = domain["key"]
    row = scene.state.inventory.index[key]
    changes = list(_changes(scene.chronicle))
    entries = reversed(scene.chronicle.entries.get(key, ()))
    return {
        "domain": dict(domain),
        "standing": standing(domain, figures(table(scene.state), row)),
        "trail": scene.trail.document(key),
        "decisions": [_decision(each, _others(each, key, changes, scene), scene.now) for each in entries],
    }


def standing(domain: Mapping[str, Any], seen: Figures) -> list[str]:
    """What holds now, a sentence each."""
    owner = f"MemoryPolicy {domain['policy']} ({domain['mode']})" if domain["policy"] else "No MemoryPolicy"
    pace = "stable" if domain["stable"] else "unstable"
    return [
        f"{owner} owns it; it is {pace} and looked at every {seconds(domain['interval_s'])}.",
        f"Allocation {mib(domain['allocation'])}, between {mib(domain['minimum'])} and {mib(domain['maximum'])}.",
        *_needs(seen),
        f"Now: {reason_with_advice(domain)} [{domain['reason']}].",
    ]


def _decision(entry: Entry, others: list[dict[str, Any]], now: float) -> dict[str, Any]:
    seen = entry.figures
    return {
        "age_s": round(now - entry.at, 1),
        "outcome": str(entry.outcome),
        "reason": str(entry.reason),
        "error": entry.error,
        **{name: round(size) if isfinite(size) else None for name, size in seen._asdict().items()},
        "others": others,
        "sentences": [_headline(entry, seen), *_needs(seen), *_told(others, entry)],
    }


def _headline(entry: Entry, seen: Figures) -> str:
    reason = f"{entry.reason.text} [{entry.reason}]"
    if entry.outcome is Outcome.NOTED:
        return f"Noted: {reason}."
    halted = stays(seen.allocation, seen.target)
    verb = {
        Outcome.DONE: "Halted" if halted else "Grown" if entry.grows else "Shrunk",
        Outcome.PROPOSED: "Enforce would change it",
        Outcome.REFUSED: "libvirt refused",
    }[entry.outcome]
    refusal = f" libvirt says: {entry.error}" if entry.error else ""
    return f"{verb}: {change(seen.allocation, seen.target)}: {reason}.{refusal}"


def _needs(seen: Figures) -> Iterator[str]:
    """Demand to wanted, against the threshold, and the budget it comes from."""
    if not isfinite(seen.demand):
        yield "The guest's demand is not known."
    elif not isfinite(seen.wanted):
        yield f"Demand {mib(seen.demand)}; there is no forecast."
    else:
        foreseen = seen.upper + seen.headroom
        yield (
            f"Demand {mib(seen.demand)}, forecast {mib(seen.forecast)}; "
            f"upper forecast {mib(seen.upper)} + headroom {mib(seen.headroom)} = {mib(foreseen)}."
        )
        if seen.wanted > foreseen + MIB:
            yield f"{_why_more(seen)} it is to have more: {mib(seen.wanted)}."
        off = seen.wanted - seen.allocation
        side = "above" if off > 0 else "below"
        beyond = "beyond" if abs(off) > seen.threshold else "within"
        yield f"That is {mib(abs(off))} {side} its allocation, {beyond} the threshold of {mib(seen.threshold)}."
    if isfinite(seen.budget):
        yield f"Budget of the node {mib(seen.budget)}, {mib(seen.spare)} of it spare."


def _why_more(seen: Figures) -> str:
    if seen.doubtful > MIB and seen.wanted < seen.allocation + MIB:
        return f"As {mib(seen.doubtful)} of what it counts as available is neither free nor page cache,"
    return "Under memory pressure"


@dataclass(frozen=True, slots=True)
class _Change:
    """A domain's allocation, changed or to be changed by `size` bytes."""

    key: str
    at: float
    outcome: Outcome
    size: float


def _changes(chronicle: Chronicle) -> Iterator[_Change]:
    for key, entries in chronicle.entries.items():
        for each in entries:
            if each.outcome in {Outcome.DONE, Outcome.PROPOSED}:
                seen = each.figures
                yield _Change(key, each.at, each.outcome, seen.target - seen.allocation)


def _others(entry: Entry, key: str, changes: list[_Change], scene: Scene) -> list[dict[str, Any]]:
    """Who gave just before this domain grew, or got just after it shrank; largest first."""
    total: dict[str, float] = {}
    grows = entry.grows
    for each in changes:
        late = entry.at - each.at if grows else each.at - entry.at
        counterpart = each.outcome is entry.outcome and (each.size > 0) != grows
        if each.key != key and counterpart and 0 <= late <= TOGETHER_S:
            total[each.key] = total.get(each.key, 0.0) + abs(each.size)
    inventory = scene.state.inventory
    largest = sorted((other for other in total if other in inventory.index), key=lambda other: -total[other])
    return [{"name": inventory.names[inventory.index[other]], "bytes": round(total[other])} for other in largest]


def _told(others: list[dict[str, Any]], entry: Entry) -> Iterator[str]:
    if others:
        names = ", ".join(f"{each['name']} ({mib(each['bytes'])})" for each in others[:NAMED])
        rest = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        when = "Memory given in the %.0f s before" if entry.grows else "Memory others got in the %.0f s after"
        yield f"{when % TOGETHER_S}: {names}{rest}."
