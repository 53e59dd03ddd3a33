"""From a step of demand in a real guest to the memory it needs: under Ballast, and ordered by hand at that moment."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TypeVar

from benchmarks.figures import Baseline, Figure, nearest_rank
from benchmarks.shared_guests import SPECS, SharedGuests
from benchmarks.stepping import BURST_MIB, Burst, Reaction, Stepper

PART = "reaction"
GOALS_S = {50: 0.5, 95: 1.0}
"""By percentile, of guests looked at every second."""
CALM_GOALS_S = {95: 1.2}
"""Likewise, of calm ones."""
STEPS = 3
"""Of each guest; ten guests make thirty."""
SETTLED_S = 62.0
"""Before each of these: a guest that is short again within a minute keeps what it was given longer each time, so that
its next step begins with memory to spare."""
CALM_S = 180.0
"""Before the one step of each guest under default monitoring: calm for minutes, and looked at rarely. A second step
would find the guest unstable, and so looked at every second."""
BURSTS = 2
"""Of each guest: the first that Ballast sees, and one that it may have learnt from."""
BURST_CALM_S = 90.0
"""Before each burst."""
SWAPPED_GOAL = 10.0
"""% of a burst that may be swapped out."""
POLICY = {
    "mode": "Enforce",
    "limits": {"minimum": "96Mi"},  # the defaults of this and of the threshold are for larger guests
    "spare": "Reclaim",  # lent memory would be there before the step, and nothing would have to grow
}
TUNING = {
    "threshold": {"quantity": "8Mi"},
    "shrink": {"stabilizationSeconds": 1},  # so that the next step comes soon
}
"""Of the policy's `advanced`."""
REPORTING = tuple(replace(spec, name=f"reporting-{spec.name}", free_page_reporting=True) for spec in SPECS)
"""The host feels all that these take: what they have used before and do not use now is in its hands again."""
EVERY_SECOND = {"minimumIntervalSeconds": 1, "maximumIntervalSeconds": 1}

Reactions = list[Reaction]
Seen = TypeVar("Seen", Reaction, Burst)


def measure(shared: SharedGuests) -> list[Figure]:
    """Steps of all guests, each at moments of its own."""
    with _steppers(shared) as steppers:
        by_hand = _joined(_all(steppers, Stepper.by_hand))
        every_second = _under_ballast(shared, steppers, lambda stepper: stepper.steps(STEPS, SETTLED_S), EVERY_SECOND)
        adaptive = _under_ballast(shared, steppers, lambda stepper: stepper.steps(1, CALM_S), {})
        burst_by_hand = _all(steppers, Stepper.burst_by_hand)
        bursts = _under_ballast(shared, steppers, lambda stepper: stepper.bursts(BURSTS, BURST_CALM_S), {})
    with SharedGuests(REPORTING) as others, _steppers(others) as steppers:
        reporting = _under_ballast(others, steppers, lambda stepper: stepper.steps(STEPS, SETTLED_S), EVERY_SECOND)
        felt = _under_ballast(others, steppers, lambda stepper: stepper.bursts(BURSTS, BURST_CALM_S), {})
        kills = sum(guest.evidence().oom_kills for guest in (*shared.guests, *others.guests))
    return [
        *_figures("looks every second", _joined(every_second), by_hand, GOALS_S),
        *_figures("the same, guests that report free pages", _joined(reporting), by_hand, GOALS_S),
        *_figures(f"default intervals, after {CALM_S:g} s calm", _joined(adaptive), by_hand, CALM_GOALS_S),
        *_bursts("", bursts, burst_by_hand),
        *_bursts(", guests that report free pages", felt, burst_by_hand),
        Figure(PART, "OOM kills in all these steps", kills, "", Baseline("what is right", 0), 0),
    ]


@contextmanager
def _steppers(shared: SharedGuests) -> Iterator[list[Stepper]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Stepper(guest, seed))) for seed, guest in enumerate(shared.guests)]


def _under_ballast(
    shared: SharedGuests, steppers: Sequence[Stepper], run: Callable[[Stepper], list[Seen]], monitoring: dict[str, int]
) -> list[list[Seen]]:
    with shared.ballast(**POLICY, advanced=TUNING | {"monitoring": monitoring}):
        return _all(steppers, run)


def _all(steppers: Sequence[Stepper], run: Callable[[Stepper], list[Seen]]) -> list[list[Seen]]:
    """All guests at once, each with a thread that watches it."""
    with ThreadPoolExecutor(len(steppers)) as pool:
        return list(pool.map(run, steppers))


def _joined(parts: Iterable[list[Seen]]) -> list[Seen]:
    return [reaction for part in parts for reaction in part]


def _figures(case: str, reactions: Reactions, by_hand: Reactions, goals: Mapping[int, float]) -> list[Figure]:
    """Percentiles of the time until the allocation covered what was wanted, and until the workload had it all."""
    covered, hand = [each.covered for each in reactions], [each.covered for each in by_hand]
    held, hand_held = [each.held for each in reactions], [each.held for each in by_hand]
    what = f"{case}, {len(reactions)} steps"
    return [
        _figure(what, 50, covered, hand, goals.get(50)),
        _figure(what, 95, covered, hand, goals.get(95)),
        _figure(what, 100, covered, hand),
        _figure(f"{what}, until all is in use", 95, held, hand_held),
    ]


def _bursts(whose: str, bursts: Sequence[Sequence[Burst]], by_hand: list[list[Burst]]) -> list[Figure]:
    """What was swapped out of the first burst of each guest, of the second, and so on: the median, and the most."""
    hand, figures = _joined(by_hand), []
    for number, seen in enumerate(zip(*bursts, strict=True)):
        what = (
            f"burst {number + 1} of {BURST_MIB} MiB, {_rate(seen)}, after {BURST_CALM_S:g} s calm{whose}: swapped out"
        )
        baseline = Baseline(f"ordered by hand at once, {_rate(hand)}: most", max(each.swapped for each in hand))
        swapped = [each.swapped for each in seen]
        figures.append(Figure(PART, f"{what}, p50", nearest_rank(swapped, 50), "%", baseline))
        figures.append(Figure(PART, f"{what}, most", max(swapped), "%", baseline, SWAPPED_GOAL))
    return figures


def _rate(bursts: Sequence[Burst]) -> str:
    return f"{nearest_rank([each.rate for each in bursts], 50):.0f} MiB/s"


def _figure(
    what: str, percent: int, seconds: Sequence[float], by_hand: Sequence[float], goal: float | None = None
) -> Figure:
    name = "most" if percent == 100 else f"p{percent}"
    baseline = Baseline(f"ordered by hand at once, {len(by_hand)} steps: {name}", nearest_rank(by_hand, percent))
    return Figure(PART, f"{what}: {name}", nearest_rank(seconds, percent), "s", baseline, goal)
