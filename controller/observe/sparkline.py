"""Small charts as SVG without a style or script of their own: demand, forecast and allocation over time."""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 140, 34
"""User units; the style sheet says how large that is on a screen."""
EDGE = 2
"""User units that lines keep from the edge, so that none is cut."""

Floats = NDArray[np.float32]


def sparkline(values: Floats, label: str) -> str:
    """`values` (3, points): demand, forecast, allocation, bytes, oldest first, NaN for gaps. `label`: escaped text.

    The allocation is an area, demand a line, the forecast a dashed one: none is told by its colour alone.
    """
    most = float(np.nanmax(values, initial=1.0))
    demand, forecast, allocation = (_runs(row, most) for row in values)
    area = " ".join(
        f"M{run[0][0]:g} {HEIGHT} {_line(run).replace('M', 'L', 1)} L{run[-1][0]:g} {HEIGHT} Z" for run in allocation
    )
    paths = [
        ("allocation", area),
        *((name, " ".join(map(_line, runs))) for name, runs in (("forecast", forecast), ("demand", demand))),
    ]
    drawn = "".join(f'<path class="{name}" d="{path}"/>' for name, path in paths if path)
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    return f'<svg class="spark" {view} role="img" aria-label="{label}">{drawn}</svg>'


Run = list[list[float]]


def _runs(row: Floats, most: float) -> list[Run]:
    """Points (x, y) of each stretch without a gap; a single point is drawn as a short stroke."""
    step = (WIDTH - 2 * EDGE) / (len(row) - 1)
    x = np.round(EDGE + step * np.arange(len(row)), 1)
    y = np.round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * row / most, 1)
    points = np.column_stack((x, y)).tolist()
    runs = [list(run) for known, run in groupby(points, key=lambda point: point[1] == point[1]) if known]
    return [run if len(run) > 1 else [[run[0][0] - EDGE, run[0][1]], *run] for run in runs]


def _line(run: Run) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in run)
