"""From a step of demand in a real guest to the memory it needs: under Ballast, and ordered by hand at that moment."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.figures import Baseline, Figure
from benchmarks.site import Site
from benchmarks.stepping import Reaction, Stepper
from lab.ballast import Ballast
from lab.summary import percentile

PART = "reaction"
GOAL_S = 2.0
"""Of the 95th percentile, at a shortest interval of a second."""
STEPS = 4
"""Of each guest; ten guests make forty."""
CALM_S = 40.0
"""Before the first step under default monitoring: by then nobody is looked at every second any more."""
HEADROOM_MIB = 32
"""The default; by hand the guest gets what it wants and as much on top."""
POLICY = {
    "mode": "Enforce",
    "limits": {"minimum": "96Mi"},  # guests are small
    "shrink": {"stabilizationSeconds": 1},  # so that the next step comes soon
}
EVERY_SECOND = {"minimumIntervalSeconds": 1, "maximumIntervalSeconds": 1}


def measure(site: Site) -> list[Figure]:
    """Steps of all guests, each at moments of its own."""
    steppers = [Stepper(guest, site.libvirtd.uri, seed) for seed, guest in enumerate(site.guests)]
    by_hand = _all(steppers, lambda stepper: [stepper.by_hand(HEADROOM_MIB)])
    fixed = _under_ballast(
        site, steppers, "every-second", lambda stepper: stepper.steps(STEPS), monitoring=EVERY_SECOND
    )
    adaptive = _under_ballast(site, steppers, "adaptive", lambda stepper: stepper.steps(STEPS - 1, calm_s=CALM_S))
    first = [reactions[0] for reactions in adaptive]
    later = [reaction for reactions in adaptive for reaction in reactions[1:]]
    kills = sum(guest.evidence().oom_kills for guest in site.guests)
    for stepper in steppers:
        stepper.close()
    hand = [reaction for reactions in by_hand for reaction in reactions]
    every = [reaction for reactions in fixed for reaction in reactions]
    return [
        *_figures("looks every second", every, hand, GOAL_S),
        *_figures("default monitoring, unstable guest", later, hand),
        *_figures(f"default monitoring, after {CALM_S:g} calm seconds", first, hand),
        Figure(PART, "OOM kills, all steps", kills, "", Baseline("none is right", 0), 0),
    ]


def _under_ballast(
    site: Site, steppers: Sequence[Stepper], name: str, run: Callable[[Stepper], list[Reaction]], **spec: object
) -> list[list[Reaction]]:
    folder = site.folder(name, **POLICY, **spec)
    with Ballast(folder / "policies", site.libvirtd.uri, folder / "ballast.log", keep=False) as ballast:
        ballast.wait_for_domains(len(steppers))
        return _all(steppers, run)


def _all(steppers: Sequence[Stepper], run: Callable[[Stepper], list[Reaction]]) -> list[list[Reaction]]:
    """All guests at once, each with a thread that watches it."""
    with ThreadPoolExecutor(len(steppers)) as pool:
        return list(pool.map(run, steppers))


def _figures(
    case: str, reactions: Sequence[Reaction], by_hand: Sequence[Reaction], goal: float | None = None
) -> list[Figure]:
    """Percentiles of the seconds until the allocation covered what was wanted, and until the workload had it all."""
    covered, hand = [each.covered for each in reactions], [each.covered for each in by_hand]
    held, hand_held = [each.held for each in reactions], [each.held for each in by_hand]
    what = f"{case}, {len(reactions)} steps"
    return [
        Figure(PART, f"{what}: p50", median(covered), "s", Baseline("ordered by hand, p50", median(hand))),
        Figure(PART, f"{what}: p95", _p95(covered), "s", Baseline("ordered by hand, p95", _p95(hand)), goal),
        Figure(PART, f"{what}: most", max(covered), "s", Baseline("ordered by hand, most", max(hand))),
        Figure(
            PART,
            f"{what}: until all is in use, p95",
            _p95(held),
            "s",
            Baseline("ordered by hand, p95", _p95(hand_held)),
        ),
    ]


def _p95(seconds: Sequence[float]) -> float:
    """Nearest rank, which small numbers of steps can have."""
    return percentile(seconds, 95) or 0.0
