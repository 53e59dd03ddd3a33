"""Where demand stands now, by weights of age that each domain's own past chooses.

Candidates are the last value and weighted means whose weights halve every few looks (weighted least squares of a
constant: R. G. Brown, Smoothing, Forecasting and Prediction, 1963). Each is judged by the absolute errors it would have
made within the window, every point forecast from those before it (A. P. Dawid's prequential principle, 1984). Absolute,
because demand jumps: one jump must not outvote ten calm looks.
"""

from typing import NamedTuple

import numpy as np

from controller.forecast.model import Floats
from controller.forecast.moments import Recent, ratio

HALF_LIVES = (1.0, 4.0)
"""Looks after which a point counts half: one that forgets noise of a look or two, and one for steady noise. Looks, not
seconds: how much of a change is noise shows from point to point."""

HANDICAP = 1.1
"""Errors of whatever is not the last value count that much more: of several candidates the best looks better than it
is, and the last value needs no luck."""

ERROR_HALF_LIFE = 3.0
"""Looks after which an error counts half for the scatter: a jump widens the next few bounds, not the whole window's."""


class Window(NamedTuple):
    """The points of n domains, absent ones filled with the oldest present: nothing changed before it. (n, k)."""

    lags: Floats
    changes: Floats


class Level(NamedTuple):
    """All (n,)."""

    change: Floats
    """The present level, bytes above the newest value."""
    error: Floats
    """Root mean square of the errors it would have made, bytes."""
    loss: Floats
    """Sum of their absolute values, handicap included, bytes."""
    way: Floats
    """Sum of all changes without their signs, bytes."""


def filled(points: Recent) -> Window:
    """The window without holes."""
    if points.present.all():
        return Window(points.lags, points.changes)
    oldest = np.maximum(np.add.reduce(points.present, axis=1, dtype=np.int64) - 1, 0)[:, None]
    lags = np.where(points.present, points.lags, np.take_along_axis(points.lags, oldest, axis=1))
    oldest_change = np.take_along_axis(points.changes, oldest, axis=1) * points.present[:, :1]
    return Window(lags, np.where(points.present, points.changes, oldest_change))


def level(points: Recent, window: Window) -> Level:
    """The candidate with the least loss."""
    columns = np.ascontiguousarray(window.changes.T)
    counted = np.exp2(-np.arange(len(columns) - 1) / ERROR_HALF_LIFE)
    steps = columns[:-1] - columns[1:]
    best, squares, way = np.zeros(columns.shape[1]), counted @ (steps * steps), np.add.reduce(np.abs(steps), axis=0)
    loss = way
    for half_life in HALF_LIVES:
        mean, errors = _smoothed(columns, 1.0 - 0.5 ** (1.0 / half_life))
        own = np.add.reduce(np.abs(errors), axis=0) * HANDICAP
        better = own < loss
        best, loss = np.where(better, mean, best), np.where(better, own, loss)
        squares = np.where(better, counted @ (errors * errors), squares)
    weight = points.present[:, 1:].astype(np.float64) @ counted
    return Level(best, np.sqrt(ratio(squares, weight)), loss, way)


def _smoothed(columns: Floats, gain: float) -> tuple[Floats, Floats]:
    """The weighted mean, and each column's error (k - 1, n) when forecast from the older ones."""
    mean = columns[-1]
    errors = np.empty_like(columns[:-1])
    for column in range(len(errors) - 1, -1, -1):
        np.subtract(columns[column], mean, out=errors[column])
        mean = mean + gain * errors[column]
    return mean, errors
