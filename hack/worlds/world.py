"""A world: guests of one family at a scale of its own, and a host for them. The same seed gives the same worlds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from controller.replay.trace import Series, Trace
from worlds.shapes import SHAPES, Random, Shape, giants, log_uniform

Floats = NDArray[np.float64]

STEPS = 2400
"""Samples of each guest: forty minutes at one a second, eight days at one in five minutes."""

STEPS_S = (1, 1, 2, 5, 15, 60, 300)
"""Seconds between samples; the finest twice, for that is how a host is watched."""

GUESTS = (2, 60)
SIZES_MIB = (256.0, 131072.0)
"""Of a guest at its peak."""
LEAST_MIB = 24.0
"""A kernel needs that much."""
MAXIMUM = (1.05, 39.0)
"""A guest's maximum over its peak."""
USUAL_MAXIMUM = 4.0
"""Half of the worlds have none above this."""
HOST = (1.08, 2.0)
"""The host over the peak of all guests together."""

FIRST_SHARE = 0.8
"""Part of an equal share of the host that a guest has in use at the start, at most: no first look is too late."""
EASE_STEPS = 8
"""In which what it needs beyond that comes."""


@dataclass(frozen=True, slots=True)
class World:
    """n guests over STEPS samples, and their host."""

    family: str
    seed: int
    step_s: float
    demand: Floats
    """(STEPS, n) MiB; NaN while a guest does not run."""
    maximum: Floats
    """(n,) MiB."""
    host_mib: int

    @property
    def peak_mib(self) -> float:
        """The most that all guests together ask for."""
        return _peak(self.demand)

    @property
    def maximum_to_peak(self) -> float:
        """Of all guests together."""
        return float(self.maximum.sum() / np.nanmax(self.demand, axis=0).sum())

    @property
    def checksum(self) -> int:
        """Another one for whatever else guests and host could be."""
        parts = (self.demand, self.maximum, np.array([self.step_s, self.host_mib]))
        return crc32(b"".join(part.tobytes() for part in parts))

    def trace(self) -> Trace:
        """As one would be recorded."""
        times = np.arange(len(self.demand)) * self.step_s
        names = tuple(f"{self.family}-{number:02d}" for number in range(len(self.maximum)))
        running = ~np.isnan(self.demand)
        return Trace(
            names,
            tuple(
                Series(times[here], demand[here], np.full(here.sum(), maximum))
                for here, demand, maximum in zip(running.T, self.demand.T, self.maximum, strict=True)
            ),
        )


def families() -> tuple[str, ...]:
    """Names, in the order in which worlds are made."""
    return tuple(shape.__name__ for shape in SHAPES)


def worlds(seeds: Sequence[int], only: Sequence[str] = ()) -> Iterator[tuple[int, str]]:
    """Seed and family of every world; of all families unless some are named."""
    return ((seed, name) for seed in seeds for name in families() if not only or name in only)


def world(seed: int, family: str) -> World:
    """The one world of this family that the seed makes; no other family changes it."""
    shape = next(shape for shape in SHAPES if shape.__name__ == family)
    random = np.random.default_rng([seed, crc32(family.encode())])
    n = round(log_uniform(random, *GUESTS))
    step_s = float(random.choice(STEPS_S))
    sizes = _sizes(random, n)
    used = np.clip(shape(random, STEPS, n), 0.0, 1.0) * sizes
    demand = np.maximum(used, LEAST_MIB).round(1)
    maximum = np.ceil(np.nanmax(demand, axis=0) * _ratios(random, shape, n))
    host = log_uniform(random, *HOST)
    eased = _eased(demand, host * _peak(demand) / n)
    return World(family, seed, step_s, eased, maximum, round(host * _peak(eased)))


def _peak(demand: Floats) -> float:
    return float(np.nansum(demand, axis=1).max())


def _sizes(random: Random, n: int) -> Floats:
    """(n,) MiB: guests of one world differ by up to what its largest may be."""
    least, most = SIZES_MIB
    largest = log_uniform(random, 4 * least, most)
    return np.array([log_uniform(random, least, largest) for _ in range(n)])


def _ratios(random: Random, shape: Shape, n: int) -> Floats:
    """(n,) maximum over peak. Giants have none below the usual."""
    least, most = MAXIMUM
    if shape is giants:
        least = USUAL_MAXIMUM
    elif random.random() < 0.5:
        most = USUAL_MAXIMUM
    typical = log_uniform(random, least, most / 1.3)
    return typical * random.uniform(1.0, 1.3, n)


def _eased(demand: Floats, share: float) -> Floats:
    """`demand`, beginning with no more than a part of `share` (MiB) each."""
    eased = demand.copy()
    low = np.minimum(demand[:EASE_STEPS], FIRST_SHARE * share)
    eased[:EASE_STEPS] = low + (demand[:EASE_STEPS] - low) * (np.arange(EASE_STEPS) / EASE_STEPS)[:, None]
    return np.round(eased, 1)
