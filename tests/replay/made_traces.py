"""Small traces made by hand, and a controller that does as it is told."""

import numpy as np

from controller.replay.trace import Series, Trace
from controller.replay.world import Readings, SimulatedHost

MAXIMUM = 8192.0


def trace(step: float = 1.0, maximum: float = MAXIMUM, **demand: list[float]) -> Trace:
    """Every domain is sampled from time 0 on, `step` seconds apart."""
    return Trace(
        tuple(demand),
        tuple(
            Series(np.arange(len(values)) * step, np.array(values, dtype=float), np.full(len(values), maximum))
            for values in demand.values()
        ),
    )


class Script:
    """Orders `{time: {row: target}}`, and keeps what it reads at each of `looks`."""

    def __init__(
        self, orders: dict[float, dict[int, float]], looks: tuple[float, ...] = (), hears: bool = False
    ) -> None:
        self.hears = hears
        self.feels = False
        self._orders = orders
        self._times = sorted({*orders, *looks})
        self._looks = looks
        self.seen: dict[float, Readings] = {}
        self.heard: list[tuple[float, dict[int, float]]] = []

    def start(self, world: SimulatedHost) -> None:
        pass

    def next_look(self) -> float:
        return self._times[0] if self._times else np.inf

    def act(self, world: SimulatedHost) -> None:
        now = world.now
        if moved := {int(row): float(world.allocation[row]) for row in world.resized()}:
            self.heard.append((now, moved))
        if self._times and self._times[0] <= now:
            self._times.pop(0)
        if now in self._looks:
            self.seen[now] = world.read(world.rows)
        for row, target in self._orders.get(now, {}).items():
            world.order(np.array([row]), np.array([float(target)]))
