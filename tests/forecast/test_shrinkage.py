"""Ridge and lasso against scikit-learn, on times of mean 0 and variance 1."""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from forecast_data import MIB, noisy, points

from controller.forecast.lasso import Lasso
from controller.forecast.model import Floats
from controller.forecast.ols import OLS
from controller.forecast.ridge import Ridge


@pytest.fixture(scope="module")
def scikit() -> ModuleType:
    """Its linear models; imported when they are needed, as that takes a second of every pytest worker."""
    return import_module("sklearn.linear_model")


def level_and_slope(reference: Any, ages: Floats, values: Floats) -> tuple[float, float]:
    """What scikit-learn, fitted in standardised time, says now, and by how much that grows in a second."""
    centre, deviation = -ages.mean(), ages.std()
    reference.fit((-ages - centre)[:, None] / deviation, values)
    now, later = reference.predict([[-centre / deviation], [(1 - centre) / deviation]])
    return now, later - now


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [0, 4, 1000])
def test_ridge_penalty_is_the_one_of_scikit_learn_in_standardised_time(scikit: ModuleType, penalty: float) -> None:
    data = noisy(1, domains=10, slope=MIB / 10)
    line = Ridge(penalty_points=penalty).fit(data)
    for row, (ages, values) in enumerate(zip(data.ages, data.values, strict=True)):
        level, slope = level_and_slope(scikit.Ridge(alpha=penalty), ages, values)
        assert line.level[row] == pytest.approx(level, rel=1e-9)
        assert line.slope[row] == pytest.approx(slope, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("percent", [1, 30, 60, 99])
def test_lasso_penalty_is_the_one_of_scikit_learn_in_standardised_time_and_values(
    scikit: ModuleType, percent: float
) -> None:
    data = noisy(2, domains=10, slope=MIB / 10)
    line = Lasso(penalty_percent=percent).fit(data)
    for row, (ages, values) in enumerate(zip(data.ages, data.values, strict=True)):
        alpha = percent / 100 * values.std()
        level, slope = level_and_slope(scikit.Lasso(alpha=alpha, tol=1e-12), ages, values)
        assert line.level[row] == pytest.approx(level, rel=1e-9)
        assert line.slope[row] == pytest.approx(slope, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("model", [Ridge(penalty_points=0), Lasso(penalty_percent=0)])
def test_without_a_penalty_both_are_least_squares(model: Ridge | Lasso) -> None:
    data = noisy(3, domains=5, slope=MIB)
    ours, plain = model.fit(data), OLS().fit(data)
    for field in ("level", "slope", "sigma", "weight", "centre", "spread"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(plain, field))


def test_the_penalty_of_ridge_counts_as_points_of_flat_evidence() -> None:
    line = Ridge(penalty_points=4).fit(points([(0, 300.0), (10, 200.0), (20, 100.0), (30, 0.0)]))
    assert line.slope[0] == pytest.approx(10.0 * 4 / (4 + 4))
    assert line.spread[0] == pytest.approx(500.0 * (4 + 4) / 4)


def test_lasso_ignores_a_weak_trend_and_keeps_a_strong_one() -> None:
    weak = [(0, 110.0), (10, 90.0), (20, 110.0), (30, 95.0)]
    strong = [(0, 131.0), (10, 119.0), (20, 111.0), (30, 99.0)]
    line = Lasso(penalty_percent=50).fit(points(weak, strong))
    assert line.slope[0] == 0.0
    assert line.spread[0] == np.inf
    assert line.slope[1] == pytest.approx(1.04 - 0.5 * np.std([131, 119, 111, 99]) / np.std([0, 10, 20, 30]))


def test_lasso_at_full_penalty_is_the_mean() -> None:
    line = Lasso(penalty_percent=100).fit(points([(0, 130.0), (10, 121.0), (20, 109.0)]))
    assert line.slope[0] == pytest.approx(0.0, abs=1e-12)
    assert line.level[0] == pytest.approx(120.0)
    assert line.sigma[0] == pytest.approx(np.std([130, 121, 109], ddof=1))


@pytest.mark.parametrize("model", [Ridge(), Lasso()])
def test_two_points_scatter_as_their_values_do(model: Ridge | Lasso) -> None:
    line = model.fit(points([(0, 130.0), (10, 100.0)]))
    assert line.sigma[0] == pytest.approx(np.std([130.0, 100.0], ddof=1))
