"""Point forecast, its error, the upper bound, and when the bound reaches a limit."""

from statistics import NormalDist

import numpy as np
import pytest
from forecast_data import FIELDS, MIB, line_of
from hypothesis import given
from hypothesis import strategies as st

from controller.forecast.bound import predict, scale, time_to_reach, upper
from controller.forecast.model import Line

HORIZONS = np.concatenate([np.linspace(0, 600, 61), np.geomspace(1e3, 1e6, 31)])

SIZES = st.floats(-(2.0**40), 2.0**40)
LINES = st.builds(
    line_of,
    level=SIZES,
    slope=st.just(0.0) | st.floats(-1e9, 1e9),
    sigma=st.just(0.0) | st.floats(1.0, 2.0**40),
    weight=st.floats(1, 32),
    centre=st.floats(-1e4, 0),
    spread=st.just(np.inf) | st.floats(1.0, 1e9),
)


def reach(line: Line, limit: float, percentile: float = 0.95) -> float:
    return float(time_to_reach(line, np.array([limit]), percentile)[0])


def bound(line: Line, horizon: float, percentile: float = 0.95) -> float:
    return float(upper(line, horizon, percentile)[0])


def test_forecast_follows_the_line() -> None:
    assert predict(line_of(level=100.0, slope=2.0), 30.0).tolist() == [160.0]


def test_forecast_and_bound_never_fall_below_zero() -> None:
    falling = line_of(level=100.0, slope=-2.0, sigma=1.0)
    assert predict(falling, 60.0).tolist() == [0.0]
    assert upper(falling, 60.0, 0.95).tolist() == [0.0]


def test_error_grows_away_from_the_centre() -> None:
    line = line_of(sigma=3.0, weight=4.0, centre=-10.0, spread=100.0)
    assert scale(line, 20.0)[0] == pytest.approx(3.0 * np.sqrt(1 + 1 / 4 + 30**2 / 100))


def test_error_of_a_line_without_slope_does_not_grow() -> None:
    line = line_of(sigma=3.0, weight=4.0, centre=-10.0)
    assert scale(line, 0.0) == scale(line, 9e9) == pytest.approx(3.0 * np.sqrt(1.25))


def test_bound_is_the_normal_quantile_of_the_error() -> None:
    line = line_of(level=100.0, sigma=3.0)
    error = float(scale(line, 5.0)[0])
    assert bound(line, 5.0, 0.99) == pytest.approx(100.0 + NormalDist().inv_cdf(0.99) * error)


def test_bound_at_one_half_is_the_forecast() -> None:
    line = line_of(level=100.0, slope=2.0, sigma=3.0)
    assert upper(line, 30.0, 0.5) == predict(line, 30.0)


def test_every_domain_has_its_own_horizon_percentile_and_limit() -> None:
    one = line_of(level=100.0, slope=1.0, sigma=3.0)
    line = Line(**{field: np.repeat(getattr(one, field), 2) for field in FIELDS})
    horizon, percentile, limit = np.array([5.0, 50.0]), np.array([0.9, 0.6]), np.array([200.0, 300.0])
    bounds, times = upper(line, horizon, percentile), time_to_reach(line, limit, percentile)
    assert bounds.tolist() == [bound(one, 5.0, 0.9), bound(one, 50.0, 0.6)]
    assert times.tolist() == [reach(one, 200.0, 0.9), reach(one, 300.0, 0.6)]


def test_a_bound_reaches_its_limit_by_its_own_scatter_whatever_others_have_reached() -> None:
    one, other = line_of(level=300.0, slope=1.0, sigma=9.0), line_of(level=100.0, slope=1.0, sigma=3.0)
    line = Line(*(np.concatenate(each) for each in zip(one, other, strict=True)))
    assert time_to_reach(line, np.array([200.0, 200.0]), 0.9).tolist() == [0.0, reach(other, 200.0, 0.9)]


def test_a_rising_line_reaches_the_limit_when_it_gets_there() -> None:
    assert reach(line_of(level=100.0, slope=2.0), 160.0) == pytest.approx(30.0)


def test_a_bound_above_the_limit_has_reached_it() -> None:
    assert reach(line_of(level=100.0, slope=-2.0), 100.0) == 0.0
    assert reach(line_of(level=99.0, sigma=3.0), 100.0) == 0.0
    assert reach(line_of(level=-99.0), 0.0) == 0.0


def test_a_bound_that_was_above_the_limit_a_moment_ago_has_not_reached_it() -> None:
    assert reach(line_of(level=100.0, slope=-10.0), 105.0) == np.inf


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_a_rise_by_a_byte_a_second_reaches_the_limit(slope: float) -> None:
    assert reach(line_of(level=100.0, slope=slope), 160.0) == pytest.approx(60.0 / slope)


def test_a_bound_has_thirty_years_for_what_the_line_and_its_error_leave_of_the_limit() -> None:
    line = line_of(slope=1e-3, sigma=1e6)
    assert reach(line, 3e6) == pytest.approx((3e6 - bound(line, 0.0)) / 1e-3)


def test_a_flat_bound_never_reaches_the_limit() -> None:
    assert reach(line_of(level=100.0), 101.0) == np.inf
    assert reach(line_of(level=100.0, sigma=3.0), 200.0) == np.inf


def test_a_falling_bound_never_reaches_the_limit() -> None:
    assert reach(line_of(level=100.0, slope=-2.0, sigma=3.0, spread=1e3), 200.0) == np.inf


def test_uncertainty_alone_reaches_the_limit() -> None:
    doubtful = line_of(level=100.0, slope=-0.1, sigma=3.0, weight=12.0, centre=-10.0, spread=100.0)
    assert bound(doubtful, reach(doubtful, 150.0)) == pytest.approx(150.0)


@given(line=LINES, limit=st.floats(0, 2.0**41), percentile=st.sampled_from([0.5, 0.6, 0.95, 0.99]))
def test_the_bound_reaches_its_limit_then_and_not_before(line: Line, limit: float, percentile: float) -> None:
    time = reach(line, limit, percentile)
    slack = 1e-6 * (abs(float(line.level[0])) + limit + float(line.sigma[0]) + 1)
    assert all(bound(line, horizon, percentile) <= limit + slack for horizon in HORIZONS if horizon < time)
    if time == 0:
        assert bound(line, 0.0, percentile) >= limit - slack
    elif time < 1e9:
        rate = abs(float(line.slope[0])) + float(line.sigma[0] / np.sqrt(line.spread[0]))
        slack += 1e-9 * rate * (time - float(line.centre[0]))
        assert bound(line, time, percentile) == pytest.approx(limit, abs=slack)


def test_a_rise_of_next_to_nothing_never_reaches_the_limit() -> None:
    assert reach(line_of(slope=1e-300), MIB) == np.inf
    assert reach(line_of(level=-2.0, slope=1e-311), 1e-311) == np.inf


@pytest.mark.parametrize("slope", [0.0, 0.01])
@pytest.mark.parametrize("centre", [-60.0, 0.0])
def test_a_limit_one_rounding_away_is_reached_next_to_now(slope: float, centre: float) -> None:
    sigma = np.linspace(1.0, 2.0, 1000)
    ones = np.ones_like(sigma)
    line = Line(0 * ones, slope * ones, sigma, 12 * ones, centre * ones, 1e4 * ones)
    times = time_to_reach(line, np.nextafter(upper(line, 0.0, 0.95), np.inf), 0.95)
    assert ((times >= 0) & (times < 1e-3)).all()
