"""Bounds whose width follows how often they break."""

import numpy as np
import pytest

from controller.forecast.bound import width


def test_a_broken_bound_widens_and_a_kept_one_narrows_the_next() -> None:
    after = width(np.array([1.0, 1.0]), np.array([True, False]), 0.95)
    assert after.tolist() == pytest.approx([1.095, 0.995])


def test_width_stays_between_a_quarter_of_the_models_own_and_four_times_that() -> None:
    after = width(np.array([4.0, 3.9, 0.25, 0.26]), np.array([True, True, False, False]), 0.95)
    assert after.tolist() == pytest.approx([4.0, 3.995, 0.25, 0.255])


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
