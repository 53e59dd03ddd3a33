"""How often demand stays under the bound that promises to hold it, on demand that is what the models assume.

The bound uses the normal quantile, so few points give a little less than promised: by Student's distribution
93.5 % with 10 degrees of freedom and 94.5 % with 30, where 95 % were meant.
"""

import numpy as np
import pytest
from forecast_data import MIB, noisy

from controller.forecast.bound import upper
from controller.forecast.lasso import Lasso
from controller.forecast.last_value import LastValue
from controller.forecast.model import Model
from controller.forecast.ols import OLS
from controller.forecast.ridge import Ridge
from controller.forecast.wls import WLS

DOMAINS = 20_000
"""The standard error of a share of 95 % is 0.15 % then."""


def coverage(model: Model, columns: int, slope: float = 0.0, ahead: float = 30.0) -> float:
    """Share of domains whose next value, `ahead` seconds from now, stays under the 95 % bound."""
    data = noisy(7, DOMAINS, columns, slope)
    value = 1024 * MIB + slope * ahead + np.random.default_rng(8).normal(0, 10 * MIB, DOMAINS)
    return float(np.mean(value <= upper(model.fit(data), ahead, 0.95)))


@pytest.mark.parametrize("slope", [0.0, MIB])
def test_least_squares_keeps_its_promise_with_many_points(slope: float) -> None:
    assert coverage(OLS(decision_points=32), 32, slope) == pytest.approx(0.945, abs=0.005)


@pytest.mark.parametrize("slope", [0.0, MIB])
def test_least_squares_keeps_nearly_its_promise_with_twelve_points(slope: float) -> None:
    assert coverage(OLS(), 12, slope) == pytest.approx(0.935, abs=0.005)


@pytest.mark.parametrize("slope", [0.0, MIB, 10 * MIB])
@pytest.mark.parametrize("half_life", [1.0, 4.0])
def test_weights_cost_little_of_the_promise_for_the_next_look(half_life: float, slope: float) -> None:
    assert 0.90 <= coverage(WLS(half_life_looks=half_life), 12, slope, ahead=0.0) <= 0.97


def test_a_trend_that_hides_in_noise_costs_more_of_it() -> None:
    """9 MiB from look to look: few find a slope, and a mean lags behind."""
    assert 0.85 <= coverage(WLS(), 12, 0.3 * MIB, ahead=0.0) <= 0.90


@pytest.mark.parametrize("model", [Ridge(), Lasso(), LastValue()])
def test_models_that_doubt_trends_keep_their_promise_on_calm_demand(model: Model) -> None:
    assert 0.93 <= coverage(model, 12) <= 0.96
