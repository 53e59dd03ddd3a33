"""What tuning tries: which parameters of a policy, with which values, and what policy that makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from pydantic import ValidationError

from controller.api.policy import MemoryPolicy
from controller.forecast.registry import KINDS
from controller.replay.ballast import with_model

Changes = dict[str, int | str]
"""New values by field of `spec`, such as `headroom.percent`."""

MODEL = "advanced.model.type"
SHORTEST = "advanced.monitoring.minimumIntervalSeconds"
LONGEST = "advanced.monitoring.maximumIntervalSeconds"
STABILIZATION = "advanced.shrink.stabilizationSeconds"

GRID: dict[str, tuple[int | str, ...]] = {
    "spare": ("Share", "Reclaim"),
    "headroom.percent": (5, 10, 20, 30),
    MODEL: tuple(KINDS),
    "advanced.model.upperPercentile": (80, 90, 95, 99),
    "advanced.threshold.percent": (5, 10, 20),
    STABILIZATION: (30, 120, 600, 1800),
    "limits.minimumPercent": (0, 5, 20),
    SHORTEST: (1, 2, 5, 10),
    LONGEST: (15, 60, 240),
}
"""Few values, on either side of the defaults, far enough apart that their effects can be told from chance."""

COARSEST_S = 10
"""Seconds between samples beyond which a trace says nothing about intervals of seconds."""

WINDOWS_IN_A_PIECE = 4
"""How often a stabilisation window must fit into a piece: else shrinking is hardly seen in it."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the pieces that a policy is chosen on can show."""

    step_s: float
    """Seconds between samples, of the coarsest."""
    span_s: float
    """Seconds, of the shortest."""


@dataclass(frozen=True, slots=True)
class Option:
    """Another value for one parameter, and the policy it makes."""

    field: str
    """The parameter."""
    changes: Changes
    """With what else has to change for its sake."""
    policy: MemoryPolicy


def options(policy: MemoryPolicy, resolution: Resolution) -> list[Option]:
    """What else each parameter could be; without values that pieces cannot show or other fields rule out."""
    found = []
    for field, values in GRID.items():
        for value in values:
            changes = _change(policy, field, value, resolution)
            if _shows(resolution, field, value) and changes != current(policy, changes):
                made = changed(policy, changes)
                if made is not None:
                    found.append(Option(field, changes, made))
    return found


def current(policy: MemoryPolicy, fields: Mapping[str, object] = GRID) -> Changes:
    """What `policy` says of these fields of `spec`, defaults included."""
    spec = policy.spec.model_dump(by_alias=True)
    return {field: _value(spec, field) for field in fields}


def difference(start: MemoryPolicy, end: MemoryPolicy) -> Changes:
    """What of the GRID makes `end` of `start`."""
    before = current(start)
    return {field: value for field, value in current(end).items() if value != before[field]}


def changed(policy: MemoryPolicy, changes: Changes) -> MemoryPolicy | None:
    """`policy` with other values, all else as it is; None where its other fields rule them out (minimum, maximum)."""
    turned = with_model(policy, str(changes.get(MODEL, policy.spec.advanced.model.type)))
    data = turned.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for field, value in changes.items():
        _enter(data.setdefault("spec", {}), field, value)
    try:
        return MemoryPolicy.model_validate(data)
    except ValidationError:
        return None


def _shows(resolution: Resolution, field: str, value: int | str) -> bool:
    if field in {SHORTEST, LONGEST}:
        return resolution.step_s <= COARSEST_S and int(value) >= resolution.step_s
    if field == STABILIZATION:
        return WINDOWS_IN_A_PIECE * int(value) <= resolution.span_s
    return True


def _change(policy: MemoryPolicy, field: str, value: int | str, resolution: Resolution) -> Changes:
    """A replay looks no more often than the trace was sampled, and stretches the longest interval in proportion. A new
    longest interval therefore brings a shortest that needs no stretching: live it means what it meant in the replay.
    """
    if field == LONGEST and policy.spec.advanced.monitoring.minimum_interval_seconds < resolution.step_s:
        return {field: value, SHORTEST: ceil(resolution.step_s)}
    return {field: value}


def _value(spec: dict[str, Any], field: str) -> int | str:
    found: Any = spec
    for name in field.split("."):
        found = found[name]
    value: int | str = found
    return value


def _enter(spec: dict[str, Any], field: str, value: int | str) -> None:
    *blocks, name = field.split(".")
    for block in blocks:
        spec = spec.setdefault(block, {})
    spec[name] = value
