"""How far demand rises beyond what was expected, learnt as a ratio: the tail of every domain's next demand.

A rise is measured in units of the domain's own reach (how far it might rise), so that one tail serves domains of every
size. Each domain adds up how far its rises went beyond each of a row of ratios; one with little history borrows from
all domains of its node, and a node with little history from a prior: shrinkage, as an empirical Bayes estimate of a
mean has it (G. Casella, An Introduction to Empirical Bayes Data Analysis, 1985).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from controller.forecast.model import Floats, Ints

EDGES = 2.0 ** np.arange(-10, 6)
"""Ratios of a rise to the reach beyond which it is counted: from a thousandth to 32 times."""

_ENDS = np.append(EDGES, 2.0 * EDGES[-1])
"""Where a rise is taken to end that passed so many edges: at the next one."""

_LAST = len(EDGES) - 1

SCALE = 0.02
"""Part of the reach beyond which every second interval rises, as long as nothing is known."""

SHAPE = 1.5
"""Power of the ratio by which larger rises are rarer then: a Pareto tail, of finite mean above 1."""


@lru_cache(maxsize=1)
def assumed(scale: float, shape: float) -> Floats:
    """Rise expected beyond each edge in one interval before anything is known: the integral of the chance to be passed
    from there on.
    """
    chance = 1.0 / (1.0 + (EDGES / scale) ** shape)
    return np.cumsum((chance * np.diff(_ENDS))[::-1])[::-1]


@dataclass(frozen=True, slots=True)
class Tail:
    """Sums of n domains. No method changes it."""

    risen: Floats
    """(n, len(EDGES)) how far rises went beyond each edge, in units of the reach."""
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
        made.risen[known], made.intervals[known] = self.risen[index[known]], self.intervals[index[known]]
        return made

    def counted(self, rows: Ints, ratio: Floats, intervals: Floats) -> Self:
        """With a rise by `ratio` (m,) of its reach, over so many `intervals` (m,), of each of `rows` (m,)."""
        risen, counts = self.risen, self.intervals.copy()
        counts[rows] += intervals
        rose = ratio > EDGES[0]
        if np.count_nonzero(rose):
            ends = _ENDS[np.searchsorted(EDGES, ratio[rose])]
            risen = risen.copy()
            risen[rows[rose]] += np.maximum(ends[:, None] - EDGES, 0.0)
        return type(self)(risen, counts)

    def excess(self, ratio: Floats, borrowed: float, prior: float) -> Floats:
        """(..., n) rise expected beyond `ratio` (..., n) in one interval, in units of the reach.

        A domain's own past weighs against `borrowed` intervals of its node's, the node's against `prior` intervals of
        what is `assumed`. Interpolated in the ratio's logarithm.
        """
        node = (self.risen.sum(axis=0) + prior * assumed(SCALE, SHAPE)) / (self.intervals.sum() + prior)
        place = np.minimum(np.log2(np.maximum(ratio, EDGES[0])) - np.log2(EDGES[0]), _LAST - 1e-9)
        left = place.astype(np.int64)
        part, cells = place - left, left + len(EDGES) * np.arange(len(self.intervals))
        sums = self.risen + borrowed * node
        between = sums.take(cells) * (1.0 - part) + sums.take(cells + 1) * part
        return np.asarray(between / (self.intervals + borrowed))
