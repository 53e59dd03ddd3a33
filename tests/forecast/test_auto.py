"""Auto leans to whichever model does best on each domain."""

import numpy as np
import pytest
from forecast_data import MIB, noisy, points

from controller.forecast.auto import Auto
from controller.forecast.model import Points
from controller.forecast.wls import WLS


def test_a_climb_is_continued() -> None:
    line = Auto().fit(points([(10 * age, 1000.0 - 50 * age) for age in range(12)]))
    assert line.slope[0] == pytest.approx(5.0, rel=0.05)


def test_after_a_jump_the_new_value_is_the_level() -> None:
    line = Auto().fit(points([(10 * age, 900.0 if age < 4 else 100.0) for age in range(12)]))
    assert line.level[0] == pytest.approx(900.0, rel=0.02)


def test_noise_is_averaged_as_well_as_by_the_default() -> None:
    data = noisy(3, domains=2000)
    auto, default = (abs(model.fit(data).level - 1024 * MIB).mean() for model in (Auto(), WLS()))
    assert auto < 1.03 * default


def test_a_leap_of_many_orders_of_magnitude_is_fitted_without_an_overflow() -> None:
    ages = np.array([[0.0, 0.001, 0.002, 22337.0, 22337.0, 22337.0, 22337.0, 22337.0]])
    values = np.array([[1.7e16, 2.7e12, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    line = Auto().fit(Points(ages, values, np.ones((1, 8), dtype=np.bool_)))
    assert np.isfinite(line.level).all()
    assert (line.spread > 0).all()
