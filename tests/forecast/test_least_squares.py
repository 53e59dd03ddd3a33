"""WLS and OLS against numpy's least squares, and their prediction interval against the textbook's."""

import numpy as np
import pytest
from forecast_data import CALM_ROWS, MIB, Row, halving, least_squares, noisy, points, row_of
from hypothesis import given

from controller.forecast.bound import scale
from controller.forecast.model import Floats, Points
from controller.forecast.ols import OLS
from controller.forecast.wls import WLS


def design(ages: Floats) -> Floats:
    return np.column_stack([np.ones_like(ages), -ages])


@pytest.mark.parametrize("half_life", [1.0, 4.0, 32.0])
def test_wls_is_least_squares_under_weights_that_halve_by_look_where_demand_has_a_trend(half_life: float) -> None:
    data = noisy(1, domains=20, slope=100 * MIB)
    line = WLS(half_life_looks=half_life).fit(data)
    for row, (ages, values) in enumerate(zip(data.ages, data.values, strict=True)):
        level, slope = least_squares(ages, values, halving(12, half_life))
        assert line.level[row] == pytest.approx(level, rel=1e-9)
        assert line.slope[row] == pytest.approx(slope, rel=1e-7)


def test_unless_told_otherwise_a_point_of_a_trend_counts_half_of_the_one_after_it() -> None:
    climb = np.array([100.0, 71.0, 40.0, 12.0, 0.0])
    expected = least_squares(10.0 * np.arange(5), climb, np.array([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16]))
    line = WLS().fit(points([(10.0 * look, value) for look, value in enumerate(climb)]))
    assert (line.level[0], line.slope[0]) == pytest.approx(tuple(expected))


def test_seconds_do_not_count_for_the_weights_of_wls_but_for_its_slope() -> None:
    """Looks a minute apart while demand rose slowly, and a second apart now that it rises fast."""
    ages = np.array([0.0, 1, 2, 3, 63, 123, 183])
    values = np.array([145.0, 134, 125, 113, 70, 32, 0])
    expected = least_squares(ages, values, halving(7, 1.0))
    line = WLS().fit(points([*zip(ages.tolist(), values.tolist(), strict=True)]))
    assert (line.level[0], line.slope[0]) == pytest.approx(tuple(expected))


def test_looks_sixty_times_as_far_apart_make_slopes_a_sixtieth_as_steep_and_bounds_as_wide() -> None:
    near = noisy(1, domains=200, slope=MIB)
    close, far = WLS().fit(near), WLS().fit(near._replace(ages=60 * near.ages))
    assert far.slope * 60 == pytest.approx(close.slope)
    assert (far.level, scale(far, 3600.0)) == (pytest.approx(close.level), pytest.approx(scale(close, 60.0)))


def test_ols_is_least_squares() -> None:
    data = noisy(2, domains=20, slope=-MIB)
    line = OLS().fit(data)
    for row, (ages, values) in enumerate(zip(data.ages, data.values, strict=True)):
        level, slope = least_squares(ages, values, np.ones_like(ages))
        assert line.level[row] == pytest.approx(level, rel=1e-9)
        assert line.slope[row] == pytest.approx(slope, rel=1e-7)


@given(row=CALM_ROWS.filter(lambda row: len(row) > 1))
def test_any_two_points_and_more_agree_with_numpy(row: Row) -> None:
    ages, values = np.array(row).T
    level, slope = least_squares(ages, values, np.ones_like(ages))
    line = OLS().fit(points(row))
    assert line.level[0] == pytest.approx(level, rel=1e-6, abs=1e-6 * (1 + np.ptp(values)) * np.max(ages))
    assert line.slope[0] == pytest.approx(slope, rel=1e-6, abs=1e-6 * (1 + np.ptp(values)))


def test_ols_gives_the_textbook_prediction_interval() -> None:
    data = noisy(3, domains=1)
    ages, values, horizon = data.ages[0], data.values[0], 45.0
    inverse = np.linalg.inv(design(ages).T @ design(ages))
    coefficients = inverse @ design(ages).T @ values
    variance = np.sum((values - design(ages) @ coefficients) ** 2) / (len(ages) - 2)
    ahead = np.array([1.0, horizon])
    error = np.sqrt(variance * (1 + ahead @ inverse @ ahead))
    assert scale(OLS().fit(data), horizon)[0] == pytest.approx(error, rel=1e-6)


def test_wls_gives_the_prediction_interval_of_points_that_scatter_alike() -> None:
    data = noisy(4, domains=1, slope=100 * MIB)
    ages, values, horizon = data.ages[0], data.values[0], 45.0
    weights = np.diag(halving(12, 4.0))
    gain = np.linalg.inv(design(ages).T @ weights @ design(ages)) @ design(ages).T @ weights
    residual_maker = np.eye(len(ages)) - design(ages) @ gain
    residuals = residual_maker @ values
    variance = residuals @ weights @ residuals / np.trace(residual_maker.T @ weights @ residual_maker)
    ahead = np.array([1.0, horizon])
    error = np.sqrt(variance * (1 + ahead @ gain @ gain.T @ ahead))
    assert scale(WLS(half_life_looks=4.0).fit(data), horizon)[0] == pytest.approx(error, rel=1e-6)


def test_equal_points_make_a_flat_line_without_scatter() -> None:
    line = WLS().fit(points([(age, 512 * MIB) for age in (1, 4, 20, 90)]))
    assert (line.level[0], line.slope[0], line.sigma[0]) == (512 * MIB, 0.0, 0.0)


def test_a_ramp_is_followed_exactly() -> None:
    line = WLS().fit(points([(age, 512 * MIB - age * MIB) for age in (1, 4, 20, 90)]))
    assert line.level[0] == pytest.approx(512 * MIB)
    assert line.slope[0] == pytest.approx(MIB)
    assert line.sigma[0] == pytest.approx(0.0, abs=1e-6 * MIB)


def test_points_closer_than_a_millisecond_tell_no_slope() -> None:
    line = OLS().fit(points([(9, 100.0), (9 + 1e-6, 300.0), (9 + 2e-6, 200.0)]))
    assert (line.slope[0], line.spread[0]) == (0.0, np.inf)
    assert line.level[0] == pytest.approx(200.0)


def test_points_half_a_second_apart_tell_how_well_their_slope_is_known() -> None:
    assert OLS().fit(points([(9, 200.0), (9.5, 100.0)])).spread[0] == pytest.approx(2 * 0.25**2)


@pytest.mark.parametrize(("gap_s", "slope"), [(1.4e-3, 0.0), (1.42e-3, 100 / 1.42e-3)])
def test_points_tell_a_slope_once_their_times_deviate_by_a_millisecond(gap_s: float, slope: float) -> None:
    line = OLS().fit(points([(9, 200.0), (9 + gap_s, 100.0)]))
    assert line.slope[0] == pytest.approx(slope)


def test_simultaneous_points_make_a_flat_line_through_their_mean() -> None:
    line = OLS().fit(points([(9, 100.0), (9, 300.0), (9, 200.0)]))
    assert row_of(line, 0) == {
        "level": 200.0,
        "slope": 0.0,
        "sigma": pytest.approx(100.0),
        "weight": pytest.approx(3.0),
        "centre": -9.0,
        "spread": np.inf,
    }


def test_two_points_scatter_as_their_values_do_although_the_line_fits_them() -> None:
    line = OLS().fit(points([(0, 130.0), (10, 100.0)]))
    assert line.slope[0] == pytest.approx(3.0)
    assert line.sigma[0] == pytest.approx(np.std([130.0, 100.0], ddof=1))


def test_only_the_last_decision_points_count() -> None:
    data = noisy(5, domains=1, columns=32)
    cut = Points(data.ages[:, :5], data.values[:, :5], data.present[:, :5])
    assert row_of(WLS(decision_points=5).fit(data), 0) == row_of(WLS(decision_points=32).fit(cut), 0)


def test_recent_points_pull_harder_with_a_shorter_half_life() -> None:
    bend = points([(age, 100.0 - age - min(age, 60)) for age in range(0, 120, 10)])
    slopes = [WLS(half_life_looks=half_life).fit(bend).slope[0] for half_life in (1, 2, 4)]
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[0] > 1.1 * slopes[-1] > 0


def test_a_half_life_of_no_looks_to_speak_of_leaves_the_last_value() -> None:
    line = WLS(half_life_looks=0.001).fit(points([(age, 500.0 - age) for age in range(12)]))
    assert (line.level[0], line.slope[0]) == (500.0, 0.0)
