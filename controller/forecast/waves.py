"""Whether the domains of a node rise together, as a shared job or a wave of requests makes them: learnt by counting.

While rises come by chance, as many follow a rise of another domain as at any other time. By how many times more often
they do is a ratio of Poisson rates. What it is taken to be before anything is known counts as one rise (a gamma prior:
A. Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6).
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from controller.forecast.model import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Waves:
    """What n domains have shown. No method changes it."""

    rose_at: Floats
    """(n,) when each was last seen to have risen, seconds on the engine's clock; -inf: never."""
    rises: float = 0.0
    """Of all domains, in so many intervals."""
    intervals: float = 0.0
    followed: float = 0.0
    """Of these, soon after a rise of another domain."""
    after: float = 0.0
    """Intervals that were so."""

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing is known of n domains."""
        return cls(np.full(n, -np.inf))

    def select(self, index: Ints) -> Self:
        """Realign rows: row i of the result is row `index[i]` of this one, or empty where that is -1."""
        return replace(self, rose_at=np.where(index >= 0, np.append(self.rose_at, -np.inf)[index], -np.inf))

    def counted(self, rows: Ints, rose: Bools, before: Floats, now: float, window: Floats, interval: Floats) -> Self:
        """With what each of `rows` (m,) has done since it was looked at `before` (m,), seconds: whether it `rose` (m,).

        `window` (m,): seconds after another's rise that count as soon. `interval` (m,): seconds of an interval. Of a
        rise between two looks nobody knows the moment: it counts as soon by the part of that time that was.
        """
        other, passed = self._others()[rows], np.maximum(now - before, interval)
        soon = np.fmax(np.fmin(now, other + window) - np.fmax(before, other), 0.0)
        rose_at = self.rose_at
        if np.count_nonzero(rose):
            rose_at = rose_at.copy()
            rose_at[rows[rose]] = now
        return replace(
            self,
            rose_at=rose_at,
            rises=self.rises + float(np.count_nonzero(rose)),
            intervals=self.intervals + float((passed / interval).sum()),
            followed=self.followed + float((soon / passed)[rose].sum()),
            after=self.after + float((soon / interval).sum()),
        )

    def factor(self, before: float) -> float:
        """How much more often a domain rises soon after another; at least 1, and `before` anything is known."""
        return max((self.followed + 1.0) / (self.after * self.rises / max(self.intervals, 1.0) + 1.0 / before), 1.0)

    def expected(self, now: float, window: Floats) -> Bools:
        """(n,) domains of which another has risen less than `window`, (n,) seconds, ago."""
        return np.asarray(now < self._others() + window)

    def _others(self) -> Floats:
        """(n,) when another domain than each was last seen to have risen."""
        if len(self.rose_at) < 2:
            return np.full(len(self.rose_at), -np.inf)
        second, last = np.partition(self.rose_at, -2)[-2:]
        return np.asarray(np.where(self.rose_at == last, second, last))
