"""`./hack/duel`: peers see and move real guests through one adapter, and its figures are as by hand."""

import os
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from click.testing import CliRunner

from controller.replay.controllers import PEERS
from dueling import __main__ as command
from dueling import chart
from dueling.casts import CASTS
from dueling.live import Live, drive
from dueling.measures import Measures, Observed, estimate, estimates, measured, moves, short_s
from dueling.report import Turn, cell, document, standing, table, verdict
from dueling.turn import TurnTerms, cpu_s
from faulting.judge import Order
from lab.errors import LabError
from lab.guest import Evidence, GuestEvent
from lab.sampling import Track

MIB = 1024
"""KiB, libvirt's unit."""


class DuelledDomain:
    """A domain that does what it is told at once, and reports when the test has it report."""

    def __init__(self, name: str, size: int, used: int, maximum: int = 400) -> None:
        self._name = name
        self.orders: list[int] = []
        self.size, self.maximum = size * MIB, maximum * MIB
        self.report(used, at=100)

    def report(self, used: int, at: int) -> None:
        self.usable, self.updated = self.size - used * MIB, at

    def name(self) -> str:
        return self._name

    def setMemory(self, kib: int) -> None:  # noqa: N802
        self.orders.append(kib)
        self.size = kib


class BulkConnection:
    """A bulk look, as libvirt answers it."""

    def domainListGetStats(self, domains, _what):  # noqa: N802
        return [
            (
                domain,
                {
                    "balloon.current": domain.size,
                    "balloon.maximum": domain.maximum,
                    "balloon.usable": domain.usable,
                    "balloon.last-update": domain.updated,
                    "balloon.swap_in": 3 * MIB,
                    "balloon.major_fault": 5,
                    "balloon.rss": 250 * MIB,
                },
            )
            for domain in domains
        ]


def live(*domains: DuelledDomain, total: float = 1000.0, now: float = 100.0) -> Live:
    return Live(BulkConnection(), domains, total, clock=lambda: now)


class TestLive:
    def test_a_look_shows_what_libvirt_tells_in_mib(self):
        world = live(DuelledDomain("a", 200, 150), DuelledDomain("b", 300, 50))
        seen = world.read(world.rows)
        assert (world.now, world.domains, world.free_mib()) == (100.0, ("a", "b"), 500.0)
        assert seen.allocation.tolist() == [200, 300]
        assert seen.maximum.tolist() == [400, 400]
        assert (seen.used.tolist(), seen.unused.tolist()) == ([150, 50], [50, 250])
        assert (seen.updated.tolist(), seen.swap_in.tolist()) == ([100, 100], [3, 3])
        assert (seen.major_faults.tolist(), seen.resident.tolist()) == ([5, 5], [250, 250])

    def test_rows_are_those_asked_for(self):
        seen = live(DuelledDomain("a", 200, 150), DuelledDomain("b", 300, 50)).read(np.array([1]))
        assert (seen.rows.tolist(), seen.allocation.tolist(), seen.used.tolist()) == ([1], [300], [50])

    def test_what_a_guest_uses_stays_until_it_reports_again_whatever_its_balloon_does(self):
        domain = DuelledDomain("a", 200, 150)
        world = live(domain)
        domain.setMemory(300 * MIB)
        world.refresh()
        seen = world.read(world.rows)
        assert (seen.allocation.tolist(), seen.used.tolist(), seen.unused.tolist()) == ([300], [150], [50])
        domain.report(180, at=101)
        world.refresh()
        seen = world.read(world.rows)
        assert (seen.used.tolist(), seen.unused.tolist()) == ([180], [120])

    def test_a_report_from_before_a_shrink_is_of_no_more_than_there_is(self):
        domain = DuelledDomain("a", 200, 50)
        domain.setMemory(100 * MIB)
        assert live(domain).read(np.array([0])).used.tolist() == [0]

    def test_orders_reach_libvirt_in_kib_within_what_a_guest_can_have(self):
        domains = DuelledDomain("a", 200, 150), DuelledDomain("b", 300, 50), DuelledDomain("c", 300, 50)
        world = live(*domains)
        world.order(np.array([0, 1]), np.array([250.5, 900.0]))
        world.order(np.array([2]), np.array([-5.0]))
        assert [domain.orders for domain in domains] == [[250.5 * MIB], [400 * MIB], [MIB]]

    def test_at_a_scale_everything_is_larger_and_orders_are_as_much_smaller(self):
        domain = DuelledDomain("a", 200, 150)
        world = Live(BulkConnection(), [domain], 300.0, scale=16, clock=lambda: 100.0)
        seen = world.read(world.rows)
        assert (world.total_mib, world.free_mib(), world.maximum.tolist()) == (4800.0, 1600.0, [6400])
        assert (seen.allocation.tolist(), seen.used.tolist(), seen.unused.tolist()) == ([3200], [2400], [800])
        assert (seen.resident.tolist(), seen.swap_in.tolist(), seen.major_faults.tolist()) == ([4000], [48], [5])
        world.order(world.rows, np.array([4000.0]))
        assert domain.orders == [250 * MIB]

    def test_the_host_has_nothing_free_when_too_much_was_given(self):
        assert live(DuelledDomain("a", 400, 50), total=300.0).free_mib() == 0.0

    @pytest.mark.parametrize("name", [name for name in command.TAKEN if name in PEERS])
    def test_every_peer_drives_it_for_minutes_and_leaves_guests_within_what_they_can_have(self, name):
        most = 6400
        domains = DuelledDomain("a", 4000, 3900, most), DuelledDomain("b", 4000, 600, most)
        clock = iter(range(100, 10_000))
        world = Live(BulkConnection(), domains, 8000.0, clock=lambda: float(next(clock)))
        rounds = iter(range(120))

        def rest(_seconds: float) -> bool:
            for domain in domains:
                domain.report(min(3900 if domain.name() == "a" else 600, domain.size // MIB), at=int(world.now))
            return next(rounds, None) is None

        drive(world, PEERS[name](), rest)
        assert world.now == 100 + 120
        assert all(MIB <= order <= most * MIB for domain in domains for order in domain.orders)
        assert bool(domains[0].orders + domains[1].orders) == (name != "static")


def event(at: float, word: str, *values: int) -> GuestEvent:
    return GuestEvent(at, word, (0, *values))


class TestShort:
    GROWN = (event(0, "want", 40), event(0.5, "held", 40, 9), event(10, "want", 160))

    def test_from_wanting_more_until_all_is_held(self):
        assert short_s([*self.GROWN, event(13, "held", 160, 9)], 5, 60) == 3

    def test_a_time_without_a_major_fault_is_what_touching_takes(self):
        assert short_s([*self.GROWN, event(13, "held", 160, 0)], 5, 60) == 0

    def test_faults_of_one_time_count_for_no_other(self):
        again = event(20, "want", 40), event(20.5, "held", 40, 0), event(30, "want", 160), event(33, "held", 160, 0)
        assert short_s([*self.GROWN, event(13, "held", 160, 9), *again], 5, 60) == 3
        assert short_s([*self.GROWN, event(11, "lost", 160, 500), event(13, "held", 160, 0), *again], 5, 60) == 3

    def test_until_the_end_where_it_never_is(self):
        assert short_s(self.GROWN, 5, 60) == 50

    def test_only_in_the_time_asked_for(self):
        assert short_s([*self.GROWN, event(13, "held", 160, 9)], 11, 12) == 1
        assert short_s([*self.GROWN, event(13, "held", 160, 9)], 20, 60) == 0

    def test_asking_for_the_same_again_is_not_wanting_more(self):
        assert short_s([*self.GROWN[:2], event(10, "want", 40), event(12, "held", 40, 9)], 5, 60) == 0

    def test_wanting_less_is_granted_at_once(self):
        assert short_s([*self.GROWN[:2], event(10, "want", 20), event(12, "held", 20, 9)], 5, 60) == 0

    def test_who_wants_less_while_short_is_short_until_it_holds_that(self):
        events = [*self.GROWN, event(14, "want", 40), event(14.5, "held", 40, 9)]
        assert short_s(events, 5, 60) == 4.5

    def test_what_was_held_and_went_to_swap_counts_from_the_pass_that_met_it(self):
        events = [*self.GROWN, event(13, "held", 160, 9), event(24, "lost", 160, 1500), event(26, "held", 160, 0)]
        assert short_s(events, 20, 60) == 3.5

    def test_who_wants_nothing_any_more_is_not_short(self):
        events = [*self.GROWN, event(14, "want", 0), event(14.5, "held", 0, 9)]
        assert short_s(events, 5, 60) == 4.5

    def test_a_killed_workload_is_short_until_it_holds_again_what_it_is_started_anew_for(self):
        killed = [event(20, "oom", 1), event(20, "want", 0), event(20.2, "held", 0, 9)]
        events = [*self.GROWN[:2], *killed, event(21, "want", 40), event(22, "held", 40, 0)]
        assert short_s(events, 10, 60) == 2


def evidence(**counted: int) -> Evidence:
    return Evidence(**{"oom_kills": 0, "panics": 0, "swapped_in_pages": 0, "major_faults": 0} | counted)


def observed(**changed) -> Observed:
    track = Track("guest", maximum=400, idle=60.0, times=[100.0, 101.0, 102.0, 103.0])
    track.allocations = [200.0, 200.0, 200.0, 328.0]
    track.wants, track.held = [(95.0, 100.0), (101.5, 300.0)], [(104.0, 300.0)]
    events = [
        GuestEvent(95.0, "want", (0, 40)),
        GuestEvent(95.5, "held", (0, 40, 0)),
        GuestEvent(101.5, "want", (0, 240)),
    ]
    seen = Observed(
        seconds=10.0,
        start=100.0,
        tracks=[track],
        events=[[*events, GuestEvent(104.0, "held", (0, 240, 3))]],
        before=[evidence(oom_kills=1, swapped_in_pages=100, swapped_out_pages=50, operations=1000)],
        after=[evidence(oom_kills=3, swapped_in_pages=356, swapped_out_pages=562, operations=6000)],
        moves=2,
        cpu_s=0.5,
        memory_mib=70.0,
    )
    return replace(seen, **changed)


MEASURES = Measures(
    short_s=2.5,
    reaction_p50_s=2.5,
    reaction_p95_s=2.5,
    swapped_in_mib=1.0,
    swapped_out_mib=2.0,
    swapped_out_gib_h=3686.4,
    operations_s=500.0,
    killed=2,
    moves=2,
    moved_gib=0.125,
    over_budget_percent=0.0,
    cpu_percent=5.0,
    memory_mib=70.0,
)


class TestMeasures:
    def test_what_was_seen_makes_the_figures(self):
        assert measured(observed(), budget_mib=350) == MEASURES

    def test_over_budget_is_the_mean_of_what_is_too_much(self):
        track = observed().tracks[0]
        assert measured(observed(tracks=[track, track]), budget_mib=390).over_budget_percent == pytest.approx(
            100 * 10 / 390
        )

    def test_a_panic_counts_as_a_kill_and_takes_nothing_off_what_others_did(self):
        gone = evidence(panics=1)
        found = measured(observed(after=[gone]), budget_mib=350)
        assert (found.killed, found.swapped_in_mib, found.operations_s) == (1, 0.0, 0.0)

    def test_a_step_before_the_time_measured_does_not_count(self):
        track = observed().tracks[0]
        track.wants = [(95.0, 100.0), (96.0, 300.0), (104.5, 330.0), (106.0, 100.0)]
        found = measured(observed(tracks=[track]), budget_mib=350)
        assert (found.reaction_p50_s, found.reaction_p95_s) == (None, None)

    @pytest.mark.parametrize(("since", "expected"), [(0, 3), (2, 2), (2.5, 1), (4, 1), (9, 0)])
    def test_moves_are_orders_that_change_something(self, since, expected):
        given = [Order(at, target, 400) for at, target in ((1, 200), (2, 250), (3, 250), (5, 200))]
        assert moves(given, since) == expected

    def test_the_cpu_of_this_process_grows(self):
        before = cpu_s(os.getpid())
        assert before > 0
        sum(range(5_000_000))
        assert cpu_s(os.getpid()) > before


class TestEstimate:
    def test_a_single_round_says_nothing_of_how_sure_it_is(self):
        assert (estimate([3.0]).mean, estimate([3.0]).half) == (3.0, inf)

    @pytest.mark.parametrize(
        ("values", "mean", "half"),
        [([1.0, 3.0], 2.0, 12.71), ([1.0, 2.0, 3.0], 2.0, 4.30 / 3**0.5), ([float(n) for n in range(10)], 4.5, 2.164)],
    )
    def test_the_interval_is_student_s(self, values, mean, half):
        assert estimate(values).mean == mean
        assert estimate(values).half == pytest.approx(half, abs=1e-3)

    def test_a_figure_that_a_round_lacks_is_of_the_others(self):
        found = estimates([MEASURES, replace(MEASURES, reaction_p50_s=None, short_s=4.5)])
        assert found["reaction_p50_s"].half == inf
        assert found["short_s"].mean == 3.5
        assert estimates([replace(MEASURES, reaction_p50_s=None)])["reaction_p50_s"] is None


def turn(controller: str, number: int = 0, cast: str = "demo", **changed: float) -> Turn:
    return Turn(cast, controller, number, replace(MEASURES, **changed))


class TestReport:
    def test_ballast_stands_beside_the_best_peer_of_each_figure_that_kept_the_budget(self):
        turns = [
            turn("ballast", short_s=2.0, swapped_in_mib=3.0, swapped_out_mib=1.0, moves=30),
            turn("mom", over_budget_percent=0.9, short_s=10.0, swapped_in_mib=4.0, swapped_out_mib=4.0, moves=60),
            turn("static", short_s=20.0, swapped_in_mib=2.0, swapped_out_mib=2.0, moves=0),
            turn("pi", short_s=30.0, swapped_in_mib=9.0, moves=20),
            turn("virtui", short_s=0.0, over_budget_percent=1.1),
            turn("max", short_s=0.0),
        ]
        told = "ballast: short 0.20 times as much as under mom, swapped 1.00 times as much as under static, "
        assert verdict(standing(turns, "demo")) == told + "0.50 times the moves of mom"

    def test_nothing_is_said_without_ballast_or_a_peer(self):
        assert verdict(standing([turn("mom")], "demo")) == ""
        assert verdict(standing([turn("ballast"), turn("max")], "demo")) == ""

    def test_beside_a_peer_without_any_there_is_no_ratio(self):
        told = verdict(standing([turn("ballast"), turn("mom", short_s=0.0, moves=0)], "demo"))
        assert told.startswith("ballast: short 2.5 s, nothing under mom, ")
        assert "moves" not in told

    def test_cells_hold_the_mean_and_the_interval_where_there_is_one(self):
        assert [cell(estimate(values), 1) for values in ([2.0], [1.0, 3.0])] == ["2.0", "2.0 ± 12.7"]
        assert cell(None, 1) == "-"

    def test_rows_come_in_the_order_asked_for_whoever_played_first(self):
        found = standing([turn("mom"), turn("ballast"), turn("pi", cast="other")], "demo")
        assert [*table("demo", found, ("ballast", "mom", "pi")).columns[0].cells] == ["ballast", "mom"]

    def test_json_holds_every_turn_and_all_rounds_together(self):
        turns = [turn("mom", short_s=1.0), turn("mom", 1, short_s=3.0)]
        found = document(turns, {"seed": 7})
        assert found["seed"] == 7
        assert [(each["controller"], each["round"], each["short_s"]) for each in found["turns"]] == [
            ("mom", 0, 1.0),
            ("mom", 1, 3.0),
        ]
        assert found["together"]["demo"]["mom"]["short_s"] == {"mean": 2.0, "half": 12.71}
        assert document(turns[:1], {})["together"]["demo"]["mom"]["short_s"] == {"mean": 1.0, "half": None}

    @pytest.mark.slow
    def test_a_picture_has_a_row_a_cast(self, tmp_path):
        turns = [turn("ballast"), turn("mom", reaction_p95_s=None), turn("mom", 1), turn("pi", cast="other")]
        standings = {cast: standing(turns, cast) for cast in ("demo", "other")}
        chart.draw(standings, ("ballast", "mom", "pi"), tmp_path / "duel.png")
        assert (tmp_path / "duel.png").read_bytes().startswith(b"\x89PNG")


IDLE_MIB = 60
"""What a lab guest's kernel takes at most."""


class TestCasts:
    @pytest.mark.parametrize("cast", CASTS, ids=lambda cast: cast.name)
    def test_all_begin_with_an_equal_share_of_a_budget_below_their_maxima(self, cast):
        assert {part.spec.current for part in cast.parts} == {cast.budget_mib // len(cast.parts)}
        assert sum(part.spec.maximum for part in cast.parts) > cast.budget_mib
        assert f"maximum: {cast.budget_mib}Mi" in cast.policy

    @pytest.mark.parametrize("cast", CASTS, ids=lambda cast: cast.name)
    def test_what_they_want_together_fits_at_every_moment(self, cast):
        for second in np.arange(0, 60, 0.25):
            held = sum(np.interp(second, *np.array(part.workload, dtype=float).T) for part in cast.parts)
            assert held + sum(IDLE_MIB + part.cold + part.files for part in cast.parts) <= cast.budget_mib

    @pytest.mark.parametrize("cast", CASTS, ids=lambda cast: cast.name)
    def test_no_guest_wants_more_than_it_may_have(self, cast):
        for part in cast.parts:
            most = part.cold + part.files + max(mib for _, mib in part.workload)
            assert most + IDLE_MIB <= part.spec.maximum

    def test_the_host_of_the_builder_has_half_of_what_its_guests_could_ask_for(self):
        (cast,) = [cast for cast in CASTS if cast.name == "builder"]
        assert (len(cast.parts), 2 * cast.budget_mib) == (8, sum(part.spec.maximum for part in cast.parts))


class TestCommand:
    def test_each_round_has_all_controllers_in_an_order_of_its_own_the_same_for_a_seed(self):
        rounds = command.schedule(tuple("abcdef"), 3, seed=1)
        assert [sorted(each) for each in rounds] == [list("abcdef")] * 3
        assert rounds[0] != rounds[1]
        assert rounds == command.schedule(tuple("abcdef"), 3, seed=1)
        assert rounds != command.schedule(tuple("abcdef"), 3, seed=2)

    def run(self, monkeypatch, turns, *arguments):
        class DuelHost:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        monkeypatch.setattr(command, "PrivateLibvirtd", DuelHost)
        monkeypatch.setattr(command, "duel", turns)
        return CliRunner().invoke(command.main, arguments, catch_exceptions=False)

    def test_tables_json_and_picture_come_of_the_turns(self, monkeypatch, tmp_path):
        def turns(_host, casts, rounds, terms):
            assert terms == TurnTerms(settle_s=5.0, seconds=30.0, scale=4.0)
            for number, order in enumerate(rounds):
                for cast in casts:
                    for controller in order:
                        yield turn(controller, number, cast.name)

        files = tmp_path / "duel.json", tmp_path / "duel.png"
        found = self.run(
            monkeypatch,
            turns,
            *(
                "--casts",
                "demo,builder",
                "--controllers",
                "ballast,mom",
                "--minutes",
                "0.5",
                "--settle",
                "5",
                "--scale",
                "4",
            ),
            *("--rounds", "2", "--json", str(files[0]), "--png", str(files[1])),
        )
        assert found.exit_code == 0
        assert "demo: 5 guests, budget 1152 MiB" in found.output
        assert "builder: 8 guests, budget 1440 MiB" in found.output
        assert all(path.stat().st_size for path in files)

    @pytest.mark.parametrize(
        ("end", "code", "told"),
        [
            (LabError("a guest is gone"), 1, "Error: a guest is gone"),
            (KeyboardInterrupt(), 1, "Aborted!"),
            (SystemExit(143), 143, ""),
        ],
        ids=["failed", "Ctrl-C", "SIGTERM"],
    )
    def test_what_is_known_is_told_when_it_ends_early(self, monkeypatch, tmp_path, end, code, told):
        def turns(*_):
            yield turn("mom")
            raise end

        files = tmp_path / "duel.json", tmp_path / "duel.png"
        found = self.run(monkeypatch, turns, "--json", str(files[0]), "--png", str(files[1]))
        assert found.exit_code == code
        assert told in found.output
        assert "demo: 5 guests" in found.output
        assert "mom" in files[0].read_text()
        assert files[1].stat().st_size

    @pytest.mark.parametrize(
        ("option", "value", "told"),
        [
            ("--casts", "nobody", "cast 'nobody' does not exist; use some of demo, fourteen, builder, files"),
            ("--controllers", "clairvoyant", "controller 'clairvoyant' does not exist"),
            ("--controllers", " , ", "no controller; use some of ballast"),
            ("--rounds", "11", "1<=x<=10"),
            ("--png", "missing/duel.png", "'missing/duel.png' cannot be written; name a file in an existing folder"),
            ("--json", "missing/duel.json", "name a file in an existing folder"),
        ],
    )
    def test_an_unknown_name_is_refused_with_those_there_are(self, option, value, told):
        found = CliRunner().invoke(command.main, [option, value])
        assert found.exit_code == 2
        assert told in found.output
