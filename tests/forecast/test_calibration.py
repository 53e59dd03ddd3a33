"""Bounds whose width follows how often they break."""

import numpy as np
import pytest
from forecast_data import line_of, row_of

from controller.forecast.bound import widened, width


def test_a_broken_bound_widens_and_a_kept_one_narrows_the_next() -> None:
    after = width(np.array([1.0, 1.0]), np.array([True, False]), 0.95)
    assert after.tolist() == pytest.approx([1.095, 0.995])


def test_width_stays_between_a_quarter_of_the_models_own_and_four_times_that() -> None:
    after = width(np.array([4.0, 3.9, 0.25, 0.26]), np.array([True, True, False, False]), 0.95)
    assert after.tolist() == pytest.approx([4.0, 3.995, 0.25, 0.255])


def test_only_the_scatter_is_widened() -> None:
    line = line_of(level=7.0, slope=1.0, sigma=3.0, weight=2.0, centre=-5.0, spread=9.0)
    assert row_of(widened(line, np.array([2.0])), 0) == row_of(line, 0) | {"sigma": 6.0}


@pytest.mark.parametrize("percentile", [0.8, 0.95])
@pytest.mark.parametrize("noise", [0.5, 1.0, 1.7])
def test_bounds_of_a_model_that_is_wrong_about_its_error_come_to_hold_as_often_as_promised(
    percentile: float, noise: float
) -> None:
    errors = np.random.default_rng(5).normal(0, noise, 6000)
    quantile = {0.8: 0.8416, 0.95: 1.6449}[percentile]
    current, broken = np.ones(1), []
    for error in errors:
        broken.append(error > quantile * current[0])
        current = width(current, np.array([broken[-1]]), percentile)
    assert 1 - np.mean(broken) == pytest.approx(percentile, abs=0.01)
