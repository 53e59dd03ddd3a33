"""Traces cut in two: pieces to choose a policy on, and later pieces, kept aside, to judge it on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from controller.engine.tables import Floats
from controller.replay.backtest import BacktestError, TraceSource, base_mib
from controller.replay.trace import Trace

HOST_PERCENT = 125
"""Host size unless one is given, in percent of the whole trace's `base_mib`: backtest's fair one."""

HELD_OUT = 1 / 3
"""Part of a trace's sample times, the last ones, on which nothing is chosen."""

PIECES = 3
"""Pieces of either part: a gain should show on more than one of them."""

CHOOSING_SAMPLES = 20000
"""Samples of a trace to choose on, about. A replay takes some 0.3 ms for each, a search some sixty replays: minutes."""

JUDGING_SAMPLES = 100000
"""Samples of a trace to judge on, about: that takes two replays only."""

LEAST_STEPS = 40
"""Sample times in a piece, at least: thrice the points of a forecast."""

LEAST_S = 600.0
"""Seconds in a piece, at least: several times the stabilisation window, within which nothing shrinks."""


@dataclass(frozen=True)
class Piece:
    """A part of a trace that is replayed by itself."""

    trace: Trace
    host_mib: float

    @property
    def span_s(self) -> float:
        """Seconds from first to last sample."""
        return self.trace.end - self.trace.start

    @cached_property
    def need_mib_s(self) -> float:
        """Integral of demand."""
        return float(sum(one.demand[:-1] @ np.diff(one.times) for one in self.trace.series))

    @cached_property
    def domain_hours(self) -> float:
        """Hours of all domains."""
        return float(sum(one.times[-1] - one.times[0] for one in self.trace.series) / 3600)


@dataclass(frozen=True, slots=True)
class Split:
    """One trace, cut in two."""

    source: TraceSource
    host_mib: float
    chosen_on: tuple[Piece, ...]
    held_out: tuple[Piece, ...]
    cut_s: float
    """Time of the first sample that is held out."""


def split(source: TraceSource, host_mib: float | None) -> Split:
    """`source` cut in two, for a host that gives its guests `host_mib`; None: HOST_PERCENT.

    Pieces lie at even distances where a part is longer than what is replayed of it. Raises BacktestError for a trace
    too short to hold a part out, and for one with no demand in either part.
    """
    trace = source.trace
    host = HOST_PERCENT / 100 * base_mib(trace) if host_mib is None else host_mib
    times = np.unique(np.concatenate([one.times for one in trace.series]))
    cut = len(times) - int(np.ceil(HELD_OUT * len(times)))
    if cut < PIECES * LEAST_STEPS:
        raise _too_short(source, len(times))
    at_once = sum(len(one.times) for one in trace.series) / len(times)
    chosen_on = _pieces(trace, times[:cut], CHOOSING_SAMPLES / at_once, host)
    held_out = _pieces(trace, times[cut:], JUDGING_SAMPLES / at_once, host)
    if not all(_is_long_enough(piece) for piece in (*chosen_on, *held_out)):
        raise _too_short(source, len(times))
    return Split(
        source,
        host,
        _with_demand(source, "first two thirds", chosen_on),
        _with_demand(source, "last third", held_out),
        float(times[cut]),
    )


def _pieces(trace: Trace, times: Floats, steps: float, host_mib: float) -> tuple[Piece, ...]:
    """PIECES of the part that `times` are, each in the middle of its share, of about `steps` times together."""
    most = int(max(steps / PIECES, LEAST_STEPS, 2 + LEAST_S / trace.step_s))
    found = []
    for share in np.array_split(times, PIECES):
        size = min(len(share), most)
        first = (len(share) - size) // 2
        kept = share[first : first + size]
        found.append(Piece(trace.since(float(kept[0])).until(float(kept[-1])), host_mib))
    return tuple(found)


def _is_long_enough(piece: Piece) -> bool:
    return piece.span_s >= LEAST_S and max(len(one.times) for one in piece.trace.series) >= LEAST_STEPS


def _too_short(source: TraceSource, steps: int) -> BacktestError:
    pieces = round(PIECES / HELD_OUT)
    hours = (source.trace.end - source.trace.start) / 3600
    return BacktestError(
        f"{source.path}: {steps} sample times over {hours:.2g} h are too short to hold a part out: it is cut in "
        f"{pieces}, and each needs {LEAST_STEPS} samples of a domain over {LEAST_S / 60:.0f} min; "
        f"record {pieces * LEAST_S / 3600:.1f} h or more, with {pieces * LEAST_STEPS} sample times or more"
    )


def _with_demand(source: TraceSource, part: str, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    found = tuple(piece for piece in pieces if piece.need_mib_s > 0)
    if not found:
        raise BacktestError(
            f"{source.path}: demand is 0 in the {part}, where nothing can be chosen or judged; "
            "give a trace with demand throughout"
        )
    return found
