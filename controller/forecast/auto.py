"""Auto: a mixture of all single models, weighted for each domain by how they have done on it of late."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from controller.forecast.lasso import Lasso
from controller.forecast.last_value import LastValue
from controller.forecast.level import HANDICAP
from controller.forecast.model import Floats, Line, Model, Points
from controller.forecast.moments import Recent, ratio, recent
from controller.forecast.ols import OLS
from controller.forecast.ridge import Ridge
from controller.forecast.wls import WLS

TRIALS = 6
"""Past looks on which the experts are tried: enough to tell them apart, and half of the window is left to fit."""

FORGETTING = 0.8
"""Weight of a trial relative to the next younger one."""

SHARPNESS = 16.0
"""Power of the relative loss: an expert that errs a tenth more than the best counts a fifth of it, and one that errs
twice as much nothing."""

LEAST_GROWTH = 1e-9
"""Part of its scatter by which a mixture must err more with each second for that to count: in thirty years it would not
double, and the square of the quotient stays finite."""


class _Kind(Protocol):
    def __call__(self, *, decision_points: int) -> Model: ...


EXPERTS: tuple[_Kind, ...] = (WLS, LastValue, Lasso, Ridge, OLS)
"""The default comes first: only the losses of the others bear the handicap of having been picked by luck."""


@dataclass(frozen=True, slots=True)
class Auto:
    """Weighted experts (N. Cesa-Bianchi, G. Lugosi, Prediction, Learning, and Games, 2006, chapter 2).

    Each expert is fitted to the points before each of the last `TRIALS` looks, with nothing of what came after. Its
    weight is `(least loss / own loss) ** SHARPNESS`, the loss being its discounted absolute errors: a power, so that
    weights do not depend on the unit of demand.
    """

    decision_points: int = 12
    """How many previous points count, >= 1."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains; about thirty times the cost of one."""
        newest_first = recent(points, self.decision_points)
        ages = newest_first.age[:, None] + newest_first.lags
        near = Points(ages, newest_first.changes * newest_first.present, newest_first.present)
        experts = [kind(decision_points=self.decision_points) for kind in EXPERTS]
        losses = np.stack([_loss(expert, near) for expert in experts])
        losses[1:] *= HANDICAP
        return _mixture([expert.fit(near) for expert in experts], _weights(losses), newest_first)


def _loss(expert: Model, points: Points) -> Floats:
    """(n,) discounted absolute errors of forecasts made before each of the last looks, bytes."""
    loss = np.zeros(len(points.ages))
    for newest in range(min(TRIALS, points.ages.shape[1] - 1)):
        before = slice(newest + 1, None)
        now = points.ages[:, newest, None]
        known = points.present[:, before]
        past = Points((points.ages[:, before] - now) * known, points.values[:, before], known)
        error = np.abs(points.values[:, newest] - expert.fit(past).level)
        loss += FORGETTING**newest * np.where(known[:, 0], error, 0.0)
    return loss


def _weights(losses: Floats) -> Floats:
    """(experts, n), adding up to 1."""
    least = np.minimum.reduce(losses, axis=0)
    relative = np.where(losses > 0, ratio(np.broadcast_to(least, losses.shape), losses), 1.0)
    weights = relative**SHARPNESS
    return np.asarray(weights / np.add.reduce(weights, axis=0))


def _mixture(lines: list[Line], weights: Floats, points: Recent) -> Line:
    """The weighted mean of the lines; it scatters as much as they do on average, and errs as they do further ahead."""

    def mean(values: list[Floats]) -> Floats:
        return np.asarray(np.add.reduce(weights * np.stack(values), axis=0))

    nearest = mean([line.sigma * np.sqrt(1.0 + 1.0 / line.weight) for line in lines])
    growth = mean([line.sigma / np.sqrt(line.spread) for line in lines])
    sigma = nearest / np.sqrt(2.0)
    return Line(
        level=points.value + mean([line.level for line in lines]),
        slope=mean([line.slope for line in lines]),
        sigma=sigma,
        weight=np.ones_like(sigma),
        centre=-points.age,
        spread=np.divide(sigma, growth, out=np.full_like(sigma, np.inf), where=growth > LEAST_GROWTH * sigma) ** 2,
    )
