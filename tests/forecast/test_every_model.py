"""What holds for every model: the contract of `controller.forecast.model`."""

import numpy as np
import pytest
from forecast_data import CALM_ROWS, FIELDS, MODELS, ORDERLESS, WILD_ROWS, Row, line_of, points, row_of
from hypothesis import given
from hypothesis import strategies as st

from controller.forecast.bound import scale, upper
from controller.forecast.model import Line, Model, Points

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
every_orderless_model = pytest.mark.parametrize("model", ORDERLESS, ids=lambda model: type(model).__name__)


def spread_of_values(row: Row) -> float:
    return float(np.ptp([value for _, value in row])) if row else 0.0


def assert_same(ours: Line, other: Line, *, tolerance: float) -> None:
    """Equal forecasts, up to `tolerance` bytes."""
    for horizon in (0.0, 60.0):
        assert upper(ours, horizon, 0.5)[0] == pytest.approx(upper(other, horizon, 0.5)[0], abs=tolerance)
        assert scale(ours, horizon)[0] == pytest.approx(scale(other, horizon)[0], rel=1e-6, abs=tolerance)


@every_model
def test_without_points_level_and_scatter_are_zero(model: Model) -> None:
    line = row_of(model.fit(points([])), 0)
    assert (line["level"], line["slope"], line["sigma"], line["spread"]) == (0.0, 0.0, 0.0, np.inf)


@every_model
def test_one_point_makes_a_flat_line_without_scatter(model: Model) -> None:
    line = row_of(model.fit(points([(40, 512.0)])), 0)
    assert line == row_of(line_of(level=512.0, centre=-40.0), 0)


@every_model
def test_two_points_that_differ_have_a_scatter(model: Model) -> None:
    assert model.fit(points([(40, 512.0), (50, 500.0)])).sigma[0] > 0


@every_model
@pytest.mark.parametrize("junk", [0.0, 1e-300, 1e150])
def test_what_absent_points_hold_does_not_matter(model: Model, junk: float) -> None:
    short = points([(1e6, 130.0), (2e6, 100.0), (3e6, 121.0)], columns=3)
    padding = np.full((1, 9), junk)
    padded = Points(
        np.hstack([short.ages, padding]),
        np.hstack([short.values, -padding]),
        np.hstack([short.present, np.zeros((1, 9), dtype=bool)]),
    )
    assert row_of(model.fit(padded), 0) == pytest.approx(row_of(model.fit(short), 0))


@every_model
def test_no_domains_make_an_empty_line(model: Model) -> None:
    line = model.fit(points())
    assert [getattr(line, field).shape for field in FIELDS] == [(0,)] * len(FIELDS)


@every_model
def test_a_huge_level_hides_no_small_scatter(model: Model) -> None:
    small = [(age, value) for age, value in zip(range(12), [0, 3, 1, 2, 5, 1, 0, 2, 4, 1, 2, 3], strict=True)]
    huge = [(age, value + 2.0**50) for age, value in small]
    line = model.fit(points(small, huge))
    assert line.sigma[1] == line.sigma[0]
    assert line.slope[1] == line.slope[0]


@every_model
@given(batch=st.lists(WILD_ROWS, max_size=4))
def test_every_number_is_finite_and_in_range_whatever_the_points(model: Model, batch: list[Row]) -> None:
    line = model.fit(points(*batch))
    for field in set(FIELDS) - {"spread"}:
        assert np.isfinite(getattr(line, field)).all()
    assert (line.spread > 0).all()
    assert (line.sigma >= 0).all()
    assert (line.weight >= 1).all()
    assert (line.centre <= 0).all()
    assert np.isfinite(upper(line, 3600.0, 0.99)).all()


@every_model
@given(batch=st.lists(WILD_ROWS, min_size=2, max_size=4))
def test_domains_do_not_touch_each_other(model: Model, batch: list[Row]) -> None:
    together = model.fit(points(*batch))
    for index, row in enumerate(batch):
        alone = model.fit(points(row))
        assert row_of(together, index) == pytest.approx(row_of(alone, 0), rel=1e-9)


@every_model
@given(row=CALM_ROWS, factor=st.sampled_from([0.5, 3.0, 1000.0]), shift=st.integers(0, 2**40))
def test_scaled_and_shifted_demand_scales_and_shifts_the_forecast(
    model: Model, row: Row, factor: float, shift: int
) -> None:
    line = row_of(model.fit(points(row)), 0)
    moved = row_of(model.fit(points([(age, factor * value + shift) for age, value in row])), 0)
    slack = 1e-6 * (1 + factor * spread_of_values(row))
    age = row[-1][0] if row else 0.0
    assert moved["slope"] == pytest.approx(factor * line["slope"], rel=1e-6, abs=slack)
    assert moved["sigma"] == pytest.approx(factor * line["sigma"], rel=1e-6, abs=slack)
    level = factor * line["level"] + shift if row else 0.0
    assert moved["level"] == pytest.approx(level, rel=1e-9, abs=slack * (1 + age))
    for field in ("weight", "centre"):
        assert moved[field] == line[field]


@every_model
@given(row=CALM_ROWS, later=st.floats(0, 3600))
def test_the_forecast_of_a_moment_does_not_depend_on_when_it_is_made(model: Model, row: Row, later: float) -> None:
    line = model.fit(points(row))
    aged = model.fit(points([(age + later, value) for age, value in row]))
    value = spread_of_values(row)
    age = row[-1][0] if row else 0.0
    tolerance = 1e-6 * (1 + value) * (1 + (later + age) / 100)
    assert aged.level[0] + aged.slope[0] * 60 == pytest.approx(
        line.level[0] + line.slope[0] * (60 + later), rel=1e-9, abs=tolerance
    )
    assert scale(aged, 60.0)[0] == pytest.approx(scale(line, 60.0 + later)[0], rel=1e-6, abs=tolerance)


@every_orderless_model
@given(
    values=st.lists(st.integers(0, 2**40).map(float), min_size=12, max_size=12),
    order=st.permutations(range(12)),
)
def test_regression_depends_on_ages_and_not_on_the_order_of_points(
    model: Model, values: list[float], order: list[int]
) -> None:
    row = [(7.0 * index + index % 3, value) for index, value in enumerate(values)]
    shuffled = [row[index] for index in order]
    tolerance = 1e-6 * (1 + spread_of_values(row))
    assert_same(model.fit(points(row)), model.fit(points(shuffled)), tolerance=tolerance)


@every_model
def test_fitting_leaves_the_points_as_they_were(model: Model) -> None:
    data = points([(1, 5.0), (9, 7.0), (12, 6.0)])
    before = Points(data.ages.copy(), data.values.copy(), data.present.copy())
    model.fit(data)
    for field in ("ages", "values", "present"):
        np.testing.assert_array_equal(getattr(data, field), getattr(before, field))
