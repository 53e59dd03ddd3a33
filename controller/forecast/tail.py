"""How far demand rises beyond what was expected, learnt as a ratio: the tail of every domain's next demand.

A rise is measured in units of the domain's own reach (how far it might rise), so that one tail serves domains of every
size. Each domain counts how often it passed each of a row of ratios; one with little history borrows from all domains
of its node, and a node with little history from a prior: shrinkage, as an empirical Bayes estimate of a proportion has
it (G. Casella, An Introduction to Empirical Bayes Data Analysis, 1985).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from controller.forecast.model import Floats

Ints = NDArray[np.int64]

EDGES = 2.0 ** np.arange(-10, 6)
"""Ratios of a rise to the reach whose passing is counted: from a thousandth to 32 times."""

_WIDTHS = np.append(np.diff(EDGES), EDGES[-1])
_LAST = len(EDGES) - 1

PRIOR = 1.0 / (1.0 + (EDGES / 0.02) ** 1.5)
"""Chance of each to be passed in one interval before anything is known: a Pareto tail of finite mean."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Counts of n domains. No method changes it."""

    passed: Floats
    """(n, len(EDGES)) intervals in which the rise passed each edge."""
    intervals: Floats
    """(n,) intervals counted."""

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing is known of n domains."""
        return cls(np.zeros((n, len(EDGES))), np.zeros(n))

    def select(self, index: Ints) -> Self:
        """Realign rows: row i of the result is row `index[i]` of this one, or empty where that is -1."""
        known = index >= 0
        made = type(self).empty(len(index))
        made.passed[known], made.intervals[known] = self.passed[index[known]], self.intervals[index[known]]
        return made

    def counted(self, rows: Ints, ratio: Floats, intervals: Floats) -> Self:
        """With a rise by `ratio` (m,) of its reach, over so many `intervals` (m,), of each of `rows` (m,)."""
        passed, counts = self.passed.copy(), self.intervals.copy()
        passed[rows] += ratio[:, None] > EDGES
        counts[rows] += intervals
        return type(self)(passed, counts)

    def excess(self, borrowed: float, prior: float) -> Floats:
        """(n, len(EDGES)) expected rise beyond each edge in one interval, in units of the reach.

        A domain's own count weighs against `borrowed` intervals of its node's, the node's against `prior` intervals of
        `PRIOR`. The rise expected beyond an edge is the integral of the chance to be passed from there on.
        """
        node = (self.passed.sum(axis=0) + prior * PRIOR) / (self.intervals.sum() + prior)
        chance = (self.passed + borrowed * node) / (self.intervals + borrowed)[:, None]
        return np.cumsum((chance * _WIDTHS)[:, ::-1], axis=1)[:, ::-1]


def beyond(excess: Floats, ratio: Floats) -> Floats:
    """(n,) expected rise beyond `ratio` (n,), by a table of `Tail.excess`, interpolated in the ratio's logarithm."""
    place = np.clip(np.log2(np.maximum(ratio, EDGES[0])) - np.log2(EDGES[0]), 0.0, _LAST - 1e-9)
    left = place.astype(np.int64)
    part, rows = place - left, np.arange(len(ratio))
    return np.asarray(excess[rows, left] * (1.0 - part) + excess[rows, left + 1] * part)
