"""Where demand stands now, by weights of age that each domain's own past chooses.

Candidates are the last value and weighted means whose weights halve every few looks (weighted least squares of a
constant: R. G. Brown, Smoothing, Forecasting and Prediction, 1963). Each is judged by the absolute errors it would have
made within the window, every point forecast from those before it (A. P. Dawid's prequential principle, 1984). Absolute,
because demand jumps: one jump must not outvote ten calm looks.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from controller.forecast.model import Floats
from controller.forecast.moments import Recent, ratio

HALF_LIVES = (0.0, 1.0, 4.0)
"""Looks after which a point counts half: the last value alone, one that forgets noise of a look or two, and one for
steady noise. Looks, not seconds: how much of a change is noise shows from point to point."""

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
    changes = window.changes.T
    smoothed = _smoothers(len(changes)) @ changes
    means, errors = smoothed[:, 0], smoothed[:, 1:]
    counted = np.exp2(-np.arange(len(changes) - 1) / ERROR_HALF_LIFE)
    sums = np.add.reduce(np.abs(errors), axis=1)
    losses = np.vstack([sums[:1], sums[1:] * HANDICAP])
    best = losses.argmin(axis=0), np.arange(losses.shape[1])
    weight = points.present[:, 1:].astype(np.float64) @ counted
    return Level(means[best], np.sqrt(ratio((counted @ (errors * errors))[best], weight)), losses[best], sums[0])


@lru_cache(maxsize=8)
def _smoothers(k: int) -> Floats:
    """(len(HALF_LIVES), k, k): what makes of k changes, the newest first, each candidate's weighted mean, and the
    errors of its forecasts of each but the oldest from the older ones. Both are sums of changes, whatever these are.
    """
    return np.array([_smoothed(np.eye(k), 1.0 - 0.5 ** (1.0 / looks) if looks else 1.0) for looks in HALF_LIVES])


def _smoothed(changes: Floats, gain: float) -> Floats:
    """(k, n) the weighted mean of `changes` (k, n), and all errors but the oldest's."""
    mean, errors = changes[-1], []
    for change in changes[-2::-1]:
        errors.append(change - mean)
        mean = mean + gain * errors[-1]
    return np.array([mean, *reversed(errors)])
