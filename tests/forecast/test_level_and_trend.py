"""What WLS makes of demand that stays, swings, jumps or climbs."""

import pytest
from forecast_data import MIB, points

from controller.forecast.wls import WLS


def line(*values: float, gap: float = 10.0):  # newest first
    return WLS().fit(points([(gap * age, value) for age, value in enumerate(values)]))


def test_after_a_jump_the_new_value_is_the_level_at_once() -> None:
    fitted = line(*[900.0] * 2, *[100.0] * 10)
    assert (fitted.level[0], fitted.slope[0]) == (900.0, 0.0)


def test_swings_about_a_level_are_averaged() -> None:
    fitted = line(*[110.0, 90.0] * 6)
    assert fitted.level[0] == pytest.approx(100.0, abs=5.0)
    assert fitted.slope[0] == 0.0


def mean(half_life: float, *newest_first: float) -> float:
    """Of values whose weights halve every `half_life` looks, the oldest standing for all before it."""
    level = newest_first[-1]
    for value in newest_first[-2::-1]:
        level += (1 - 0.5 ** (1 / half_life)) * (value - level)
    return level


@pytest.mark.parametrize(
    ("values", "half_life"),
    [((80.0, 0.0, 40.0, 60.0, 40.0, 90.0), 1), ((90.0, 80.0, 40.0, 80.0, 0.0, 60.0), 4)],
)
def test_swings_are_averaged_over_one_look_or_four_whichever_would_have_erred_less(values, half_life) -> None:
    assert line(*values).level[0] == pytest.approx(mean(half_life, *values))


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ((30.0, 50.0, 0.0, 0.0, 50.0), 30.0),  # a mean would have erred less by a twentieth
        ((30.0, 30.0, 20.0, 10.0, 30.0), mean(4, 30.0, 30.0, 20.0, 10.0, 30.0)),  # by a seventh
    ],
)
def test_a_mean_is_taken_where_it_would_have_erred_a_tenth_less_than_the_last_value(values, level) -> None:
    assert line(*values).level[0] == pytest.approx(level)


def test_an_error_counts_half_for_the_scatter_three_looks_later() -> None:
    fitted = line(*[900.0] * 5, *[100.0] * 7)
    counted = [0.5 ** (age / 3) for age in range(11)]
    error = 800.0 * (counted[4] / sum(counted)) ** 0.5
    assert fitted.sigma[0] * 2**0.5 == pytest.approx(error)


def test_a_climb_is_continued_beside_a_domain_whose_demand_has_jumped() -> None:
    jump, climb = [900.0] * 2 + [100.0] * 10, [500.0 - 20 * age for age in range(12)]
    fitted = WLS().fit(points(*([(10.0 * age, value) for age, value in enumerate(values)] for values in (jump, climb))))
    assert fitted.slope.tolist() == [0.0, line(*climb).slope[0]]
    assert fitted.slope[1] == pytest.approx(2.0)


def test_a_climb_that_falls_back_by_a_quarter_of_its_way_is_continued() -> None:
    values = [284.0, 221.0, 257.0, 175.0, 150.0, 173.0, 139.0, 118.0, 97.0, 50.0, 99.0, 68.0]
    assert line(*values).slope[0] == pytest.approx(2.0, rel=0.05)


def test_a_climb_that_falls_back_by_more_is_none() -> None:
    assert line(13.0, 35.0, 47.0, 56.0, 99.0, 52.0, 70.0).slope[0] == 0.0


def test_a_fall_that_takes_half_of_all_changes_is_continued() -> None:
    assert line(30.0, 40.0, 60.0, 80.0, 90.0, 70.0).slope[0] == pytest.approx(-1.1, rel=0.1)


def test_a_climb_is_continued() -> None:
    fitted = line(*[1000.0 - 50 * age for age in range(12)])
    assert fitted.slope[0] == pytest.approx(5.0)
    assert fitted.level[0] == pytest.approx(1000.0)


def test_two_equal_changes_are_a_trend() -> None:
    assert line(70.0, 60.0, 50.0).slope[0] == pytest.approx(1.0)


@pytest.mark.parametrize("values", [(70.0, 40.0, 30.0), (10.0, 50.0, 80.0, 60.0, 80.0)])
def test_a_slope_that_would_have_misled_by_a_tenth_less_is_no_trend_where_it_is_fitted_to_few(values) -> None:
    assert line(*values).slope[0] == 0.0


def test_a_single_change_is_no_trend() -> None:
    assert line(130.0, 100.0).slope[0] == 0.0


def test_a_short_half_life_is_stretched_to_a_few_looks_so_that_a_line_has_points_to_rest_on() -> None:
    values = [1000.0 - 50 * age + (7 if age % 2 else -7) for age in range(12)]
    fitted = line(*values, gap=300.0)
    assert fitted.slope[0] == pytest.approx(50 / 300, rel=0.1)


def test_an_old_jump_weighs_less_on_the_scatter_than_a_recent_one() -> None:
    old = line(*[900.0 * MIB] * 9, *[100.0 * MIB] * 3)
    recent = line(*[900.0 * MIB] * 2, *[100.0 * MIB] * 10)
    assert old.sigma[0] < 0.7 * recent.sigma[0]
