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


def test_a_climb_is_continued() -> None:
    fitted = line(*[1000.0 - 50 * age for age in range(12)])
    assert fitted.slope[0] == pytest.approx(5.0)
    assert fitted.level[0] == pytest.approx(1000.0)


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
