"""The last value as a forecast."""

import numpy as np
import pytest
from forecast_data import points, row_of

from controller.forecast.bound import scale
from controller.forecast.last_value import LastValue


def test_forecast_is_the_newest_value_and_its_error_the_usual_change() -> None:
    line = LastValue().fit(points([(5, 130.0), (17, 100.0), (20, 140.0)]))
    usual_change = np.sqrt((30**2 + 40**2) / 2)
    assert row_of(line, 0) == {
        "level": 130.0,
        "slope": 0.0,
        "sigma": pytest.approx(usual_change / np.sqrt(2)),
        "weight": 1.0,
        "centre": -5.0,
        "spread": np.inf,
    }
    assert scale(line, 1.0)[0] == pytest.approx(usual_change)
    assert scale(line, 600.0)[0] == pytest.approx(usual_change)


def test_only_the_last_decision_points_count() -> None:
    line = LastValue(decision_points=2).fit(points([(5, 130.0), (17, 100.0), (20, 9e9)]))
    assert scale(line, 1.0)[0] == pytest.approx(30.0)
