"""Decision points for the tests of the forecast: by hand and by hypothesis."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from controller.forecast.lasso import Lasso
from controller.forecast.model import Floats, Line, Model, Points
from controller.forecast.ols import OLS
from controller.forecast.registry import KINDS
from controller.forecast.ridge import Ridge

MIB = 2.0**20
ORDERLESS: tuple[Model, ...] = (OLS(), Ridge(), Lasso())
"""Models to which a point is its age and its value, whatever came before and after it."""
MODELS: tuple[Model, ...] = tuple(kind() for kind in KINDS.values())
FIELDS = ("level", "slope", "sigma", "weight", "centre", "spread")

Row = Sequence[tuple[float, float]]
"""One domain's points: (age in seconds, bytes), newest first."""


def points(*rows: Row, columns: int = 12) -> Points:
    """Points of several domains; absent ones hold numbers that would show if they were used."""
    ages, values = np.full((len(rows), columns), 7e5), np.full((len(rows), columns), 3e15)
    present = np.zeros((len(rows), columns), dtype=bool)
    for index, row in enumerate(rows):
        for column, (age, value) in enumerate(row):
            ages[index, column], values[index, column], present[index, column] = age, value, True
    return Points(ages, values, present)


def noisy(seed: int, domains: int, columns: int = 12, slope: float = 0.0) -> Points:
    """Irregular looks (1 to 60 seconds apart) at demand with a trend and a scatter of 10 MiB."""
    rng = np.random.default_rng(seed)
    ages = np.cumsum(rng.uniform(1, 60, (domains, columns)), axis=1)
    values = 1024 * MIB - slope * ages + rng.normal(0, 10 * MIB, (domains, columns))
    return Points(ages, values, np.ones((domains, columns), dtype=bool))


def least_squares(ages: Floats, values: Floats, weights: Floats) -> Floats:
    """(level, slope) by numpy, which knows nothing of weights: both sides are multiplied by their root."""
    root = np.sqrt(weights)
    design = np.column_stack([np.ones_like(ages), -ages])
    return np.asarray(np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0])


def halving(looks: int, half_life: float) -> Floats:
    """Weights that halve every `half_life` looks, newest first."""
    return np.asarray(0.5 ** (np.arange(looks) / half_life))


def row_of(line: Line, row: int) -> dict[str, float]:
    """One domain's line as plain numbers."""
    return {field: float(getattr(line, field)[row]) for field in FIELDS}


def line_of(**given: float) -> Line:
    """A line of one domain: level 0, flat, without scatter, unless given otherwise."""
    numbers = dict(zip(FIELDS, (0.0, 0.0, 0.0, 1.0, 0.0, np.inf), strict=True)) | given
    return Line(**{field: np.array([numbers[field]]) for field in FIELDS})


def _row(first: float, gaps: list[float], values: list[float]) -> Row:
    ages: Floats = first + np.cumsum([0.0, *gaps])
    return [(float(age), value) for age, value in zip(ages, values, strict=False)]


def rows(gap: st.SearchStrategy[float], value: st.SearchStrategy[float]) -> st.SearchStrategy[Row]:
    """A domain with 0 to 12 points, `gap` seconds apart."""
    return st.builds(
        _row,
        st.floats(0, 1e5),
        st.lists(gap, min_size=11, max_size=11),
        st.lists(value, max_size=12),
    )


WILD_ROWS = rows(
    st.sampled_from([0.0, 1e-9, 1e-3, 0.01, 1.0]) | st.floats(0, 1e6),
    st.sampled_from([0.0, 2.0**50, 2.0**50 + 1]) | st.floats(0, 2.0**62),
)
"""Anything finite: simultaneous looks, looks days apart, huge values."""

CALM_ROWS = rows(st.integers(1, 600).map(float), st.integers(0, 2**40).map(float))
"""What a host may really show."""
