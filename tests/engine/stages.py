"""Tables for the tests of one stage: every domain alike and at ease unless a test says otherwise. Sizes in bytes."""

from typing import Any, TypeVar

import numpy as np

from controller.engine.actuation import Moves, choose
from controller.engine.allocation import Plan, allocate
from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure, PressureLevel
from controller.engine.host import HostState
from controller.engine.inventory import Inventory, NodeBudget
from controller.engine.known import Known, bounds
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Phase
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading
from controller.engine.tables import Floats, Table
from controller.engine.tuning import Tuning
from controller.forecast.last_value import LastValue

MIB = 2.0**20
NOW = 100_000.0
"""Monotonic seconds."""
SIMPLE = Tuning(pool=0.0, nothing_left_bytes=0.0)
"""Nothing is set aside, and guests of 100 MiB are as larger ones."""

T = TypeVar("T", bound=Table)


def mib(*sizes: float) -> Floats:
    """Bytes."""
    return np.array(sizes) * MIB


def rows(kind: type[T], n: int, **columns: Any) -> T:
    """A table of `n` rows with some of its columns, each one value for all or one per row."""
    blank = kind.blank(n)
    return blank.having(
        **{name: np.resize(np.asarray(value, getattr(blank, name).dtype), n) for name, value in columns.items()}
    )


def plain(table: Table) -> dict[str, Any]:
    """All there is, as plain lists by name; None for what is no finite number."""
    columns = {name: np.asarray(values) for name, values in vars(table).items() if isinstance(values, np.ndarray)}
    return {
        name: [value if np.isfinite(value) else None for value in values.tolist()] for name, values in columns.items()
    }


def inventory(n: int, **columns: Any) -> Inventory:
    """`n` domains of 1 GiB under one policy without headroom or minimum, looked at every 1 to 60 s."""
    given: dict[str, Any] = {
        "incarnation": 1,
        "reset_at": 0.0,
        "started_at": 0.0,
        "statistics_period": 1.0,
        "maximum": 1024 * MIB,
        "definition": 1024 * MIB,
        "grain": MIB,
        "deadline": 5.0,
        "autodeflate": False,
        "resident": True,
        "in_file": False,
        "devices": 0.0,
        "plugged": 0.0,
        "obstacle": int(Reason.NONE),
        "policy": 0,
        "model": 0,
        "enforce": True,
        "share": True,
        "restore": True,
        "minimum": 0.0,
        "ceiling": np.inf,
        "most": np.inf,
        "weight": 1.0,
        "percentile": 0.95,
        "threshold": MIB,
        "threshold_fraction": 0.0,
        "headroom": 0.0,
        "headroom_fraction": 0.0,
        "stabilization": 300.0,
        "interval_minimum": 1.0,
        "interval_maximum": 60.0,
        "stability_window": 600.0,
        "stability_reallocations": 2.0,
        "stability_change": 0.05,
    } | columns
    keys = tuple(f"guest-{row}" for row in range(n))
    return Inventory(
        keys=keys,
        names=keys,
        uuids=keys,
        policies=("policy",),
        modes=("Enforce",),
        models=(LastValue(),),
        budget=NodeBudget(reserve=0.0, reserve_fraction=0.0),
        index={key: row for row, key in enumerate(keys)},
        **{name: np.resize(np.asarray(value), n) for name, value in given.items()},
    )


def known(
    size: Floats,
    demand: Floats,
    *,
    budget: float = 4096 * MIB,
    tuning: Tuning = SIMPLE,
    settings: dict[str, Any] | None = None,
    seen: dict[str, Any] | None = None,
    estimate: dict[str, Any] | None = None,
    pressure: dict[str, Any] | None = None,
    balloon: dict[str, Any] | None = None,
    effect: dict[str, Any] | None = None,
    growth: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
) -> Known:
    """Domains of `size` and `demand`, (n,), just looked at for the third time, with a reach of 100 MiB each."""
    n = len(size)
    listed = inventory(n, **settings or {})
    observation = {
        "allocation": size,
        "told_size": size,
        "demand": demand,
        "maximum": listed.maximum,
        "fresh": True,
        "reported": True,
        "fresh_count": 3,
    }
    times = dict.fromkeys(("seen_at", "sent_at", "heard_at", "fresh_at", "reported_at", "told_at"), NOW)
    foreseen = {"foot": demand, "forecast": demand, "upper": demand, "reach": 100 * MIB, "at": NOW, "since": 0.0}
    observed = rows(Observation, n, **observation | times | (seen or {}))
    return Known(
        bounds(listed, observed),
        NOW,
        tuning,
        listed,
        observed,
        rows(GuestPressure, n, **pressure or {}),
        rows(Balloon, n, **balloon or {}),
        rows(BalloonEffect, n, **effect or {}),
        rows(Estimate, n, **foreseen | (estimate or {})),
        HostState(**{"reading": HostReading(budget, 0.0), "budget": budget, "lendable": budget} | (host or {})),
        rows(Growth, n, **growth or {}),
    )


def pressed(*levels: PressureLevel, samples: Any = 1) -> dict[str, Any]:
    """Columns of `GuestPressure`."""
    return {"level": [int(level) for level in levels], "samples": samples}


def moving(*targets: float, **columns: Any) -> dict[str, Any]:
    """Columns of `Balloon`: where each is going, bytes, NaN where it rests. The orders are 10 s old."""
    phase = [int(Phase.IDLE if np.isnan(target) else Phase.MOVING) for target in targets]
    return {"target": targets, "phase": phase, "last_at": NOW - 10} | columns


def planned(of: Known, movable: Any = True, committed: Floats | None = None) -> Plan:
    """The plan where nothing else is committed than what domains have."""
    n = len(of.inventory)
    has = of.observation.allocation if committed is None else committed
    return allocate(of, has, np.resize(np.asarray(movable, np.bool_), n))


def free(of: Known) -> float:
    """Bytes of the budget that nobody has, or is getting."""
    return of.host.budget - float(np.fmax(of.observation.allocation, of.balloon.target).sum())


def chosen(of: Known, plan: Plan, *, saving: Any = np.inf) -> Moves:
    """What is moved for a plan; every move is worth its price unless `saving` says otherwise."""
    return choose(of, plan, np.resize(np.asarray(saving, np.float64), len(of.inventory)))
