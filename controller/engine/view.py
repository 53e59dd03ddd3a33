"""The engine's state as people and programs read it: plain data for `/state`, tables and metrics."""

import math
from typing import Any

import numpy as np

from controller.engine import balloon
from controller.engine.balance import balance
from controller.engine.known import Bounds, bounds
from controller.engine.reasons import Reason
from controller.engine.state import State


def view(state: State, now: float) -> dict[str, Any]:
    """The node, its policies and its domains as JSON-able data. Bytes (int) and seconds; None: unknown."""
    inventory, limits = state.inventory, bounds(state.inventory, state.observation)
    owned = [inventory.policy == number for number in range(len(inventory.policies))]
    policies = [
        {"name": name, "mode": mode, "domains": int(mine.sum()), "stable_domains": int(state.stable[mine].sum())}
        for name, mode, mine in zip(inventory.policies, inventory.modes, owned, strict=True)
    ]
    domains = [_domain(state, limits, row, now) for row in range(len(inventory))]
    return {"node": _node(state), "policies": policies, "domains": domains}


def _node(state: State) -> dict[str, Any]:
    inventory, totals = state.inventory, state.totals
    committed = float(balloon.committed(state.balloon, state.observation, inventory).sum())
    sums = balance(state)
    return {
        "total": _size(state.host.reading.total),
        "available": _size(state.host.reading.available),
        "host_use": _size(state.host.own_use),
        "host_forecast": _size(state.host.own_forecast),
        "reserve": _size(inventory.budget.kept(state.host.reading.total)),
        "budget": _size(state.host.budget),
        "allocated": _size(float(np.nansum(state.observation.allocation))),
        "spare": _size(max(state.host.budget - committed, 0.0)),
        "demand": _size(sums.demand),
        "short": _size(sums.short),
        "reclaimable": _size(sums.reclaimable),
        "pressure": state.host.reading.pressure,
        "minimums_fit": state.minimums_fit,
        "stable": bool(state.stable.all()),
        "domains": len(inventory),
        "stable_domains": int(state.stable.sum()),
        "looks_total": totals.looks,
        "fixed_looks_total": round(totals.fixed_looks),
        "reallocations_total": totals.reallocations,
        "moved_total": _size(totals.moved),
        "shortfall_byte_seconds_total": _size(totals.shortfall_time),
        "slack_byte_seconds_total": _size(totals.slack_time),
        "forecasts_total": totals.accuracy.forecasts,
        "forecast_error_total": _size(totals.accuracy.error),
        "last_value_error_total": _size(totals.accuracy.last_value_error),
        "broken_bounds_total": totals.accuracy.broken_bounds,
    }


def _domain(state: State, limits: Bounds, row: int, now: float) -> dict[str, Any]:
    inventory, observation, moves, pace = state.inventory, state.observation, state.balloon, state.polling
    reason = Reason(int(state.reason[row]))
    owner = int(inventory.policy[row])
    demand, size = float(observation.demand[row]), float(observation.allocation[row])
    target = moves.target[row] if np.isfinite(moves.target[row]) else size
    proposed = None if inventory.enforce[row] else _size(moves.proposed[row])
    why = Reason(int(moves.last_reason[row]))
    interval = pace.interval if inventory.obstacle[row] == Reason.NONE else inventory.interval_maximum
    last = {
        "age_s": _seconds(now - moves.last_at[row]),
        "from": _size(moves.last_from[row]),
        "to": _size(moves.last_to[row]),
        "reason": str(why),
        "reason_text": why.text,
    }
    return {
        "key": inventory.keys[row],
        "name": inventory.names[row],
        "uuid": inventory.uuids[row],
        "policy": inventory.policies[owner] if owner >= 0 else None,
        "mode": inventory.modes[owner] if owner >= 0 else None,
        "demand": _size(demand),
        "forecast": _size(state.estimate.forecast[row]),
        "upper": _size(state.estimate.upper[row]),
        "forecast_error": _size(state.estimate.error[row]),
        "allocation": _size(size),
        "target": _size(target) if proposed is None else proposed,
        "minimum": _size(limits.minimum[row]),
        "maximum": _size(limits.top[row]),
        "interval_s": round(float(interval[row]), 3),
        "next_look_in_s": _seconds(pace.next_look[row] - now),
        "stable": bool(state.stable[row]),
        "reason": str(reason),
        "reason_text": reason.text,
        "pressure": bool(state.pressure.pressed[row]),
        "looks": int(pace.looks[row]),
        "reallocations": int(moves.reallocations[row]),
        "last_action": None if math.isnan(moves.last_at[row]) else last,
        "shortfall": _size(max(demand - size, 0.0)),
        "slack": _size(max(size - demand, 0.0)),
        "shortfall_byte_seconds": _size(observation.shortfall_time[row]),
        "slack_byte_seconds": _size(observation.slack_time[row]),
    }


def _size(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _seconds(value: float) -> float | None:
    return round(float(value), 1) if math.isfinite(value) else None
