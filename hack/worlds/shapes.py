"""Families of demand: how guests of one kind use memory, at any scale of size and time.

A shape is a function of a random generator, steps and guests; it gives (steps, guests) parts of each guest's size, in
[0, 1], NaN while a guest does not run. Nothing in it is a number of MiB or of seconds. A guest that does not run from
beginning to end runs in one piece: traces know no restarts, so a guest that boots anew goes on with little in use.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Random = np.random.Generator
Shape = Callable[[Random, int, int], Floats]


def log_uniform(random: Random, low: float, high: float) -> float:
    """Every order of magnitude is as likely."""
    return float(low * (high / low) ** random.random())


def calm(random: Random, steps: int, n: int) -> Floats:
    """Hardly anything: a slow drift about a level, and noise of a few thousandths."""
    drift = np.sin(_clock(steps)[:, None] * random.uniform(0.2, 2, n) + random.uniform(0, 7, n))
    return random.uniform(0.2, 0.9, n) + 0.02 * drift + random.normal(0, 0.002, (steps, n))


def ramps(random: Random, steps: int, n: int) -> Floats:
    """Up along a straight line, a while there, down along another, a while there; each guest at its own pace."""
    pause, climb, top, fall = (random.uniform(0.1, 1, n) for _ in range(4))
    bounds = np.cumsum([pause, climb, top, fall], axis=0)
    low, high, rounds = random.uniform(0.05, 0.3, n), random.uniform(0.6, 1, n), random.uniform(2, 25, n)
    place = (np.linspace(0, rounds, steps) + random.random(n)) % 1 * bounds[3]
    up = np.clip((place - bounds[0]) / climb, 0, 1)
    down = np.clip((place - bounds[2]) / fall, 0, 1)
    found: Floats = low + (high - low) * (up - down)
    return found


def jobs(random: Random, steps: int, n: int) -> Floats:
    """Batch jobs that begin by chance and may overlap; sizes and lengths are heavy-tailed."""
    return _each(n, lambda: _batch(random, steps, log_uniform(random, 6, 60), log_uniform(random, 5, 200)))


def saw_teeth(random: Random, steps: int, n: int) -> Floats:
    """Garbage-collected heaps: steady growth, and a fall to what is alive. Some are collected every few steps."""
    return _each(n, lambda: _heap(random, steps))


def spikes(random: Random, steps: int, n: int) -> Floats:
    """A level, and short bursts that nothing announces."""
    return _each(n, lambda: _bursts(random, steps, log_uniform(random, 3, 40), log_uniform(random, 1, 12), 0.9))


def together(random: Random, steps: int, n: int) -> Floats:
    """All rise within a few steps of each other, and fall again: load from one place, or one timetable."""
    wave = _levels(random, steps, steps / random.uniform(8, 30), (0.15, 0.2, 0.9))
    late = random.integers(0, random.integers(1, 20), n)
    common = wave[np.maximum(np.arange(steps)[:, None] - late, 0)]
    found: Floats = common * random.uniform(0.6, 1, n) + random.normal(0, 0.005, (steps, n))
    return found


def leaks(random: Random, steps: int, n: int) -> Floats:
    """Steady growth over a large part of the time, until the guest is full or somebody starts its service anew."""
    return _each(n, lambda: _teeth(random, steps, log_uniform(random, 0.15, 2) * steps, (0.1, 0.3), 1.0))


def walks(random: Random, steps: int, n: int) -> Floats:
    """Random walks of the logarithm that are drawn back to the mean, slowly or fast."""
    back, swing = log_uniform(random, 0.001, 0.1), log_uniform(random, 0.003, 0.06)
    place, found = np.zeros(n), np.empty((steps, n))
    for step, pushed in enumerate(random.normal(0, swing, (steps, n))):
        place = place * (1 - back) + pushed
        found[step] = place
    return 0.35 * np.exp(found)


def days(random: Random, steps: int, n: int) -> Floats:
    """A day's rhythm with noise; guests of several time zones."""
    angle = random.integers(2, 9) * _clock(steps)[:, None] + random.choice([0.0, 0.8, 2.1, 4.2], n)
    found: Floats = 0.5 + random.uniform(0.1, 0.4, n) * np.sin(angle) + random.normal(0, 0.015, (steps, n))
    return found


def weekdays(random: Random, steps: int, n: int) -> Floats:
    """Office hours on five days of seven: what two quiet days teach is wrong on the third."""
    day = _clock(steps)[:, None] / (2 * np.pi) * random.integers(7, 15) + random.integers(0, 7)
    begin, end = random.uniform(0.3, 0.4, n), random.uniform(0.65, 0.8, n)
    hour = day % 1
    edge = 0.03
    at_work = np.clip((hour - begin) / edge, 0, 1) - np.clip((hour - end) / edge, 0, 1)
    return 0.15 + random.uniform(0.3, 0.8, n) * at_work * (day % 7 < 5) + random.normal(0, 0.01, (steps, n))


def backups(random: Random, steps: int, n: int) -> Floats:
    """Quiet services; once a night a backup fills each for a while, all at one time or one after the other."""
    nights = random.integers(2, 9)
    length = random.uniform(0.01, 0.06)
    begin = random.choice([0.0, length, 0.9]) * np.arange(n) / max(n - 1, 1)
    night = (_clock(steps)[:, None] / (2 * np.pi) * nights - begin) % 1
    busy = (night > 0.4) & (night < 0.4 + length)
    return np.where(busy, random.uniform(0.7, 1, n), random.uniform(0.1, 0.35, n)) + random.normal(0, 0.004, (steps, n))


def deployments(random: Random, steps: int, n: int) -> Floats:
    """Steps that stay: each new version needs another level for good, most often a higher one."""
    return _each(n, lambda: _versions(random, steps))


def rolling_upgrades(random: Random, steps: int, n: int) -> Floats:
    """Guests are started anew one after the other: each falls to little, and fills its caches again."""
    level = np.repeat(random.uniform(0.4, 0.95, (1, n)), steps, axis=0)
    between = max(int(steps / (n * random.uniform(1.5, 6))), 2)
    down, filling = random.integers(2, 12), log_uniform(random, 5, 200)
    for begin in range(
        int(random.integers(10, steps // 4)), steps, between * n + int(steps * random.uniform(0.05, 0.3))
    ):
        for guest, at in enumerate(range(begin, min(begin + between * n, steps), between)):
            age = np.arange(steps - at)
            warm = random.uniform(0.4, 0.95) * (1 - 0.8 * np.exp(-np.maximum(age - down, 0) / filling))
            level[at:, guest] = np.where(age < down, 0.05, warm)
    return level + random.normal(0, 0.003, (steps, n))


def builds(random: Random, steps: int, n: int) -> Floats:
    """Build servers: nothing, then a steep climb through the stages of a build, then nothing; busier by day."""
    return _each(n, lambda: _builder(random, steps))


def giants(random: Random, steps: int, n: int) -> Floats:
    """Little in use beside a maximum of many times that, and a rare wave of a few times the usual."""
    return _each(n, lambda: _bursts(random, steps, log_uniform(random, 1, 8), log_uniform(random, 20, 120), 0.7))


def failovers(random: Random, steps: int, n: int) -> Floats:
    """Pairs of an active and a standby guest that swap roles at once."""
    found = np.empty((steps, n))
    for first in range(0, n, 2):
        swaps = random.random(steps) < random.uniform(2, 20) / steps
        active = (np.cumsum(swaps) % 2).astype(float)[:, None]
        busy, idle = random.uniform(0.6, 1), random.uniform(0.05, 0.25)
        pair = idle + (busy - idle) * np.hstack([active, 1 - active])
        found[:, first : first + 2] = pair[:, : n - first]
    return found + random.normal(0, 0.006, (steps, n))


def pairs(random: Random, steps: int, n: int) -> Floats:
    """A front end and its database: the second does what the first did, a little later and more slowly."""
    found = np.empty((steps, n))
    for first in range(0, n, 2):
        front = _batch(random, steps, log_uniform(random, 8, 50), log_uniform(random, 10, 150))
        kernel = np.exp(-np.arange(steps) / log_uniform(random, 3, 60))
        behind = np.convolve(np.roll(front, random.integers(1, 20)), kernel / kernel.sum())[:steps]
        found[:, first : first + 2] = np.stack([front, behind], axis=1)[:, : n - first]
    return found


def sleepers(random: Random, steps: int, n: int) -> Floats:
    """Idle for so long that nobody remembers them otherwise; each wakes once or twice, at once and for long."""
    found = np.repeat(random.uniform(0.04, 0.12, (1, n)), steps, axis=0)
    for guest in range(n):
        for _ in range(random.integers(1, 3)):
            at = random.integers(steps // 4, steps)
            found[at : at + random.integers(steps // 50, steps // 6), guest] = random.uniform(0.5, 1)
    return found + random.normal(0, 0.002, (steps, n))


def flapping(random: Random, steps: int, n: int) -> Floats:
    """Between two levels and back every few steps: whoever follows is always late."""
    return _each(n, lambda: _levels(random, steps, log_uniform(random, 2, 25), (0.2, 0.8)))


def fleets(random: Random, steps: int, n: int) -> Floats:
    """One load over as few workers as will do: further ones are filled when it rises, and drained when it falls."""
    load = 0.5 + 0.35 * np.sin(random.integers(2, 8) * _clock(steps)) + 0.1 * walks(random, steps, 1)[:, 0]
    filled = np.clip(load[:, None] * n - np.arange(n), 0, 1)
    return 0.08 + 0.85 * filled + random.normal(0, 0.01, (steps, n))


def mixed(random: Random, steps: int, n: int) -> Floats:
    """Every guest is of another family."""
    kinds = random.choice(len(_ALONE), n)
    return np.hstack([_ALONE[kind](random, steps, 1) for kind in kinds])


def come_and_go(random: Random, steps: int, n: int) -> Floats:
    """Guests that are started and stopped; the first is always there."""
    found = np.clip(mixed(random, steps, n), 0, 1)
    for guest in range(1, n):
        begin, end = np.sort(random.integers(0, steps, 2))
        if random.random() < 0.7 and end - begin > steps // 20:
            found[:begin, guest] = found[end:, guest] = np.nan
    return found


SHAPES: tuple[Shape, ...] = (
    calm,
    ramps,
    jobs,
    saw_teeth,
    spikes,
    together,
    leaks,
    walks,
    days,
    weekdays,
    backups,
    deployments,
    rolling_upgrades,
    builds,
    giants,
    failovers,
    pairs,
    sleepers,
    flapping,
    fleets,
    mixed,
    come_and_go,
)

TRENDS: tuple[Shape, ...] = (ramps, saw_teeth, leaks, days, weekdays)
"""Families whose demand goes one way for long: where a forecast should tell something."""

_ALONE: tuple[Shape, ...] = (calm, ramps, jobs, saw_teeth, spikes, leaks, walks, days, deployments, builds, sleepers)
"""Families in which a guest needs no others."""


def _clock(steps: int) -> Floats:
    """(steps,) an angle that goes round once."""
    return np.linspace(0, 2 * np.pi, steps, endpoint=False)


def _each(n: int, one: Callable[[], Floats]) -> Floats:
    return np.stack([one() for _ in range(n)], axis=1)


def _levels(random: Random, steps: int, mean: float, levels: Sequence[float]) -> Floats:
    """One of `levels` after another, each for a time of `mean` steps by chance."""
    changes = random.random(steps) < 1 / max(mean, 1.0)
    drawn = random.choice(levels, steps)
    found: Floats = drawn[np.cumsum(changes) - changes[0]]
    return found


def _batch(random: Random, steps: int, count: float, mean: float) -> Floats:
    """About `count` jobs of `mean` steps."""
    load = np.zeros(steps + 1)
    for begin in random.integers(-int(mean), steps, random.poisson(count)).tolist():
        size, length = 0.12 * (1 + random.pareto(1.4)), int(mean * (0.3 + random.pareto(2.0))) + 1
        load[max(begin, 0)] += size
        load[min(max(begin + length, 0), steps)] -= size
    return random.uniform(0.03, 0.15) + np.minimum(np.cumsum(load[:steps]), 0.85)


def _teeth(random: Random, steps: int, mean: float, low: tuple[float, float], high: float) -> Floats:
    """Straight lines up, of `mean` steps by chance, each from a level between the two of `low` to at most `high`."""
    found, at = np.empty(steps), 0
    while at < steps:
        length = max(int(mean * random.uniform(0.6, 1.4)), 2)
        begin = random.uniform(*low)
        tooth = np.linspace(begin, begin + (high - begin) * random.uniform(0.5, 1), length)
        if at == 0:
            tooth = tooth[random.integers(0, length - 1) :]
        found[at : at + len(tooth)] = tooth[: steps - at]
        at += len(tooth)
    return found


def _heap(random: Random, steps: int) -> Floats:
    alive = random.uniform(0.15, 0.6)
    return _teeth(random, steps, log_uniform(random, 3, 400), (alive, alive + 0.1), 1.0)


def _bursts(random: Random, steps: int, count: float, length: float, height: float) -> Floats:
    """About `count` bursts of `length` steps; none lasts long."""
    found = random.uniform(0.05, 0.25) + random.normal(0, 0.004, steps)
    for at in random.integers(0, steps, random.poisson(count)).tolist():
        found[at : at + 1 + random.poisson(length)] += height * random.uniform(0.2, 1)
    return found


def _versions(random: Random, steps: int) -> Floats:
    """Each some tenths larger than the one before, now and then smaller."""
    changes = random.random(steps) < random.uniform(2, 8) / steps
    factors = np.where(changes, random.choice([0.8, 1.15, 1.3, 1.7], steps), 1.0)
    level = random.uniform(0.1, 0.4) * np.cumprod(factors)
    return level + random.normal(0, 0.004, steps)


def _builder(random: Random, steps: int) -> Floats:
    """Stages rise to the linker's peak at the end."""
    found = np.full(steps, random.uniform(0.03, 0.1))
    length, day = log_uniform(random, 8, 120), 2 * np.pi / steps * random.integers(2, 9)
    at = 0.0
    while (at := at + random.exponential(1.5 * length) * (1.6 + np.sin(day * at))) < steps:
        stages = np.cumsum(random.dirichlet([1.0] * 4)) * random.uniform(0.3, 0.9)
        build = np.repeat(stages, max(int(length * random.uniform(0.1, 0.6)), 1))
        first = int(at)
        found[first : first + len(build)] += build[: steps - first]
        at += len(build)
    return found
