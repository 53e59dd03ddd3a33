"""How demand, forecast and allocation of every domain went of late: a bounded memory, for small charts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.engine.state import State

POINTS = 60
STEP_S = 15.0
"""Seconds between two points, at least: a quarter of an hour in all, some 700 bytes a domain."""
FEWEST = 4
"""Points of a chart: a minute. Of less than that a chart would show no more than a figure does."""


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Immutable: readers in other threads get a consistent whole."""

    at: float = -np.inf
    """Monotonic seconds of the newest point."""
    index: dict[str, int] = field(default_factory=dict)
    """Row of each key."""
    values: NDArray[np.float32] = field(default_factory=lambda: np.empty((3, 0, POINTS), dtype=np.float32))
    """(3, n, POINTS) bytes of demand, forecast and allocation, oldest first; NaN where unknown."""

    def extended(self, state: State, now: float) -> "TimeSeries":
        """With a point of every domain, when one is due; otherwise itself."""
        if now - self.at < STEP_S:
            return self
        index = state.inventory.index
        newest = np.stack([state.observation.demand, state.estimate.forecast, state.observation.allocation])
        kept = self.values
        if index is not self.index:
            rows = np.array([self.index.get(key, -1) for key in index], dtype=np.int64)
            kept = np.full((3, len(index), POINTS), np.nan, dtype=np.float32)
            kept[:, rows >= 0] = self.values[:, rows[rows >= 0]]
        values = np.concatenate([kept[:, :, 1:], newest[:, :, None].astype(np.float32)], axis=2)
        return TimeSeries(now, index, values)

    def of(self, key: str) -> NDArray[np.float32]:
        """(3, POINTS) bytes of one domain; all NaN while it has no point."""
        row = self.index.get(key)
        return np.full((3, POINTS), np.nan, dtype=np.float32) if row is None else self.values[:, row]

    def points(self, *keys: str) -> int:
        """How many of the newest points there are to show of these domains, or of all: from the first known one on."""
        rows = [self.index[key] for key in keys if key in self.index] if keys else slice(None)
        known = np.isfinite(self.values[:, rows]).any(axis=(0, 1))
        return max(POINTS - int(np.append(known, True).argmax()), FEWEST)

    def document(self, key: str) -> dict[str, Any]:
        """One domain's, JSON-able: bytes, oldest first, null where unknown."""
        rows = zip(("demand", "forecast", "allocation"), self.of(key), strict=True)
        return {
            "step_s": STEP_S,
            **{name: [None if np.isnan(size) else int(size) for size in row] for name, row in rows},
        }
