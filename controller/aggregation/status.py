"""`MemoryPolicy.status` from the sums: what stands there, and whether it is worth a write."""

import json
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import ValidationError

from controller.aggregation.conditions import UntimedCondition, conditions
from controller.aggregation.contribution import Contribution, NodeProblem
from controller.aggregation.rollout import enforcing
from controller.aggregation.rollup import PolicySummary
from controller.api.documents import crowd
from controller.api.nodestate import MOST
from controller.api.policystatus import Condition, PolicyStatus, WorstNode

STATUS_BYTES = 4096
"""Most bytes of a status as JSON, whatever the number of nodes and the length of their names."""
REFRESH_S = 300.0
"""Seconds between two writes when nothing but a count of looks has changed: such counts change all the time."""

Status = Mapping[str, Any]
"""A status as it stands in the API server, from JSON."""

FAULTS = frozenset({"Degraded", "Conflicted"})
"""Conditions that are no part of a policy's ordinary life."""

_NEVER_AT_REST = frozenset({"looks", "looksSaved"})


class Difference(Enum):
    """What a write would change."""

    NOTHING = "nothing"
    COUNTS = "counts"
    """Only counts that grow with every look."""
    CONTENT = "content"


def render(summary: PolicySummary, before: Status | None, now: str) -> dict[str, Any]:
    """The status, at most STATUS_BYTES as JSON.

    `before` is the present one; times in it stay while what they are about stays. `now` is an RFC 3339 time.
    """
    known = _read(before)
    status = _status(summary, known, enforcing_nodes(before), now)
    rendered = _dump(status)
    while status.worst_nodes and _size(rendered) > STATUS_BYTES:
        status = status.model_copy(update={"worst_nodes": status.worst_nodes[:-1]})
        rendered = _dump(status)
    if known is not None and known.last_change_time and difference(rendered, before) is not Difference.CONTENT:
        rendered["lastChangeTime"] = known.last_change_time
    return rendered


def difference(rendered: Status, before: Status | None) -> Difference:
    """What would change if `rendered` took the place of `before`. The time of the last change is no change itself."""
    old = before or {}
    differing = {field for field in rendered.keys() | old.keys() if rendered.get(field) != old.get(field)}
    differing.discard("lastChangeTime")
    if not differing:
        return Difference.NOTHING
    return Difference.COUNTS if differing <= _NEVER_AT_REST else Difference.CONTENT


def turned(rendered: Status, before: Status | None) -> tuple[Status, ...]:
    """Conditions of FAULTS that begin, or end, to hold with `rendered`."""
    held = {each["type"] for each in _conditions(before or {}) if each.get("status") == "True"}
    return tuple(
        each
        for each in _conditions(rendered)
        if each["type"] in FAULTS and (each["status"] == "True") is not (each["type"] in held)
    )


def _conditions(status: Status) -> Iterator[Status]:
    """Those that make sense."""
    listed = status.get("conditions")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping) and isinstance(each.get("type"), str):
            yield each


def _size(rendered: Status) -> int:
    return len(json.dumps(rendered, ensure_ascii=False, separators=(",", ":")).encode())


def _status(summary: PolicySummary, known: PolicyStatus | None, named: Collection[str], now: str) -> PolicyStatus:
    figures, generation = summary.figures, summary.policy.generation
    before = {condition.type: condition for condition in known.conditions} if known else {}
    return PolicyStatus(
        **_rollout(summary, named),
        observedGeneration=generation,
        conditions=tuple(_condition(each, generation, before.get(each.type), now) for each in conditions(summary)),
        nodes=figures.nodes,
        reportingNodes=figures.reporting_nodes,
        unknownNodes=figures.unknown_nodes,
        domains=figures.domains,
        stableDomains=figures.stable_domains,
        conflictedDomains=figures.conflicted_domains,
        overriddenDomains=figures.overridden_domains,
        stuckDomains=figures.stuck_domains,
        reallocations=min(figures.reallocations, MOST),
        looks=min(figures.looks, MOST),
        looksSaved=min(figures.looks_saved, MOST),
        shortfall=min(figures.shortfall_mebibytes, MOST),
        stable=f"{figures.stable_domains}/{figures.domains}",
        lastChangeTime=now,
        worstNodes=tuple(map(_worst, summary.worst)),
    )


def enforcing_nodes(status: Status | None) -> Collection[str]:
    """Who may enforce by a status, also where the rest of it makes no sense, as to an older version."""
    named = (status or {}).get("enforcingNodes")
    return [each for each in named if isinstance(each, str)] if isinstance(named, list) else []


def _rollout(summary: PolicySummary, named: Collection[str]) -> dict[str, Any]:
    """Of a policy under one, which nodes may enforce it: no new one that cannot tell how it does."""
    rollout = summary.policy.rollout
    if rollout is None:
        return {}
    able = {*summary.reporting, *(name for name in summary.nodes if name in named)}
    chosen = enforcing(rollout.most(len(summary.nodes)), summary.policy.uid, able, named)
    return {"enforcingNodes": chosen, "enforcing": f"{len(chosen)}/{len(summary.nodes)}"}


def _condition(verdict: UntimedCondition, generation: int, before: Condition | None, now: str) -> Condition:
    return Condition(
        type=verdict.type,
        status=verdict.status,
        observedGeneration=generation,
        lastTransitionTime=before.last_transition_time if before and before.status == verdict.status else now,
        reason=verdict.reason,
        message=verdict.message,
    )


def _worst(share: Contribution) -> WorstNode:
    figures = share.figures
    unknown = NodeProblem.UNKNOWN in share.troubles
    return WorstNode(
        name=share.node,
        reason=share.troubles[0].value,
        unknown=unknown,
        lastReportTime=share.reported_at or None,
        domains=figures.domains,
        stableDomains=figures.stable_domains,
        stuckDomains=figures.stuck_domains,
        shortfall=min(figures.shortfall_mebibytes, MOST),
    )


def _read(before: Status | None) -> PolicyStatus | None:
    """The present status as far as it makes sense; None where it does not."""
    if crowd({"status": before}, "status"):
        return None
    try:
        return PolicyStatus.model_validate(before)
    except ValidationError:
        return None


def _dump(status: PolicyStatus) -> dict[str, Any]:
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
