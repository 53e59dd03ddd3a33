"""The last decisions about a domain as sentences, with the numbers they came from: what `/explain` answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any

from controller.api.printable import LONGEST_NAME, bounded
from controller.engine.decision import Figures
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.observe.decisionhistory import DecisionHistory, DecisionOutcome, DecisionRecord
from controller.observe.text import MIB, change, display_name, mib, reason_with_advice, seconds, stays
from controller.observe.timeseries import TimeSeries

TOGETHER_S = 30.0
"""Seconds between one domain's giving and another's getting within which they are told together: a balloon's way."""
NAMED = 3
"""Other domains that one sentence names, largest change first; the rest is counted."""
OTHERS = 50
"""Other domains that a decision lists, largest change first; the rest is counted."""
EXPLAINED = 5
"""Domains of one name that are explained at a time: connections may share a name, UUIDs are told apart."""
NEAR = 5
"""Names that are offered for one that is not known."""
AT_ONCE = frozenset({Reason.PRESSURE_GROW, Reason.FELT_GROW, Reason.LIMITS, Reason.RELEASE_RESTORE})
"""Moves that are not weighed against their price."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an explanation is made from: one publication."""

    state: State
    decision_history: DecisionHistory
    time_series: TimeSeries
    now: float
    """Monotonic seconds."""


def matching(domains: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """The domains of a `/state` document with this name, title, UUID or key: several where connections share a name."""
    name = bounded(wanted, LONGEST_NAME)
    return [
        each for each in domains if each["name"] == name or wanted in (display_name(each), each["uuid"], each["key"])
    ]


def near(domains: list[dict[str, Any]], wanted: str) -> list[str]:
    """Names like the one that is not known: spelt alike, or holding it."""
    names = sorted(set(map(display_name, domains)))
    holding = [name for name in names if wanted and wanted.lower() in name.lower()]
    return list(dict.fromkeys([*get_close_matches(wanted, names, NEAR), *holding]))[:NEAR]


def explanation(domain: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    """One domain of the `/state` document, what holds now, how it went, its last decisions, newest first."""
    key = domain["key"]
    row = scene.state.inventory.index[key]
    changes = list(_changes(scene.decision_history))
    entries = reversed(scene.decision_history.entries.get(key, ()))
    return {
        "domain": dict(domain),
        "standing": standing(domain, scene.state.figures(row), Reason(int(scene.state.reason[row]))),
        "trail": scene.time_series.document(key),
        "decisions": [_decision(each, *_others(each, key, changes, scene), scene.now) for each in entries],
    }


def standing(domain: Mapping[str, Any], seen: Figures, reason: Reason) -> list[str]:
    """What holds now, a sentence each. `seen` is of the newest look, `reason` of the newest decision: a move is older
    than that look, and its own numbers are told with it.
    """
    owner = f"MemoryPolicy {domain['policy']} ({domain['mode']})" if domain["policy"] else "No MemoryPolicy"
    pace = "stable" if domain["stable"] else "unstable"
    return [
        f"{owner} owns it; it is {pace} and looked at every {seconds(domain['interval_s'])}.",
        f"Allocation {mib(domain['allocation'])}, between {mib(domain['minimum'])} and {mib(domain['maximum'])}.",
        *_under_enforce(domain),
        *_decision_inputs(seen, reason),
        *(() if reason.moves else weighed(seen, reason)),
        f"Now: {reason_with_advice(domain)} [{domain['reason']}].",
    ]


def _under_enforce(domain: Mapping[str, Any]) -> Iterator[str]:
    """What the proposals come to so far: the newest numbers are of a domain that has it."""
    if domain["mode"] == "Observe" and domain["target"] != domain["allocation"]:
        yield f"Under Enforce it would have {mib(domain['target'])} by now."


def _decision(entry: DecisionRecord, others: list[dict[str, Any]], more: int, now: float) -> dict[str, Any]:
    seen = entry.figures
    return {
        "age_s": round(now - entry.at, 1),
        "outcome": str(entry.outcome),
        "reason": str(entry.reason),
        "error": entry.error,
        **{name: round(size) if isfinite(size) else None for name, size in seen._asdict().items()},
        "others": others,
        "more_others": more,
        "sentences": [
            _headline(entry, seen),
            *_decision_inputs(seen, entry.reason),
            *weighed(seen, entry.reason),
            *_told(others, more, entry),
        ],
    }


def _headline(entry: DecisionRecord, seen: Figures) -> str:
    reason = f"{entry.reason.text} [{entry.reason}]"
    if entry.outcome is DecisionOutcome.NOTED:
        return f"Noted: {reason}."
    halted = stays(seen.allocation, seen.target)
    verb = {
        DecisionOutcome.DONE: "Halted" if halted else "Grown" if entry.grows else "Shrunk",
        DecisionOutcome.PROPOSED: "Enforce would change it",
        DecisionOutcome.REFUSED: "libvirt refused",
    }[entry.outcome]
    refusal = f" libvirt says: {entry.error}" if entry.error else ""
    return f"{verb}: {change(seen.allocation, seen.target)}: {reason}.{refusal}"


def _decision_inputs(seen: Figures, reason: Reason) -> Iterator[str]:
    """The numbers that decided, from demand to what the node can give; that is nothing to one that is left alone."""
    if not isfinite(seen.demand):
        yield "The guest's demand is not known."
        return
    if not isfinite(seen.wanted):
        yield f"Demand {mib(seen.demand)}; there is no forecast."
    else:
        yield (
            f"Demand {mib(seen.demand)}, forecast {mib(seen.forecast)}, upper forecast {mib(seen.upper)}; "
            f"headroom {mib(seen.headroom)}: it wants {mib(seen.wanted)}{_apart(seen)}."
        )
    if seen.sought > 0:
        yield f"Since then it was felt to take {mib(seen.grew)} into use: it is to have {mib(seen.sought)} for that."
    if _shared(seen) and not reason.skips:
        yield f"Of the node's budget of {mib(seen.budget)}, {_free(seen)}, its share is {mib(seen.planned)}."


def _shared(seen: Figures) -> bool:
    """Whether there is a budget of which it has a share, to compare with what it has."""
    return all(map(isfinite, (seen.budget, seen.planned, seen.allocation)))


def _apart(seen: Figures) -> str:
    """Why a domain wants something else than upper forecast and headroom."""
    apart = seen.wanted - seen.upper - seen.headroom
    if apart < -MIB:
        return ", the most it may have"
    if apart <= MIB:
        return ""
    if abs(seen.demand + seen.burst - seen.wanted) <= MIB:
        return f", as it may take {mib(seen.burst)} before more can arrive"
    if abs(seen.eased - seen.wanted) <= MIB:
        return ", as it was short of memory a while ago"
    if seen.used + MIB < seen.wanted and abs(seen.wanted - seen.allocation) <= MIB:
        return ", all it has, which is not taken from it for now"
    return ", as with less its kernel would have to reclaim"


def _free(seen: Figures) -> str:
    return f"{mib(seen.free)} of it free" if seen.free >= 0 else f"{mib(-seen.free)} more than that given away"


def weighed(seen: Figures, reason: Reason) -> Iterator[str]:
    """The difference to the share, against the threshold and the price, as the rule behind `reason` weighs it."""
    lacks = seen.planned - seen.going_to
    if reason in AT_ONCE:
        yield "Such a move is made at once: it is not weighed against its price."
    elif not _shared(seen):
        return
    elif reason in {Reason.FORECAST_GROW, Reason.SPARE_LENT}:
        yield from _grown(seen, lacks)
    elif reason.moves:
        yield _shrunk(seen)
    elif reason is Reason.WITHIN_THRESHOLD:
        yield from _left(seen, lacks)
    elif reason in {Reason.AWAITING_MEMORY, Reason.NO_BUDGET} and lacks > MIB:
        yield f"It lacks {mib(lacks)} of that."


def _shrunk(seen: Figures) -> str:
    """What a guest had beyond what it is left: its share, or what it wants of that where others are in need."""
    least, word = (seen.planned, "that") if seen.target >= seen.planned - MIB else (seen.wanted, "it wants")
    over = seen.allocation - least
    if over > seen.threshold:
        return f"It has {mib(over)} more than {word}, beyond the threshold of {mib(seen.threshold)}."
    return f"It has {mib(over)} more than {word}, and guests in need do not wait for a threshold."


def _grown(seen: Figures, lacks: float) -> Iterator[str]:
    """Why a guest that is not in need was grown, or grows less than it was told before."""
    if seen.target < seen.going_to:
        yield f"It was on its way to {mib(seen.going_to)}, and ends sooner: guests in need wait for memory."
        return
    if lacks <= seen.threshold:
        left = mib(max(seen.going_to - seen.upper, 0.0))
        yield f"Of its headroom {left} is left: it grows by the threshold of {mib(seen.threshold)} at least."
        return
    yield f"It lacks {mib(lacks)} of that, more than the threshold of {mib(seen.threshold)}."
    if seen.saving >= seen.price:
        yield f"{_risk(seen)}: enough for a move."
    elif seen.planned > seen.wanted + MIB:
        yield "Memory is left over."
    else:
        yield "It gets what it wants at once, whatever that saves."


def _left(seen: Figures, lacks: float) -> Iterator[str]:
    """Why nothing is worth a move."""
    over = seen.allocation - seen.planned
    if over > seen.threshold:
        yield f"It has {mib(over)} more than that, which nobody needs."
    elif lacks <= seen.threshold:
        differs = mib(max(lacks, over, 0.0))
        yield f"What it has differs from that by {differs}, within the threshold of {mib(seen.threshold)}."
    else:
        yield f"It lacks {mib(lacks)} of that, more than the threshold of {mib(seen.threshold)}."
        yield f"{_risk(seen)}: not enough for a move yet."


def _risk(seen: Figures) -> str:
    """What it costs to leave the domain as it is, and what a move costs."""
    begins = f"{seen.excess / MIB:.1f} MiB" if seen.excess >= MIB / 10 else "less than 0.1 MiB"
    return (
        f"At {mib(seen.going_to)} it is expected to run short by {begins} in a shortest interval; its share "
        f"saves a shortfall of {seen.saving / MIB:.1f} MiB s, and a move costs {seen.price / MIB:.1f} MiB s"
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """A domain's allocation, changed or to be changed by `size` bytes, up or down."""

    key: str
    at: float
    outcome: DecisionOutcome
    grows: bool
    size: float


def _changes(decision_history: DecisionHistory) -> Iterator[_Change]:
    for key, entries in decision_history.entries.items():
        for each in entries:
            if each.outcome in {DecisionOutcome.DONE, DecisionOutcome.PROPOSED}:
                seen = each.figures
                yield _Change(key, each.at, each.outcome, each.grows, abs(seen.target - seen.allocation))


def _others(entry: DecisionRecord, key: str, changes: list[_Change], scene: Scene) -> tuple[list[dict[str, Any]], int]:
    """Who gave just before this domain grew, or got just after it shrank, largest first; and how many more."""
    total: dict[str, float] = {}
    grows = entry.grows
    for each in changes:
        late = entry.at - each.at if grows else each.at - entry.at
        counterpart = each.outcome is entry.outcome and each.grows != grows
        if each.key != key and counterpart and 0 <= late <= TOGETHER_S:
            total[each.key] = total.get(each.key, 0.0) + each.size
    inventory = scene.state.inventory
    largest = sorted((other for other in total if other in inventory.index), key=lambda other: -total[other])
    names = [bounded(inventory.names[inventory.index[other]], LONGEST_NAME) for other in largest[:OTHERS]]
    told = [{"name": name, "bytes": round(total[other])} for name, other in zip(names, largest, strict=False)]
    return told, len(largest) - len(told)


def _told(others: list[dict[str, Any]], more: int, entry: DecisionRecord) -> Iterator[str]:
    if others:
        names = ", ".join(f"{each['name']} ({mib(each['bytes'])})" for each in others[:NAMED])
        rest = f" and {len(others) + more - NAMED} more" if len(others) + more > NAMED else ""
        when = "Memory given in the %.0f s before" if entry.grows else "Memory others got in the %.0f s after"
        yield f"{when % TOGETHER_S}: {names}{rest}."
