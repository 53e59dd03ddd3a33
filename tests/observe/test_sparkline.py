"""Small charts: where lines and areas are, and where there are none."""

import re

import numpy as np

from controller.observe.sparkline import sparkline

UNKNOWN = np.nan


def paths(demand: list[float], forecast: list[float], allocation: list[float]) -> dict[str, str]:
    """By class, the outlines drawn, in the order in which they are."""
    drawn = sparkline(np.array([demand, forecast, allocation], dtype=np.float32), "demand &amp; more")
    view = 'viewBox="0 0 140 34" preserveAspectRatio="none"'
    assert drawn.startswith(f'<svg class="spark" {view} role="img" aria-label="demand &amp; more">')
    assert drawn.endswith("</svg>")
    return dict(re.findall(r'<path class="(\w+)" d="([^"]*)"/>', drawn))


def test_lines_go_from_edge_to_edge_and_the_largest_is_at_the_top():
    found = paths([0, 50, 100], [UNKNOWN, 25, 50], [100, 100, 100])
    assert found == {
        "allocation": "M2 34 L2 2 L70 2 L138 2 L138 34 Z",
        "forecast": "M70 24.5 L138 17",
        "demand": "M2 32 L70 17 L138 2",
    }
    assert [*found] == ["allocation", "forecast", "demand"]


def test_places_are_told_to_a_tenth():
    assert paths([0, 0, 100, 150], [UNKNOWN] * 4, [UNKNOWN] * 4) == {"demand": "M2 32 L47.3 32 L92.7 12 L138 2"}
    assert paths([70, 150], [UNKNOWN] * 2, [UNKNOWN] * 2) == {"demand": "M2 18 L138 2"}
    assert paths([71, 150], [UNKNOWN] * 2, [UNKNOWN] * 2) == {"demand": "M2 17.8 L138 2"}


def test_a_gap_parts_a_line_and_a_point_alone_is_a_short_stroke():
    found = paths([100, UNKNOWN, 100, 50, UNKNOWN], [UNKNOWN] * 5, [UNKNOWN, 100, 100, UNKNOWN, 50])
    assert found == {
        "allocation": "M36 34 L36 2 L70 2 L70 34 Z M136 34 L136 17 L138 17 L138 34 Z",
        "demand": "M0 2 L2 2 M70 2 L104 17",
    }


def test_where_nothing_is_known_nothing_is_drawn():
    assert paths([UNKNOWN] * 3, [UNKNOWN] * 3, [UNKNOWN] * 3) == {}


def test_sizes_of_nothing_lie_on_the_ground():
    assert paths([0, 0], [UNKNOWN] * 2, [UNKNOWN] * 2) == {"demand": "M2 32 L138 32"}
    assert paths([0, 1], [UNKNOWN] * 2, [UNKNOWN] * 2) == {"demand": "M2 32 L138 2"}
