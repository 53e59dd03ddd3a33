"""What a benchmark says: figures with their baselines and goals, as a table and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a figure is held against, measured in the same run and in the figure's unit."""

    what: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; less is better."""

    part: str
    what: str
    value: float
    unit: str
    baseline: Baseline
    goal: float | None = None
    """The most it should be; None where nobody asked for anything."""

    @property
    def ratio(self) -> float | None:
        """How many times the baseline it is; None beside a baseline of 0."""
        return self.value / self.baseline.value if self.baseline.value else None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None else self.value <= self.goal

    def as_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        return asdict(self) | {"ratio": self.ratio, "reached": self.reached}


HEADINGS = ("part", "figure", "measured", "goal", "", "baseline of the same run", "measured", "ratio")


def rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """The table's cells, in the order of `HEADINGS`."""
    return [
        (
            figure.part,
            figure.what,
            number(figure.value, figure.unit),
            "" if figure.goal is None else f"<= {number(figure.goal, figure.unit)}",
            {True: "reached", False: "MISSED", None: ""}[figure.reached],
            figure.baseline.what,
            number(figure.baseline.value, figure.unit),
            "" if figure.ratio is None else f"{figure.ratio:.3g}",
        )
        for figure in figures
    ]


def table(figures: Sequence[Figure]) -> Table:
    """All figures, for people."""
    drawn = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        right = heading in {"measured", "goal", "ratio"}
        drawn.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows(figures):
        drawn.add_row(*row)
    return drawn


def number(value: float, unit: str) -> str:
    """Three digits are what a measurement on a busy machine is worth; whole numbers keep all of theirs."""
    digits = f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()
