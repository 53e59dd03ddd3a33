"""Whether demand follows a trend: a slope is kept only where the window's own changes go along with it."""

import numpy as np

from controller.forecast.level import HANDICAP, Window
from controller.forecast.model import Bools, Floats
from controller.forecast.moments import Recent

ONE_WAY = 0.5
"""Part of its whole way that demand must have come forward for a trend to be looked for at all."""


def heads_somewhere(window: Window, way: Floats) -> Bools:
    """(n,) True where the net change is at least `ONE_WAY` of the whole `way` (n,): a cheap sieve, as few pass it."""
    net = np.abs(window.changes[:, -1])
    return np.asarray((net > 0) & (net >= ONE_WAY * way))


def follows(points: Recent, window: Window, slope: Floats, loss: Floats) -> Bools:
    """(n,) True where from point to point `slope` (bytes a second) would have misled less than a constant, whose
    `loss` (n,) is.

    A single jump makes a steep line but no trend: every flat stretch around it speaks against the slope. The slope is
    fitted to the changes it is judged by, so its losses count `m / (m - 1)` times with m changes, and one change proves
    nothing.
    """
    lags, changes = window
    steps = changes[:, :-1] - changes[:, 1:]
    expected = slope[:, None] * (lags[:, 1:] - lags[:, :-1])
    own = np.add.reduce(np.abs(steps - expected), axis=1) * HANDICAP
    known = np.add.reduce(points.present, axis=1, dtype=np.int64) - 1
    return np.asarray(own * known < loss * (known - 1))
