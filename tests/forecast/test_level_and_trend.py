"""What WLS makes of demand that stays, swings, jumps or climbs."""

import numpy as np
import pytest
from forecast_data import MIB, halving, least_squares, points

from controller.forecast.model import Floats, Line
from controller.forecast.wls import WLS

GAP_S = 10.0


def line(*newest_first: float) -> Line:
    return WLS().fit(points([(GAP_S * age, value) for age, value in enumerate(newest_first)]))


def errors_of_mean(half_life: float, *newest_first: float) -> Floats:
    """Of forecasts of each value but the oldest by the mean of those before it, newest first."""
    looks = range(1, len(newest_first))
    return np.array([newest_first[look - 1] - mean(half_life, *newest_first[look:]) for look in looks])


def errors_of_line(*newest_first: float) -> Floats:
    """Likewise by the line through those before it, whose weights halve by look; by the value where it is but one."""
    forecasts = [newest_first[-1]]
    for look in range(len(newest_first) - 2, 0, -1):
        before = np.array(newest_first[look:])
        forecasts.insert(0, least_squares(GAP_S * np.arange(1.0, len(before) + 1), before, halving(len(before), 1))[0])
    return np.array(newest_first[:-1]) - forecasts


def loss(errors: Floats) -> float:
    """Sum of absolute errors, of which one counts half of that three looks later."""
    return float(halving(len(errors), 3) @ np.abs(errors))


def test_after_a_jump_the_new_value_is_the_level_at_once() -> None:
    fitted = line(*[900.0] * 2, *[100.0] * 10)
    assert (fitted.level[0], fitted.slope[0]) == (900.0, 0.0)


def test_swings_about_a_level_are_averaged() -> None:
    fitted = line(*[110.0, 90.0] * 6)
    assert fitted.level[0] == pytest.approx(100.0, abs=5.0)
    assert fitted.slope[0] == 0.0


def mean(half_life: float, *newest_first: float) -> float:
    """Of values whose weights halve every `half_life` looks, the oldest standing for all before it; 0: of the last."""
    level = newest_first[-1]
    for value in newest_first[-2::-1]:
        level += (1 - 0.5 ** (1 / half_life) if half_life else 1) * (value - level)
    return level


@pytest.mark.parametrize(
    ("values", "half_life"),
    [((80.0, 0.0, 40.0, 60.0, 40.0, 90.0), 1), ((90.0, 80.0, 40.0, 80.0, 0.0, 60.0), 4)],
)
def test_swings_are_averaged_over_one_look_or_four_whichever_would_have_erred_less(values, half_life) -> None:
    losses = {looks: loss(errors_of_mean(looks, *values)) for looks in (0, 1, 4)}
    assert min(losses, key=losses.__getitem__) == half_life
    assert line(*values).level[0] == pytest.approx(mean(half_life, *values))


@pytest.mark.parametrize(
    ("values", "half_life"),
    [
        ((70.0, 0.0, 10.0, 90.0), 0),  # just not
        ((90.0, 50.0, 80.0, 0.0), 1),  # just so
        ((90.0, 10.0, 20.0, 40.0), 4),
    ],
)
def test_a_mean_is_taken_where_it_would_have_erred_a_tenth_less_than_the_last_value(values, half_life) -> None:
    last, least = loss(errors_of_mean(0, *values)), min(loss(errors_of_mean(looks, *values)) for looks in (1, 4))
    assert last / least == pytest.approx(1.1, rel=0.01)
    assert (last > 1.1 * least) == (half_life > 0)
    assert line(*values).level[0] == pytest.approx(mean(half_life, *values))


def test_an_error_counts_half_for_the_scatter_three_looks_later() -> None:
    fitted = line(*[900.0] * 5, *[100.0] * 7)
    counted = halving(11, 3)
    error = 800.0 * (counted[4] / counted.sum()) ** 0.5
    assert fitted.sigma[0] * 2**0.5 == pytest.approx(error)


def test_a_climb_is_continued_beside_a_domain_whose_demand_has_jumped() -> None:
    jump, climb = [900.0] * 2 + [100.0] * 10, [500.0 - 20 * age for age in range(12)]
    fitted = WLS().fit(points(*([(10.0 * age, value) for age, value in enumerate(values)] for values in (jump, climb))))
    assert fitted.slope.tolist() == [0.0, line(*climb).slope[0]]
    assert fitted.slope[1] == pytest.approx(2.0)


def test_a_climb_whose_newest_change_is_a_fall_has_no_slope() -> None:
    fitted = line(540.0, *[550.0 - 50 * age for age in range(11)])
    assert (fitted.level[0], fitted.slope[0]) == (540.0, 0.0)


def test_a_climb_whose_newest_change_but_one_is_a_fall_has_no_slope() -> None:
    assert line(590.0, 540.0, *[550.0 - 50 * age for age in range(10)]).slope[0] == 0.0


def test_a_climb_that_halted_for_a_look_has_no_slope_until_it_has_gone_on_for_two() -> None:
    climb = [500.0 - 50 * age for age in range(8)]
    assert line(550.0, 500.0, *climb).slope[0] == 0.0
    assert line(600.0, 550.0, 500.0, *climb).slope[0] > 0.0


def test_a_climb_that_fell_back_some_looks_ago_is_continued() -> None:
    values = 284.0, 257.0, 221.0, 175.0, 150.0, 173.0, 139.0, 118.0, 97.0, 50.0, 99.0, 68.0
    _, slope = least_squares(GAP_S * np.arange(12), np.array(values), halving(12, 1))
    assert line(*values).slope[0] == pytest.approx(slope)


def test_a_fall_is_continued() -> None:
    assert line(*[100.0 + 50 * age for age in range(12)]).slope[0] == pytest.approx(-5.0)


@pytest.mark.parametrize(("fall", "looks"), [(0, 5), (1, 6), (2, 7), (4, 9), (6.67, 11)])
def test_a_climb_is_followed_the_sooner_the_smaller_the_fall_before_it_was(fall: float, looks: int) -> None:
    """A heap that grows by 335 a look and was collected, by so many looks' growth: before the window forgets it."""
    values, known = [734 + 335 * fall] * 11, 0
    while line(*values[:12]).slope[0] == 0.0:
        values.insert(0, 734.0 + 335 * known)
        known += 1
    _, slope = least_squares(GAP_S * np.arange(12), np.array(values[:12]), halving(12, 1))
    assert (known, line(*values[:12]).slope[0]) == (looks, pytest.approx(slope))


def test_a_climb_is_continued() -> None:
    fitted = line(*[1000.0 - 50 * age for age in range(12)])
    assert fitted.slope[0] == pytest.approx(5.0)
    assert fitted.level[0] == pytest.approx(1000.0)


def test_two_equal_changes_are_a_trend() -> None:
    assert line(70.0, 60.0, 50.0).slope[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("values", "kept"), [((90.0, 80.0, 40.0, 0.0), True), ((10.0, 50.0, 60.0, 90.0), False)])
def test_a_trend_is_believed_where_it_would_have_erred_a_fifth_less_than_the_best_mean(values, kept) -> None:
    """Twice the handicap of a mean: 1.1 * 1.1."""
    best = min((1.1 if looks else 1.0) * loss(errors_of_mean(looks, *values)) for looks in (0, 1, 4))
    own = 1.1 * 1.1 * loss(errors_of_line(*values))
    assert best / own == pytest.approx(1.0, rel=0.01)
    assert (own < best) == kept == (line(*values).slope[0] != 0.0)


@pytest.mark.parametrize(("count", "slope"), [(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0)])
def test_a_window_of_three_points_shows_a_trend_and_a_smaller_one_none(count: int, slope: float) -> None:
    climb = points([(GAP_S * age, 100.0 - GAP_S * age) for age in range(12)])
    fitted = WLS(decision_points=count).fit(climb)
    assert (fitted.level[0], fitted.slope[0]) == (pytest.approx(100.0), pytest.approx(slope))


def test_a_single_change_is_no_trend() -> None:
    assert line(130.0, 100.0).slope[0] == 0.0


def test_a_bound_about_a_line_is_as_wide_as_its_past_errors_ask_where_the_line_fits_better_than_it_forecast() -> None:
    values = *[1000.0 - 50 * age for age in range(6)], *[745.0 - 5 * age for age in range(6)]
    errors = errors_of_line(*values)[:-1]  # the oldest forecast is that of a single point
    counted = halving(len(errors), 3)
    assert line(*values).sigma[0] * 2**0.5 == pytest.approx((counted @ errors**2 / counted.sum()) ** 0.5)


def test_the_first_change_of_a_straight_climb_is_no_error_of_a_line() -> None:
    assert line(130.0, 120.0, 110.0, 100.0).sigma[0] == pytest.approx(0.0, abs=1e-6)


def test_an_old_jump_weighs_less_on_the_scatter_than_a_recent_one() -> None:
    old = line(*[900.0 * MIB] * 9, *[100.0 * MIB] * 3)
    recent = line(*[900.0 * MIB] * 2, *[100.0 * MIB] * 10)
    assert old.sigma[0] < 0.7 * recent.sigma[0]
