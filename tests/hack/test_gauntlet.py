"""`./hack/gauntlet`: its worlds are what it promises, its figures are as by hand, and it runs."""

import json
from dataclasses import replace

import made_constants
import numpy as np
import pytest
from click.testing import CliRunner
from made_constants import MadeTuning
from matplotlib.figure import Figure

from controller.engine.tuning import MIB
from controller.forecast import bound
from controller.forecast.model import Points
from controller.forecast.tail import Tail
from controller.forecast.wls import WLS
from controller.replay.controllers import PEERS
from controller.replay.pool import Pool
from controller.replay.run import replay
from controller.replay.score import ReplayFigures
from worlds import chart, constants, effects, evaluation, tables
from worlds.__main__ import POLICY, main
from worlds.evaluation import Candidate, ReplayResult, WorldJob, WorldResult, as_named, evaluate
from worlds.summary import best_peer, ratio, summary
from worlds.world import families, world, worlds

SEEDS = range(2)


@pytest.fixture(scope="module", params=list(worlds(SEEDS)), ids=lambda one: f"{one[1]}-{one[0]}")
def made(request):
    return world(*request.param)


class TestWorlds:
    def test_all_guests_are_within_their_maxima_and_use_what_a_kernel_needs(self, made):
        use = made.demand[~np.isnan(made.demand)]
        assert use.min() >= 0.8 * min(24.0, made.host_mib / made.demand.shape[1])
        assert (np.nanmax(made.demand, axis=0) <= made.maximum).all()

    def test_steps_guests_and_sizes_are_of_every_scale(self, made):
        assert 1 <= made.step_s <= 300
        assert 2 <= made.demand.shape[1] <= 60
        assert np.nanmax(made.demand) <= 128 * 1024

    def test_maxima_are_up_to_39_times_the_peaks(self, made):
        assert 1.05 <= made.maximum_to_peak <= 39.5

    def test_the_host_holds_the_peak_of_all_and_at_most_twice_that(self, made):
        assert made.host_mib / made.peak_mib + 1e-3 >= 1.08
        assert made.host_mib / made.peak_mib - 1e-3 <= 2.0

    def test_nobody_is_short_at_the_start(self, made):
        first = made.demand[0]
        assert first[~np.isnan(first)].max() <= made.host_mib / len(first)

    def test_each_guest_runs_in_one_piece(self, made):
        running = ~np.isnan(made.demand)
        starts = np.diff(running.astype(int), axis=0, prepend=0) == 1
        assert (starts.sum(axis=0) == 1).all()

    def test_its_trace_holds_every_sample(self, made):
        trace = made.trace()
        assert trace.step_s == made.step_s
        assert trace.peak_mib == pytest.approx(made.peak_mib)
        assert sum(len(one.times) for one in trace.series) == np.isfinite(made.demand).sum()


@pytest.mark.parametrize("family", families())
def test_a_seed_makes_the_same_world_each_time_and_another_seed_another(family):
    first, again, other = world(1, family), world(1, family), world(2, family)

    assert first.demand.tobytes() == again.demand.tobytes()
    assert (first.host_mib, first.maximum.tolist()) == (again.host_mib, again.maximum.tolist())
    assert first.demand.tobytes() != other.demand.tobytes()


def test_giants_are_many_times_their_peaks():
    assert min(world(seed, "giants").maximum_to_peak for seed in SEEDS) >= 4


def figures(harm, moves=1.0, looks=10.0):
    return ReplayResult(ReplayFigures(harm, 0.0, 0.5, harm, moves, looks), 2.0)


def result(step_s=1.0, **replays):
    """`name=(harm, moves, looks)`; peers and probe have a harm of a thousandth unless said."""
    usual = {name: figures(1e-3) for name in ("mom", "proxmox", "qmemman", "probe")}
    named = {name.replace("_", ":"): figures(*one) for name, one in replays.items()}
    return WorldResult(0, "jobs", 3, step_s, 2.0, 1.5, 7, usual | named)


class TestSummary:
    def test_a_ratio_takes_no_harm_for_less_than_what_anybody_notices(self):
        assert ratio(4e-5, 2e-5) == pytest.approx(2)
        assert ratio(4e-5, 0.0) == pytest.approx(4)
        assert ratio(0.0, 0.0) == 1

    def test_the_best_peer_is_the_one_with_the_least_harm(self):
        assert best_peer(result(qmemman=(5e-4,))) == "qmemman"
        assert best_peer(result(proxmox=(2e-6,), qmemman=(1e-6,))) == "proxmox"

    def test_harm_is_compared_with_the_best_peer_of_each_world(self):
        results = [result(ballast=(2e-3,)), result(ballast=(1e-3,), mom=(5e-4,)), result(ballast=(5e-5,))]

        found = summary("ballast", results, ours=True).peers

        assert found.no_worse == pytest.approx(1 / 3)
        assert found.geometric_mean == pytest.approx((2 * 2 * 0.05) ** (1 / 3))
        assert found.worst == pytest.approx(2)

    def test_harm_that_nobody_notices_makes_no_one_worse(self):
        found = summary("ballast", [result(ballast=(9e-5,), mom=(0.0,))], ours=True).peers

        assert (found.no_worse, found.worst) == (1, 1)
        assert found.geometric_mean == pytest.approx(9)

    def test_harm_is_compared_with_the_probe(self):
        found = summary("ballast", [result(ballast=(3e-3,), probe=(2e-3,))], ours=True).probe

        assert (found.no_worse, found.worst) == (0, pytest.approx(1.5))

    def test_moves_are_many_beyond_a_fifth_more_than_the_probe_makes(self):
        results = [result(ballast=(0, moves), probe=(0, 10.0)) for moves in (0.0, 12.0, 12.1, 40.0)]

        found = summary("ballast", results, ours=True)

        assert (found.moves_median, found.many_moves) == (pytest.approx(12.05), 0.5)
        assert found.moves_p95 == pytest.approx(12.1 + 0.85 * 27.9)

    def test_looks_are_compared_with_fixed_ones_where_samples_are_fine(self):
        fixed = {"ballast_fixed": (1e-3, 1, 100)}
        results = [
            result(ballast=(1e-3, 1, 20), **fixed),
            result(5.0, ballast=(4e-3, 1, 40), **fixed),
            result(6.0, ballast=(1, 1, 90), **fixed),
        ]

        found = summary("ballast", results, ours=True).looks

        assert found.part == pytest.approx(0.3)
        assert found.harm_geometric_mean == pytest.approx(2)
        assert found.harm_worst == pytest.approx(4)

    def test_looks_at_guests_that_report_free_pages_are_compared_with_fixed_ones_at_such_guests(self):
        replays = {"ballast_fixed": (1e-2, 1, 10), "ballast_reporting": (2e-3, 1, 20)}
        alone = summary("ballast:reporting", [result(**replays)], ours=True).looks
        both = [result(**replays, **{"ballast_reporting-fixed": (1e-3, 1, 40)})]
        found = summary("ballast:reporting", both, ours=True).looks

        assert alone is None
        assert (found.part, found.harm_geometric_mean) == (pytest.approx(0.5), pytest.approx(2))

    def test_looks_of_others_are_compared_with_nothing(self):
        fine = [result(ballast_fixed=(0, 0, 1))]
        assert summary("probe", fine, ours=False).looks is None
        assert summary("ballast:fixed", [result(9.0, ballast_fixed=(0, 0, 1))], ours=True).looks is None

    def test_seconds_are_those_of_all_replays(self):
        assert summary("probe", [result(), result()], ours=False).seconds == 4


def run(*arguments):
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture
def brief(monkeypatch):
    """Worlds of a tenth of the length."""
    monkeypatch.setattr("worlds.world.STEPS", 240)
    evaluation._made.cache_clear()
    yield
    evaluation._made.cache_clear()


@pytest.mark.usefixtures("brief")
@pytest.mark.slow
def test_a_run_prints_worlds_and_a_table_and_writes_figures_and_a_picture(tmp_path):
    names = {"json": tmp_path / "figures.json", "png": tmp_path / "ratios.png"}

    outcome = run("--seeds", "4", "--only", "calm,jobs", "--jobs", "1", *(f"--{k}={path}" for k, path in names.items()))

    assert outcome.exit_code == 0
    lines = outcome.output.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["4", "calm"], ["4", "jobs"]]
    found = json.loads(names["json"].read_text())
    rows = ["ballast", "ballast:fixed", "probe", "mom", "proxmox", "qmemman"]
    assert [one["controller"] for one in found["summary"]] == rows
    assert [line.split()[0] for line in lines if line.split()[0] in rows] == rows
    assert [(one["seed"], one["family"], [*one["replays"]]) for one in found["worlds"]] == [
        (4, "calm", rows),
        (4, "jobs", rows),
    ]
    assert names["png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("brief")
def test_a_run_gives_the_same_lines_each_time():
    first, again = (run("--seeds", "4", "--only", "jobs", "--controllers", "probe", "--jobs", "1") for _ in range(2))

    assert first.output.splitlines()[0] == again.output.splitlines()[0]


@pytest.mark.slow
@pytest.mark.usefixtures("brief")
def test_a_run_takes_peers_and_probe_of_an_earlier_one_as_long_as_the_world_is_the_same(tmp_path):
    path = tmp_path / "known.json"
    known = ("--seeds", "4", "--controllers", "probe,ballast", "--jobs", "1")
    run(*known, "--only", "calm,jobs", "--json", str(path))
    data = json.loads(path.read_text())
    for one in data["worlds"]:
        for each in one["replays"].values():
            each["reallocations_per_domain_hour"] = 777.0
    data["worlds"][1]["checksum"] += 1
    path.write_text(json.dumps(data))

    run(*known, "--only", "calm,jobs", "--known", str(path), "--json", str(tmp_path / "new.json"))

    calm, jobs = json.loads((tmp_path / "new.json").read_text())["worlds"]
    taken = {name for name, one in calm["replays"].items() if one["reallocations_per_domain_hour"] == 777}
    assert taken == {"probe", "mom", "proxmox", "qmemman"}
    assert not any(one["reallocations_per_domain_hour"] == 777 for one in jobs["replays"].values())


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    outcome = run("--known", str(tmp_path / "none.json"))

    assert outcome.exit_code == 1
    assert "none.json: cannot be read: No such file or directory; name another file" in outcome.output


def test_a_file_that_holds_no_results_is_refused(tmp_path):
    (tmp_path / "known.json").write_text("[]")

    outcome = run("--known", str(tmp_path / "known.json"))

    assert outcome.exit_code == 1
    assert "is not what --json writes; name such a file" in outcome.output


@pytest.fixture
def asked(monkeypatch):
    """The jobs of a run whose worlds are not replayed."""
    jobs = []
    usual = result(ballast=(1e-3,))
    monkeypatch.setattr("worlds.__main__._results", lambda work, *_: jobs.extend(work) or [usual])
    monkeypatch.setattr("worlds.__main__.summary", lambda _label, results, ours: summary("ballast", results, ours))
    monkeypatch.setattr("worlds.effects.ablation", lambda labels, base, _results: f"{labels} beside {base}")
    return jobs


class TestAblation:
    def test_has_every_other_model_and_fixed_looks_in_worlds_with_trends(self, asked):
        outcome = run("--seeds", "4", "--ablate")

        trends = ["ramps", "saw_teeth", "leaks", "days", "weekdays"]
        others = ["ballast:ols", "ballast:ridge", "ballast:lasso", "ballast:lastvalue", "ballast:fixed"]
        labels = ["ballast", *others, "probe", "mom", "proxmox", "qmemman"]
        found = [(job.family, job.candidate.label) for job in asked]
        assert found == [(one, label) for one in trends for label in labels]
        assert outcome.output.splitlines()[-1] == f"{tuple(others)} beside ballast"

    def test_of_other_families_is_made_where_they_are_named(self, asked):
        run("--seeds", "4", "--ablate", "--only", "jobs")

        assert {job.family for job in asked} == {"jobs"}


@pytest.mark.parametrize(("arguments", "spare"), [((), "Share"), (("--reclaim",), "Reclaim")])
def test_spare_memory_is_shared_unless_said_otherwise(arguments, spare, asked):
    run("--seeds", "4", "--only", "jobs", *arguments)

    assert (asked[0].policy.spec.spare, asked[0].policy.spec.budget.reserve_percent) == (spare, 0)


def test_a_policy_of_ones_own_says_itself_what_becomes_of_spare_memory(tmp_path):
    outcome = run("--policy", str(tmp_path / "mine.yaml"), "--reclaim")

    assert outcome.exit_code == 2
    assert "with --policy, write `spare: Reclaim` there" in outcome.output


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("width", ["40", "200"])
def test_a_table_is_not_cut_off_however_narrow_the_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)

    assert "…" not in run("--seeds", "4", "--only", "jobs").output


def test_figures_have_three_digits_or_all_before_the_point():
    shown = [tables._short(value) for value in (0.0, 0.4666, 0.9996, 5.258, 9.996, 54.86, 99.96, 2487.1)]

    assert shown == ["0.000", "0.467", "1.00", "5.26", "10.0", "54.9", "100", "2487"]


class TestPicture:
    def drawn(self, results, monkeypatch, tmp_path):
        figures = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
        chart.draw(results, "ballast", tmp_path / "ratios.png")
        return figures[0].axes[0]

    def test_has_a_dot_a_world_at_the_ratio_that_the_table_has(self, monkeypatch, tmp_path):
        results = [result(ballast=(5e-4,)), result(ballast=(3e-3,), probe=(2e-6,))]

        axes = self.drawn(results, monkeypatch, tmp_path)

        shown = {line.get_label(): [float(x) for x in line.get_xdata()] for line in axes.lines[:2]}
        assert shown["ballast"] == pytest.approx([0.5, 3])
        assert shown["probe"] == pytest.approx([1, 0.1])  # harm that nobody notices counts for 0.01 %

    def test_has_families_in_the_order_of_how_they_fare(self, monkeypatch, tmp_path):
        worse, better = result(ballast=(5e-3,)), replace(result(ballast=(5e-4,)), family="sleepers")

        axes = self.drawn([worse, better], monkeypatch, tmp_path)

        assert [text.get_text() for text in axes.get_yticklabels()] == ["sleepers", "jobs"]


class OutOfOrder:
    """A pool whose jobs end as they like, and who watches it."""

    ended = 0

    def streamed(self, _function, jobs):
        return (
            (place, replace(result(), family=jobs[place].family, replays={place: None})) for place in (3, 2, 0, 1, 4)
        )

    def more(self, count):
        assert count == 5

    def done(self):
        self.ended += 1


class TestEvaluation:
    def jobs(self, families, *candidates):
        return [WorldJob(4, family, as_named(one), POLICY) for family in families for one in candidates]

    def test_worlds_come_in_their_order_each_with_all_its_replays_whichever_ends_first(self):
        pool = OutOfOrder()
        jobs = [*self.jobs(("calm", "jobs"), "probe", "mom"), *self.jobs(("mixed",), "probe")]

        found = [(one.family, [*one.replays], pool.ended) for one in evaluate(jobs, pool, pool)]

        assert found == [("calm", [0, 1], 4), ("jobs", [2, 3], 4), ("mixed", [4], 5)]

    @pytest.mark.usefixtures("brief")
    def test_a_world_is_made_once_for_all_candidates(self, monkeypatch):
        made = []
        monkeypatch.setattr(evaluation, "world", lambda *place: made.append(place) or world(*place))

        with Pool(1) as pool:
            found = [*evaluate(self.jobs(("calm", "jobs"), "probe", "max", "static"), pool, Watching())]

        assert made == [(4, "calm"), (4, "jobs")]
        assert [[*one.replays] for one in found] == [["probe", "max", "static"]] * 2

    @pytest.mark.usefixtures("brief")
    def test_every_replay_is_announced_and_told_when_it_ends(self):
        watching = Watching()

        with Pool(1) as pool:
            told = [watching.heard[:] for _ in evaluate(self.jobs(("calm", "jobs"), "max", "static"), pool, watching)]

        assert told == [[4, "done", "done"], [4, "done", "done", "done", "done"]]


class Watching:
    """Who hears how far the replays are."""

    def __init__(self):
        self.heard = []

    def more(self, count):
        self.heard.append(count)

    def done(self):
        self.heard.append("done")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "5-4"], "'5-4' are no seeds; write them like 7 or 0-49"),
        (["--only", "calm,wild"], "family 'wild' does not exist; use some of calm, ramps"),
        (["--controllers", "bollast"], "controller 'bollast' does not exist; use some of ballast"),
        (["--sweep", "nonesuch"], "constant 'nonesuch' does not exist"),
        (["--sensitivity", "--ablate"], "leave out --ablate and --png"),
        (["--sensitivity", "--sweep", "pool=1"], "leave out the values after --sweep"),
        (["--sensitivity", "--png", "ratios.png"], "leave out --ablate and --png"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_there_is(arguments, message):
    outcome = run(*arguments)

    assert outcome.exit_code != 0
    assert message in " ".join(outcome.output.split())


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(
    ("controller", "report"), [("ballast", False), ("ballast:reporting", True), ("ballast:reporting-fixed", True)]
)
def test_guests_report_free_pages_where_the_controller_says_so(controller, report, page_reporting):
    told = page_reporting(evaluation)
    evaluation.run(WorldJob(4, "calm", as_named(controller), POLICY))
    assert told == [report]


class TestSweep:
    @pytest.fixture(autouse=True)
    def table(self, monkeypatch):
        monkeypatch.setattr(constants, "Tuning", MadeTuning)
        monkeypatch.setattr(constants, "FORECAST", ((made_constants, ("RATE",)),))

    def test_constants_are_listed_with_their_values(self):
        assert run("--constants").output == "margin = 0.5\npoints = 3\nmade_constants.RATE = 0.1\n"

    @pytest.mark.usefixtures("brief")
    def test_ballast_is_made_with_one_of_them_changed(self, monkeypatch):
        made = []
        monkeypatch.setattr(evaluation, "make", lambda *asked: made.append(asked) or PEERS["static"]())

        evaluation.run(WorldJob(4, "calm", Candidate("margin=2", "ballast:fixed", {"margin": 2.0}), POLICY))

        assert made == [("ballast:fixed", POLICY, MadeTuning(margin=2.0))]

    @pytest.mark.usefixtures("brief")
    def test_one_of_the_forecasts_is_changed_as_long_as_a_replay_lasts(self, monkeypatch):
        found = []

        def replayed(*given, **settings):
            found.append(made_constants.RATE)
            return replay(*given, **settings)

        monkeypatch.setattr(evaluation, "make", lambda *_: PEERS["static"]())
        monkeypatch.setattr(evaluation, "replay", replayed)
        changes = {"made_constants.RATE": 2.0}

        evaluation.run(WorldJob(4, "calm", Candidate("RATE=2", "ballast", changes), POLICY))

        assert [*found, made_constants.RATE] == [2.0, 0.1]

    @pytest.mark.usefixtures("brief")
    def test_a_sweep_has_a_row_for_every_value_beside_the_present_ones(self, monkeypatch):
        monkeypatch.setattr(evaluation, "make", lambda *_: PEERS["static"]())

        swept = ("--sweep", "margin=0.5,2", "--sweep", "points=1")
        outcome = run("--seeds", "4", "--only", "jobs", *swept, "--jobs", "1")

        rows = [line.split("  ")[0] for line in outcome.output.splitlines() if line.startswith("ballast")]
        assert rows == ["ballast", "ballast:fixed", "ballast margin=2", "ballast points=1"]

    def test_a_constant_is_tried_from_a_quarter_to_four_times(self):
        assert constants.values("margin") == ("margin", [0.125, 0.25, 1.0, 2.0])

    def test_a_count_stays_whole_and_positive_and_is_tried_once(self):
        assert constants.values("points") == ("points", [1, 2, 6, 12])

    def test_values_may_be_given(self):
        assert constants.values("margin=0.1,7") == ("margin", [0.1, 7.0])

    def test_a_value_that_is_no_number_is_refused(self):
        with pytest.raises(constants.ConstantError, match=r"not a number; write it like margin=0\.5,1,2"):
            constants.values("margin=much")

    def test_a_constant_is_of_the_stage_it_stands_under(self):
        assert constants.stages() == {"margin": "Host", "points": "Polling", "made_constants.RATE": "Forecast"}

    def test_a_percentile_is_moved_toward_one_and_never_beyond(self, monkeypatch):
        monkeypatch.setattr(constants, "known", lambda: {"percentile": 0.95})

        assert constants.values("percentile")[1] == pytest.approx([0.8, 0.9, 0.975, 0.9875])


def forecasts():
    """Of domains whose demand is noise, wanders, or rises; how widths and tails go on from there."""
    steps = np.random.default_rng(0).normal(size=(3, 20, 12))
    values = np.concatenate([steps[0], steps[1].cumsum(axis=1), 0.2 * steps[2] - np.arange(12)])
    line = WLS().fit(Points(np.tile(np.arange(12.0), (60, 1)), MIB * values, np.ones((60, 12), dtype=np.bool_)))
    widths = bound.width(np.array([0.25, 1.0, 4.0]), np.array([False, True, True]), 0.95)
    return [each.tolist() for each in (*line, widths, Tail.empty(2).excess(np.ones(2), 1.0, 1.0))]


@pytest.mark.parametrize("name", [name for name in constants.known() if name.startswith("forecast.")])
def test_another_value_of_one_of_the_forecasts_makes_another_forecast(name):
    usual = forecasts()

    for factor in effects.CHANGES:
        with constants.changed({name: constants.scaled(name, factor)}):
            assert forecasts() != usual

    assert forecasts() == usual


class TestEffects:
    def test_are_ratios_to_the_base_world_by_world(self):
        results = [
            result(ballast=(2e-3, 4, 90), other=(1e-3, 8, 30)),
            result(ballast=(1e-3, 4, 90), other=(4e-3, 4, 45)),
        ]

        effect = effects.Effect.of("other", "ballast", results)

        assert effect.ratios == ((0.5, 4.0), (2.0, 1.0), (30 / 90, 0.5))
        assert effect.means == pytest.approx((2**0.5, 2**0.5, 6**-0.5))

    def test_what_nobody_notices_is_no_difference_but_not_the_same(self):
        effect = effects.Effect.of("other", "ballast", [result(ballast=(0.0, 0.9, 5), other=(9e-6, 0.0, 5))])

        assert (effect.ratios, effect.unmoved, effect.same) == (((1.0,), (1.0,), (1.0,)), True, False)

    def test_on_looks_are_told_of_worlds_with_fine_samples(self):
        results = [result(6.0, ballast=(0, 0, 10), other=(0, 0, 20)), result(ballast=(0, 0, 10), other=(0, 0, 30))]

        assert effects.Effect.of("other", "ballast", results).ratios[2] == (3.0,)
        assert effects.Effect.of("other", "ballast", results[:1]).ratios[2] == (2.0,)

    def test_of_models_have_a_row_each_with_the_mean_and_both_ends(self):
        results = [
            result(ballast=(1e-3, 4, 90), other=(1e-3, 8, 45)),
            result(ballast=(1e-3, 4, 90), other=(4e-3, 4, 90)),
        ]

        rows = effects.ablation(["other"], "ballast", results).splitlines()

        assert rows[2:] == ["| `other` | 2.00 (1.00 to 4.00) | 1.41 (1.00 to 2.00) | 0.71 (0.50 to 1.00) |"]


class TestSensitivity:
    @pytest.fixture(autouse=True)
    def table(self, monkeypatch):
        there = {"margin": 0.5, "noisy": 4.0, "idle": 1.0, "unused": 3}
        monkeypatch.setattr(constants, "known", lambda: there)
        monkeypatch.setattr(constants, "stages", lambda: {"margin": "Host"})

    def test_has_every_constant_halved_and_doubled(self):
        found = [(one.label, one.controller, dict(one.changes)) for one in effects.changed_constants(constants.known())]

        assert found[:3] == [
            ("ballast", "ballast", {}),
            ("margin=0.25", "ballast", {"margin": 0.25}),
            ("margin=1", "ballast", {"margin": 1.0}),
        ]
        assert len(found) == 1 + 2 * 4

    def results(self):
        usual = {one.label: figures(1e-3, 10.0, 100.0) for one in effects.changed_constants(constants.known())}
        changed = {
            "margin=0.25": figures(3e-3, 10.0, 100.0),
            "idle=0.5": figures(1.01e-3, 10.0, 100.0),
        }
        noisy = [{"noisy=2": figures(1e-3, 10.0, looks)} for looks in (80, 125)]
        return [replace(result(), replays=usual | changed | each) for each in noisy]

    def test_has_a_row_for_what_moves_a_mean_and_names_the_rest(self):
        rows = effects.sensitivity(constants.known(), self.results()).splitlines()

        assert rows[2:] == [
            "| `margin` | Host | 0.5 | 3.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |",
            "",
            "- No mean moves by more than 2 %, only figures of single worlds: `noisy`.",
            "- No figure of any world moves by more than 2 %: `idle`.",
            "- All figures stay the same to the last digit: `unused`.",
        ]

    def test_is_all_that_a_run_prints(self, monkeypatch, tmp_path):
        jobs = []
        monkeypatch.setattr("worlds.__main__._results", lambda work, *_: jobs.extend(work) or self.results())

        outcome = run("--sensitivity", "--seeds", "4", "--only", "jobs", "--json", str(tmp_path / "figures.json"))

        assert outcome.output == effects.sensitivity(constants.known(), self.results()) + "\n"
        assert [job.candidate for job in jobs] == [*effects.changed_constants(constants.known())]
        assert len(json.loads((tmp_path / "figures.json").read_text())["worlds"]) == 2

    def test_may_be_of_some(self, monkeypatch):
        jobs = []
        monkeypatch.setattr("worlds.__main__._results", lambda work, *_: jobs.extend(work) or self.results())

        outcome = run("--sensitivity", "--sweep", "noisy", "--sweep", "unused", "--seeds", "4", "--only", "jobs")

        assert outcome.output == effects.sensitivity(["noisy", "unused"], self.results()) + "\n"
        assert [job.candidate for job in jobs] == [*effects.changed_constants(["noisy", "unused"])]
