"""Choosing parameters on one part of a trace, and judging them on another."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest
from made_traces import trace

from controller.api.documents import load
from controller.api.policy import MemoryPolicy
from controller.replay.backtest import BacktestError, TraceSource
from controller.replay.holdout import split
from controller.replay.objective import HARM_LIMIT, PieceOutcome, bearable, cost, gains, pooled
from controller.replay.pool import Pool
from controller.replay.proposals import GRID, Resolution, changed, current, difference, options
from controller.replay.score import ReplayFigures
from controller.replay.tune import PolicyEvaluator, Served, TuningPart, TuningResult, search, tune

HEAD = "apiVersion: ballast.dev/v1alpha1\nkind: MemoryPolicy\nmetadata: {name: all}\n"


def policy(spec: str = "") -> MemoryPolicy:
    (found,) = load(HEAD + (f"spec: {spec}\n" if spec else ""), "policy.yaml").policies
    return found


def figures(
    harm: float = 0.01, moves: float = 4.0, looks: float = 100.0, worst: float = 0.02, slack: float = 0.5
) -> ReplayFigures:
    return ReplayFigures(harm, 0.0, slack, worst, moves, looks)


def served(*each: ReplayFigures) -> Served:
    return tuple(PieceOutcome(one, 1000.0, 10.0) for one in each)


class TestMerit:
    """What counts as a gain."""

    def test_pieces_count_by_their_demand_and_their_hours(self) -> None:
        both = pooled(
            [
                PieceOutcome(ReplayFigures(0.1, 0.2, 1.0, 0.4, 2.0, 10.0), need_mib_s=300, domain_hours=1),
                PieceOutcome(ReplayFigures(0.5, 0.0, 3.0, 0.6, 5.0, 40.0), need_mib_s=100, domain_hours=2),
            ]
        )
        assert both == ReplayFigures(
            shortfall=pytest.approx(0.2),
            overcommit=pytest.approx(0.15),
            slack=pytest.approx(1.5),
            worst_domain_shortfall=0.6,
            reallocations_per_domain_hour=pytest.approx(4.0),
            looks_per_domain_hour=pytest.approx(30.0),
        )

    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            (figures(harm=0.005, moves=40), figures(harm=0.01, moves=4)),
            (figures(harm=0.0109, moves=2), figures(harm=0.01, moves=4)),
            (figures(harm=0.01, moves=4), figures(harm=0.0115, moves=2)),
            (figures(harm=0.0104, looks=50), figures(harm=0.01, looks=100)),
            (figures(harm=0.01, looks=100), figures(harm=0.0109, looks=50)),
        ],
        ids=[
            "half the harm is worth ten times the moves",
            "half the moves are worth 9 % of harm",
            "and not 15 %",
            "half the looks are worth 4 % of harm",
            "and not 9 %",
        ],
    )
    def test_the_rate_of_exchange(self, better: ReplayFigures, worse: ReplayFigures) -> None:
        assert cost(better) < cost(worse)

    def test_harm_that_nobody_notices_is_no_gain_when_it_falls(self) -> None:
        assert not gains(served(figures(harm=0.000001)), served(figures(harm=0.000005)))

    def test_a_gain_shows_on_most_pieces(self) -> None:
        start = served(figures(), figures(), figures())
        once = served(figures(harm=0.0), figures(harm=0.0101), figures(harm=0.0101))
        twice = served(figures(harm=0.0), figures(harm=0.005), figures(harm=0.0101))
        assert not gains(once, start)
        assert gains(twice, start)

    def test_a_gain_of_a_few_percent_may_be_chance(self) -> None:
        assert not gains(served(figures(harm=0.0097)), served(figures(harm=0.01)))

    def test_few_moves_are_no_excuse_for_more_harm(self) -> None:
        still = served(figures(harm=0.01 * HARM_LIMIT + 0.0001, moves=0.0))
        assert gains(still, served(figures()))
        assert not bearable(still, served(figures()))

    def test_no_domain_pays_for_the_others(self) -> None:
        start = served(figures(worst=0.02))
        assert bearable(served(figures(harm=0.005, worst=0.0205)), start)
        assert not bearable(served(figures(harm=0.005, worst=0.03)), start)

    def test_slack_is_given_up_only_for_clearly_less_harm(self) -> None:
        start = served(figures(slack=0.5))
        assert bearable(served(figures(harm=0.007, slack=0.2)), start)
        assert bearable(served(figures(harm=0.01, slack=0.46)), start)
        assert not bearable(served(figures(harm=0.01, moves=0, slack=0.4)), start)

    def test_slack_is_not_given_up_where_there_was_no_harm_to_lessen(self) -> None:
        assert not bearable(served(figures(harm=0, worst=0, slack=0.4)), served(figures(harm=0.00002)))


def source(steps: int, step: float, **demand: Callable[[int], float]) -> TraceSource:
    made = trace(step, **{name: [of(k) for k in range(steps)] for name, of in demand.items()})
    return TraceSource("made.csv", "made", made)


def flat(_: int) -> float:
    return 500.0


class TestHoldout:
    """What is chosen on, and what is judged on."""

    def test_the_last_third_is_held_out(self) -> None:
        parts = split(source(900, 60.0, a=flat), None)
        assert [(one.trace.start, one.trace.end) for one in parts.chosen_on] == [
            (0.0, 199 * 60.0),
            (200 * 60.0, 399 * 60.0),
            (400 * 60.0, 599 * 60.0),
        ]
        assert [(one.trace.start, one.trace.end) for one in parts.held_out] == [
            (600 * 60.0, 699 * 60.0),
            (700 * 60.0, 799 * 60.0),
            (800 * 60.0, 899 * 60.0),
        ]
        assert parts.cut_s == 600 * 60.0

    def test_of_long_traces_pieces_in_the_middle_of_each_share_are_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controller.replay.holdout.CHOOSING_SAMPLES", 600)
        parts = split(source(900, 60.0, a=flat, b=flat), None)
        assert [(one.trace.start, one.trace.end) for one in parts.chosen_on] == [
            (first * 60.0, (first + 99) * 60.0) for first in (50, 250, 450)
        ]
        assert sum(len(one.trace.series[0].times) for one in parts.held_out) == 300

    def test_the_host_is_a_quarter_larger_than_the_peak_of_the_whole_trace(self) -> None:
        made = source(360, 60.0, a=lambda k: 1000.0 if k == 359 else 100.0)
        assert {one.host_mib for one in split(made, None).chosen_on} == {1250.0}
        assert {one.host_mib for one in split(made, 700.0).held_out} == {700.0}

    @pytest.mark.parametrize(("steps", "step"), [(2, 60.0), (350, 60.0), (1000, 1.0)])
    def test_a_trace_too_short_to_hold_a_part_out_is_refused(self, steps: int, step: float) -> None:
        with pytest.raises(BacktestError, match=r"made.csv: \d+ sample times over .* too short.* record 1.5 h or more"):
            split(source(steps, step, a=flat), None)

    @pytest.mark.parametrize(("idle", "name"), [(range(600), "first two thirds"), (range(600, 900), "last third")])
    def test_a_part_without_demand_is_refused(self, idle: range, name: str) -> None:
        with pytest.raises(BacktestError, match=f"demand is 0 in the {name}"):
            split(source(900, 60.0, a=lambda k: 0.0 if k in idle else 100.0), None)

    def test_a_piece_without_demand_is_left_out(self) -> None:
        parts = split(source(900, 60.0, a=lambda k: 0.0 if k < 200 else 100.0), None)
        assert [one.trace.start for one in parts.chosen_on] == [200 * 60.0, 400 * 60.0]

    def test_a_piece_weighs_as_it_is_scored(self) -> None:
        one = split(source(900, 60.0, a=flat, b=flat), None).held_out[0]
        assert one.need_mib_s == pytest.approx(2 * 500 * 99 * 60)
        assert one.domain_hours == pytest.approx(2 * 99 / 60)


FINE = Resolution(step_s=1.0, span_s=7200.0)


class TestOptions:
    """What is tried."""

    def test_every_parameter_but_with_what_it_is_already(self) -> None:
        start = policy("{spare: Reclaim, headroom: {percent: 7}}")
        found = options(start, FINE)
        assert {one.field for one in found} == set(GRID)
        tried = {field: [one.changes[field] for one in found if one.field == field] for field in GRID}
        assert tried["spare"] == ["Share"]
        assert tried["headroom.percent"] == list(GRID["headroom.percent"])
        assert all(current(one.policy, one.changes) == one.changes for one in found)

    def test_a_coarse_trace_says_nothing_about_looks_every_few_seconds(self) -> None:
        assert not [
            one for one in options(policy(), Resolution(300.0, 7200.0)) if one.field.startswith("advanced.monitoring.")
        ]

    def test_looks_between_samples_are_not_proposed(self) -> None:
        """A replay stretches the longest interval with the shortest: a new one says both, and means what it did."""
        tried = [
            one.changes
            for one in options(policy(), Resolution(2.5, 7200.0))
            if one.field.startswith("advanced.monitoring.")
        ]
        shortest, longest = "advanced.monitoring.minimumIntervalSeconds", "advanced.monitoring.maximumIntervalSeconds"
        assert tried == [
            {shortest: 5},
            {shortest: 10},
            {longest: 15, shortest: 3},
            {longest: 60, shortest: 3},
            {longest: 240, shortest: 3},
        ]

    def test_a_recorders_jitter_rules_out_no_interval(self) -> None:
        evaluator = PolicyEvaluator(split(source(900, 10.005, a=flat), None).chosen_on, False, Pool(1), TuneProgress())
        tried = [
            one.changes
            for one in options(policy(), evaluator.resolution)
            if one.field.startswith("advanced.monitoring.")
        ]
        shortest, longest = "advanced.monitoring.minimumIntervalSeconds", "advanced.monitoring.maximumIntervalSeconds"
        assert tried == [
            {shortest: 10},
            {longest: 15, shortest: 10},
            {longest: 60, shortest: 10},
            {longest: 240, shortest: 10},
        ]

    def test_a_window_that_does_not_fit_into_a_piece_is_not_tried(self) -> None:
        tried = [
            one.changes
            for one in options(policy(), Resolution(1.0, 2400.0))
            if one.field.startswith("advanced.shrink.")
        ]
        assert tried == [{"advanced.shrink.stabilizationSeconds": 30}, {"advanced.shrink.stabilizationSeconds": 600}]

    def test_what_other_fields_rule_out_is_not_tried(self) -> None:
        capped = policy("{limits: {maximumPercent: 15}}")
        assert [one.changes for one in options(capped, FINE) if one.field.startswith("limits.")] == [
            {"limits.minimumPercent": 5}
        ]

    def test_a_change_keeps_all_else_and_adds_no_defaults(self) -> None:
        start = policy("{mode: Enforce, headroom: {quantity: 64Mi}, domainSelector: {names: [db-*]}}")
        made = changed(start, {"headroom.percent": 20})
        assert made is not None
        assert made.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"] == {
            "mode": "Enforce",
            "headroom": {"quantity": "64Mi", "percent": 20},
            "domainSelector": {"names": ["db-*"]},
        }
        assert difference(start, made) == {"headroom.percent": 20}

    def test_a_policy_that_says_everything_can_be_changed(self) -> None:
        """Whatever a stored policy holds is written and read again without a loss; other models have others."""
        (start,) = load(EVERYTHING, "policy.yaml").policies
        (plain,) = load(EVERYTHING.replace(", lasso: {penaltyPercent: 7}", ""), "policy.yaml").policies
        for one in options(start, FINE):
            back = changed(one.policy, current(start, one.changes))
            assert back == (plain if one.field == "advanced.model.type" else start)
        assert {one.field for one in options(start, FINE)} == set(GRID)


EVERYTHING = """
apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {name: all, creationTimestamp: 2026-01-31T12:00:00Z, labels: {a: b}, annotations: {c: d}, uid: "7"}
spec:
  mode: Enforce
  nodeSelector: {names: [n*], matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [b]}]}
  domainSelector: {names: [d*], uuids: [00000000-0000-0000-0000-000000000000], matchLabels: {e: f}}
  limits: {minimum: 100M, maximum: 3Gi, maximumPercent: 90}
  budget: {reserve: 100000000, maximum: 1Ti}
  headroom: {quantity: 0}
  advanced:
    monitoring: {minimumIntervalSeconds: 3, maximumIntervalSeconds: 30}
    model: {type: Lasso, upperPercentile: 97, lasso: {penaltyPercent: 7}}
    threshold: {quantity: 1500Ki}
"""


class Imagined:
    """A bench on which harm follows from the policy by a formula."""

    resolution = FINE

    def __init__(self, harm: Callable[[MemoryPolicy], float] = lambda _: 0.01) -> None:
        self._harm = harm

    def serve(self, policies: Sequence[MemoryPolicy], places: Sequence[int] = (0, 1, 2)) -> list[Served]:
        return [served(*(self.figures(one, place) for place in places)) for one in policies]

    def figures(self, one: MemoryPolicy, _place: int) -> ReplayFigures:
        return figures(harm=self._harm(one))


def found(harm: Callable[[MemoryPolicy], float], start: MemoryPolicy | None = None) -> dict[str, int | str]:
    start = start or policy()
    return difference(start, search(start, Imagined(harm)))


class TestSearch:
    """How parameters are found."""

    def test_gains_are_joined(self) -> None:
        def harm(one: MemoryPolicy) -> float:
            far = abs(one.spec.headroom.percent - 30) / 100 + abs(one.spec.advanced.threshold.percent - 5) / 100
            return 0.01 * (1 + far + 0.5 * (one.spec.spare == "Share"))

        assert found(harm) == {"spare": "Reclaim", "headroom.percent": 30}

    def test_changes_that_harm_each_other_are_not_joined(self) -> None:
        def harm(one: MemoryPolicy) -> float:
            wide, keen = one.spec.headroom.percent == 20, one.spec.advanced.threshold.percent == 5
            return 0.02 if wide and keen else 0.005 if wide else 0.007 if keen else 0.01

        assert found(harm) == {"headroom.percent": 20}

    def test_a_second_round_finds_what_gains_only_after_the_first(self) -> None:
        def harm(one: MemoryPolicy) -> float:
            lent, keen = one.spec.spare == "Share", one.spec.advanced.threshold.percent == 5
            return 0.01 if lent else 0.002 if keen else 0.005

        assert found(harm) == {"spare": "Reclaim", "advanced.threshold.percent": 5}

    def test_nothing_gains_nothing_changes(self) -> None:
        assert found(lambda _: 0.01) == {}

    def test_harm_does_not_creep_up_change_by_change(self) -> None:
        """Each change halves the moves for 4 % more harm: only the first is within the limit of what there was."""

        class Calmer(Imagined):
            def figures(self, one: MemoryPolicy, _place: int) -> ReplayFigures:
                steps = (one.spec.spare == "Reclaim") + (one.spec.headroom.percent == 20)
                return figures(harm=0.01 * 1.04**steps, moves=4 / 4**steps)

        assert len(difference(policy(), search(policy(), Calmer()))) == 1

    def test_what_does_not_help_where_the_burden_is_heaviest_is_replayed_only_there(self) -> None:
        class Uneven(Imagined):
            replayed: ClassVar[list[tuple[str, int]]] = []

            def figures(self, one: MemoryPolicy, place: int) -> ReplayFigures:
                self.replayed.append((one.spec.spare, place))
                return figures(harm=(0.01, 0.03, 0.01)[place] * (2 if one.spec.spare == "Reclaim" else 1))

        search(policy(), Uneven())
        assert [place for spare, place in Uneven.replayed if spare == "Reclaim"] == [1]


def tuning(start: ReplayFigures, better: ReplayFigures, changes: bool = True) -> TuningResult:
    before, after = policy(), policy("{headroom: {percent: 20}}")
    part = TuningPart(served(start), served(better))
    return TuningResult(before, after, {"headroom.percent": 20} if changes else {}, part, part)


class TestJudging:
    """What is proposed."""

    def test_what_gains_on_the_part_held_out(self) -> None:
        one = tuning(figures(), figures(harm=0.005))
        assert (one.holds, one.policy) == (True, one.found)

    @pytest.mark.parametrize(
        "after",
        [figures(harm=0.02), figures(), figures(harm=0.005, worst=0.1)],
        ids=["more harm", "no gain", "a domain pays"],
    )
    def test_what_does_not_is_not_and_the_start_stays(self, after: ReplayFigures) -> None:
        one = tuning(figures(), after)
        assert (one.holds, one.policy) == (False, one.start)


class TuneProgress:
    """Hears how far it is."""

    def __init__(self) -> None:
        self.announced = self.ended = 0

    def more(self, count: int) -> None:
        self.announced += count

    def done(self) -> None:
        self.ended += 1


class TestTuning:
    """The whole of it, on a made trace: domains that jump by turns, in other orders in the part held out."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
        monkeypatch.setattr("controller.replay.proposals.GRID", {"headroom.percent": (5, 10, 60)})

    @staticmethod
    def jumps(seed: int) -> Callable[[int], float]:
        high = np.repeat(np.random.default_rng(seed).random(100) < 0.5, 4)
        return lambda k: 1500.0 if high[k] else 1000.0

    def test_what_serves_the_guests_better_is_found_and_holds(self) -> None:
        made = source(360, 60.0, a=self.jumps(1), b=self.jumps(2))
        start = policy("{spare: Reclaim, advanced: {shrink: {stabilizationSeconds: 60}}}")
        watcher = TuneProgress()
        one = tune(start, [split(made, 8192.0)], autodeflate=False, pool=Pool(), watcher=watcher)
        assert one.changes == {"headroom.percent": 60}
        assert one.holds
        assert pooled(one.held_out.found).harm < 0.5 * pooled(one.held_out.start).harm
        replayed_everywhere = 3 * 3 + 2 * 3
        assert watcher.announced == watcher.ended < replayed_everywhere

    def test_policies_that_act_alike_are_replayed_once(self) -> None:
        made = source(360, 60.0, a=flat)
        watcher = TuneProgress()
        one = tune(policy("{headroom: {percent: 60}}"), [split(made, 8192.0)], False, Pool(), watcher)
        assert (one.changes, one.found) == ({}, one.start)
        assert watcher.ended == 3 + 2 + 3
