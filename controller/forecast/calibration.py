"""Upper bounds that keep their promise: their width follows how often each domain has broken them.

Adaptive conformal inference (I. Gibbs, E. Candes, NeurIPS 2021), in the form of quantile tracking (A. Angelopoulos, E.
Candes, R. Tibshirani, NeurIPS 2023): after a broken bound the width grows by much, after a kept one it shrinks by
little, in the proportion that balances at the percentile meant. Nothing is assumed about demand.
"""

from controller.forecast.model import Bools, Floats, Line

RATE = 0.1
"""Part of the model's own standard error by which a broken bound, less what is its due, widens the next."""

NARROWEST, WIDEST = 0.25, 4.0
"""Times the model's own width: what a run of luck, or of bad luck, may do at most."""


def width(before: Floats, broken: Bools, percentile: Floats | float) -> Floats:
    """(n,) times the model's own standard error to use next, once it is known which bounds were `broken`."""
    return (before + RATE * (broken - (1.0 - percentile))).clip(NARROWEST, WIDEST)


def widened(line: Line, by: Floats) -> Line:
    """The line with `by` (n,) times its scatter."""
    return Line(line.level, line.slope, line.sigma * by, line.weight, line.centre, line.spread)
