"""What is remembered of decisions and figures, told as sentences: a loop that decides, and what can be asked of it."""

import re
import tracemalloc
from operator import itemgetter

import numpy as np
import pytest
from fake_loop import MIB, LoopHarness

from controller.engine.decision import Action, Decision, Figures, Notice
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.decisionhistory import DECISIONS, DecisionHistory, DecisionOutcome
from controller.observe.explain import NAMED, NEAR, TOGETHER_S, Scene, explanation, standing, weighed
from controller.observe.timeseries import POINTS, STEP_S, TimeSeries

FACTS = (DomainFacts("a", "a", "a", 1, 2048 * MIB, 2048 * MIB),)
CLOSE = "{mode: Enforce, spare: Reclaim, advanced: {threshold: {percent: 1, quantity: 8Mi}}}"
ENFORCE = "{mode: Enforce, spare: Reclaim, advanced: {threshold: {percent: 0}, shrink: {stabilizationSeconds: 0}}}"


def kept(harness: LoopHarness, key: str):
    return harness.status_store.latest.decision_history.entries.get(key, ())


def sentences(harness: LoopHarness, name: str) -> list[list[str]]:
    """Of each decision about the domain of this name, newest first."""
    (told,) = harness.status_store.explain(name)["domains"]
    return [decision["sentences"] for decision in told["decisions"]]


def restless(harness: LoopHarness, times: int, key: str = "a") -> None:
    """Demand jumps to and fro between 250 and 470 MiB, `times` times; the same each time."""
    for size in np.random.default_rng(1).choice((250, 300, 350, 450, 470), times).tolist():
        harness.host.demand[key] = size * MIB
        harness.turn(2)


def test_a_look_that_changes_nothing_leaves_nothing():
    harness = LoopHarness("{mode: Enforce, spare: Reclaim}")
    harness.host.add("a", actual=300, demand=256)
    harness.turn(3)
    before = harness.status_store.latest.decision_history
    harness.turn(20)
    assert harness.status_store.latest.decision_history is before


def test_a_grow_is_told_with_the_numbers_that_decided_it():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=512, demand=300)
    restless(harness, 60)
    action = next(each for each in harness.host.applied if each.reason is Reason.FORECAST_GROW)
    entry = next(each for each in kept(harness, "a") if each.reason is Reason.FORECAST_GROW)
    assert entry.outcome is DecisionOutcome.DONE
    assert np.allclose(entry.figures, action.figures, rtol=1e-6)
    seen = {name: round(size / MIB) for name, size in action.figures._asdict().items()}
    head, need, share, *why = next(each for each in reversed(sentences(harness, "a")) if "ForecastGrow" in each[0])
    grown = f"{seen['allocation']} MiB -> {seen['target']} MiB (+{seen['target'] - seen['allocation']} MiB)"
    assert head.startswith(f"Grown: {grown}: forecast demand needs")
    foreseen = f"Demand {seen['demand']} MiB, forecast {seen['forecast']} MiB, upper forecast {seen['upper']} MiB; "
    assert need.startswith(f"{foreseen}headroom {seen['headroom']} MiB: it wants {seen['wanted']} MiB")
    assert share.endswith(f", its share is {seen['planned']} MiB.")
    assert why


FIGURES = Figures(
    *(
        400.0 * MIB,
        410.0 * MIB,
        430.0 * MIB,
        50.0 * MIB,
        480.0 * MIB,
        900.0 * MIB,
        500.0 * MIB,
        900.0 * MIB,
        50.0 * MIB,
    ),
    *(3.0 * MIB, 120.0 * MIB, 100.0 * MIB, 4096.0 * MIB, 700.0 * MIB),
    used=420.0 * MIB,
    going_to=500.0 * MIB,
)
"""Of a guest that lacks 400 MiB of its share; what that would have saved is worth a move."""
LACKS = "It lacks 400 MiB of that, more than the threshold of 50 MiB."


@pytest.mark.parametrize(
    ("reason", "changes", "told"),
    [
        (
            Reason.SPARE_LENT,
            {},
            [
                LACKS,
                "At 500 MiB it is expected to run short by 3.0 MiB in a shortest interval; its share saves a shortfall "
                "of 120.0 MiB s, and a move costs 100.0 MiB s: enough for a move.",
            ],
        ),
        (
            Reason.WITHIN_THRESHOLD,
            {"saving": 50.0 * MIB, "excess": 0.01 * MIB},
            [
                LACKS,
                "At 500 MiB it is expected to run short by less than 0.1 MiB in a shortest interval; its share "
                "saves a shortfall of 50.0 MiB s, and a move costs 100.0 MiB s: not enough for a move yet.",
            ],
        ),
        (
            Reason.SPARE_LENT,
            {"saving": 0.0, "planned": 1100.0 * MIB},
            [
                "It lacks 600 MiB of that, more than the threshold of 50 MiB.",
                "Memory is left over.",
            ],
        ),
        (
            Reason.FORECAST_GROW,
            {"saving": 0.0, "wanted": 1000.0 * MIB, "planned": 1000.0 * MIB},
            [
                "It lacks 500 MiB of that, more than the threshold of 50 MiB.",
                "It gets what it wants at once, whatever that saves.",
            ],
        ),
        (
            Reason.FORECAST_GROW,
            {"saving": 0.0, "planned": 550.0 * MIB},
            ["Of its headroom 70 MiB is left: it grows by the threshold of 50 MiB at least."],
        ),
        *(
            (
                Reason.SPARE_LENT,
                {"going_to": 950.0 * MIB, "planned": planned * MIB},
                ["It was on its way to 950 MiB, and ends sooner: guests in need wait for memory."],
            )
            for planned in (550.0, 900.0)
        ),
        (
            Reason.CONTENTION_SHRINK,
            {"planned": 300.0 * MIB},
            ["It has 200 MiB more than that, beyond the threshold of 50 MiB."],
        ),
        (
            Reason.CONTENTION_SHRINK,
            {"planned": 450.0 * MIB},
            ["It has 50 MiB more than that, and guests in need do not wait for a threshold."],
        ),
        (
            Reason.CONTENTION_SHRINK,
            {"planned": 401.0 * MIB, "wanted": 300.0 * MIB, "target": 400.0 * MIB},
            ["It has 99 MiB more than that, beyond the threshold of 50 MiB."],
        ),
        (
            Reason.FORECAST_SHRINK,
            {"planned": 500.0 * MIB, "wanted": 300.0 * MIB, "target": 300.0 * MIB},
            ["It has 200 MiB more than it wants, beyond the threshold of 50 MiB."],
        ),
        (Reason.WITHIN_THRESHOLD, {"planned": 300.0 * MIB}, ["It has 200 MiB more than that, which nobody needs."]),
        (
            Reason.WITHIN_THRESHOLD,
            {"planned": 450.0 * MIB},
            ["What it has differs from that by 50 MiB, within the threshold of 50 MiB."],
        ),
        (
            Reason.WITHIN_THRESHOLD,
            {"planned": 550.0 * MIB},
            ["What it has differs from that by 50 MiB, within the threshold of 50 MiB."],
        ),
        *(
            (
                Reason.WITHIN_THRESHOLD,
                {"going_to": 503.0 * MIB, "planned": planned * MIB},
                [f"What it has differs from that by {differs} MiB, within the threshold of 50 MiB."],
            )
            for planned, differs in ((552.0, 49), (501.0, 0), (451.0, 49))
        ),
        (Reason.NO_BUDGET, {}, ["It lacks 400 MiB of that."]),
        (Reason.NO_BUDGET, {"going_to": 700.0 * MIB}, ["It lacks 200 MiB of that."]),
        (Reason.NO_BUDGET, {"planned": 501.0 * MIB}, []),
        (Reason.STUCK, {}, []),
    ],
)
def test_what_decided_is_weighed_as_the_rule_behind_the_reason_weighs_it(reason, changes, told):
    assert list(weighed(FIGURES._replace(**changes), reason)) == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "Of the node's budget of 4096 MiB, 700 MiB of it free, its share is 900 MiB."),
        ({"free": 0.0}, "Of the node's budget of 4096 MiB, 0 MiB of it free, its share is 900 MiB."),
        (
            {"free": -100.0 * MIB},
            "Of the node's budget of 4096 MiB, 100 MiB more than that given away, its share is 900 MiB.",
        ),
        ({"demand": np.nan}, "The guest's demand is not known."),
    ],
)
def test_what_the_node_has_for_a_guest_is_told_where_its_demand_is_known(changes, told):
    harness = LoopHarness(CLOSE)
    harness.host.add("a")
    harness.turn(1)
    assert standing(harness.domain("a"), FIGURES._replace(**changes), Reason.MOVING)[-2] == told


@pytest.mark.parametrize(
    ("excess", "saving", "price", "told"),
    [
        (
            0.1 * MIB,
            99.0 * MIB,
            98.0 * MIB,
            "0.1 MiB in a shortest interval; its share saves a shortfall of 99.0 MiB s",
        ),
        (0.0, 1.0, 1.0, "less than 0.1 MiB in a shortest interval; its share saves a shortfall of 0.0 MiB s"),
        (0.0, 0.0, 0.0, "less than 0.1 MiB in a shortest interval; its share saves a shortfall of 0.0 MiB s"),
    ],
)
def test_a_move_is_made_that_saves_what_it_costs(excess, saving, price, told):
    *_, risk = weighed(FIGURES._replace(excess=excess, saving=saving, price=price), Reason.SPARE_LENT)
    assert f" is expected to run short by {told}, and a move costs" in risk
    assert risk.endswith(": enough for a move.")


def test_what_the_node_has_is_not_told_of_a_guest_that_is_left_alone():
    harness = LoopHarness(CLOSE)
    harness.host.add("a")
    harness.turn(1)
    assert standing(harness.domain("a"), FIGURES, Reason.NO_STATISTICS)[-2].startswith("Demand 400 MiB")


def test_the_newest_numbers_are_not_weighed_for_a_move_that_is_older():
    harness = LoopHarness(CLOSE)
    harness.host.add("a")
    harness.turn(1)
    lines = standing(harness.domain("a"), FIGURES, Reason.CONTENTION_SHRINK)
    assert lines[-2].startswith("Of the node's budget")


def test_a_shrink_is_told_with_what_it_had_beyond_its_threshold():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=1024, demand=300)
    harness.turn(200)
    head, _, share, more = sentences(harness, "a")[0]
    assert head.startswith("Shrunk: 1024 MiB -> ")
    seen = kept(harness, "a")[-1].figures
    assert share.endswith(f"its share is {round(seen.planned / MIB)} MiB.")
    above = round((1024 * MIB - seen.planned) / MIB)
    assert more == f"It has {above} MiB more than that, beyond the threshold of 10 MiB."


def test_no_sentence_says_of_a_move_that_it_is_within_the_threshold_or_not_worth_it():
    told = []
    for spec in (CLOSE, ENFORCE):
        harness = LoopHarness(spec)
        harness.host.add("a", actual=512, demand=300)
        restless(harness, 60)
        told += [each for each in sentences(harness, "a") if each[0].startswith(("Grown", "Shrunk"))]
    assert {each[0].split(":")[0] for each in told} == {"Grown", "Shrunk"}
    assert not [line for each in told for line in each if "within the threshold" in line or "not enough" in line]


@pytest.mark.parametrize(
    ("turns", "why"),
    [(20, "as with less its kernel would have to reclaim."), (1, "all it has, which is not taken from it for now.")],
)
def test_why_a_guest_wants_more_than_forecast_and_headroom_is_told(turns, why):
    harness = LoopHarness(CLOSE)
    harness.host.add("slab", actual=2048, demand=200)
    harness.host.slab["slab"] = 600 * MIB
    harness.turn(turns)
    (want,) = (
        line for line in harness.status_store.explain("slab")["domains"][0]["standing"] if line.startswith("Demand ")
    )
    assert want.endswith(f" MiB, {why}")


def test_a_guest_in_need_is_told_to_be_grown_whatever_it_costs():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=512, demand=510)
    harness.turn(2)
    head, *_, why = sentences(harness, "a")[-1]
    assert head.startswith("Grown: 512 MiB -> 819 MiB (+307 MiB): the guest is under memory pressure")
    assert why == "Such a move is made at once: it is not weighed against its price."


def test_a_balloon_told_to_stop_where_it_is_was_neither_grown_nor_shrunk():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.stuck.add("a")
    harness.turn(2)
    harness.host.demand["a"] = 300 * MIB  # no longer in need: nothing follows the halt
    harness.turn(10)
    heads = [each[0] for each in sentences(harness, "a")]
    assert any(head.startswith("Halted: stays at 512 MiB: the balloon did not move") for head in heads)


def test_under_observe_what_would_be_done_is_told_as_such():
    harness = LoopHarness(CLOSE.replace("Enforce", "Observe"))
    harness.host.add("a", actual=512, demand=505)
    harness.turn(1)
    assert [entry.outcome for entry in kept(harness, "a")] == [DecisionOutcome.PROPOSED]
    assert sentences(harness, "a")[0][0].startswith("Enforce would change it: 512 MiB -> ")
    assert harness.host.applied == []


def test_under_observe_what_its_proposals_come_to_stands_beside_what_it_has():
    harness = LoopHarness(CLOSE.replace("Enforce", "Observe"))
    harness.host.add("a", actual=512, demand=505)
    harness.turn(1)
    (told,) = harness.status_store.explain("a")["domains"]
    proposed = round(kept(harness, "a")[-1].figures.target / MIB)
    allocation = told["standing"].index("Allocation 512 MiB, between 64 MiB and 2048 MiB.")
    assert told["standing"][allocation + 1] == f"Under Enforce it would have {proposed} MiB by now."


def test_a_refusal_is_told_with_libvirts_words_and_kept_once_however_often_it_is_tried():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.refusing["a"] = "operation failed"
    harness.turn(100)
    refused = [entry for entry in kept(harness, "a") if entry.outcome is DecisionOutcome.REFUSED]
    assert len(refused) == 1
    assert any(each[0].endswith("libvirt says: operation failed") for each in sentences(harness, "a"))


def test_a_domain_that_is_skipped_is_noted():
    harness = LoopHarness()
    harness.host.add("a")
    harness.turn(1)
    assert [each[0] for each in sentences(harness, "a")] == ["Noted: no MemoryPolicy selects this domain [NoPolicy]."]


def test_who_gave_is_told_to_who_got_and_the_other_way_round():
    harness = LoopHarness("{mode: Enforce, spare: Reclaim, budget: {maximum: 2Gi}}")
    harness.host.add("idle", actual=1536, demand=200)
    harness.host.add("busy", actual=512, demand=300)
    harness.turn(5)
    harness.host.demand["busy"] = 505 * MIB
    harness.turn(10)
    assert any("Memory given in the 30 s before: idle" in line for each in sentences(harness, "busy") for line in each)
    assert any(
        "Memory others got in the 30 s after: busy" in line for each in sentences(harness, "idle") for line in each
    )


def moved(name: str, mib: int, reason: Reason = Reason.FORECAST_GROW) -> Action:
    """By so many MiB, from 1 GiB on."""
    return Action(0, name, name, 1024 * MIB, (1024 + mib) * MIB, reason, FIGURES)


def told_of(key: str, *turns: tuple[float, tuple[Action, ...]]) -> list[dict]:
    """What is told of this domain's decisions, newest first, after these actions at these seconds."""
    names = [f"d{number}" for number in range(9)]
    facts = [DomainFacts(name, name, name, 1, 2048 * MIB, 2048 * MIB) for name in names]
    state = align(State.initial(), assign(facts, (), NodeIdentity("node")).inventory, 0.0)
    decision_history = DecisionHistory()
    for at, actions in turns:
        decision_history = decision_history.extended(state, Decision(actions), {}, at)
    harness = LoopHarness("{}")
    harness.host.add(key)
    harness.turn(1)
    return explanation(harness.domain(key), Scene(state, decision_history, TimeSeries(), 1000.04))["decisions"]


def test_donors_are_told_largest_first_and_a_few_by_name():
    gave = tuple(moved(f"d{number}", -10 * number) for number in range(1, NAMED + 3))
    (grown,) = told_of("d0", (0.0, gave), (1.0, (moved("d1", -7),)), (10.0, (moved("d0", 100),)))
    assert [(each["name"], each["bytes"] // MIB) for each in grown["others"]] == [
        ("d5", 50),
        ("d4", 40),
        ("d3", 30),
        ("d2", 20),
        ("d1", 17),
    ]
    assert grown["sentences"][-1] == (
        "Memory given in the 30 s before: d5 (50 MiB), d4 (40 MiB), d3 (30 MiB) and 2 more."
    )
    assert (grown["age_s"], grown["outcome"]) == (990.0, "done")


def test_as_many_as_are_named_are_not_counted_besides():
    gave = tuple(moved(f"d{number}", -10) for number in range(1, NAMED + 1))
    (grown,) = told_of("d0", (0.0, gave), (10.0, (moved("d0", 100),)))
    assert grown["sentences"][-1].endswith("d3 (10 MiB).")


@pytest.mark.parametrize(
    ("gave_at", "told"), [(100.0 - TOGETHER_S - 1, []), (100.0 - TOGETHER_S, ["d1"]), (100.0, ["d1"]), (101.0, [])]
)
def test_who_gave_is_told_if_it_was_just_before(gave_at, told):
    turns = sorted([(gave_at, (moved("d1", -10),)), (100.0, (moved("d0", 100),))], key=itemgetter(0))
    (grown,) = told_of("d0", *turns)
    assert [each["name"] for each in grown["others"]] == told


@pytest.mark.parametrize(
    ("got_at", "told"), [(99.0, []), (100.0, ["d1"]), (100.0 + TOGETHER_S, ["d1"]), (100.0 + TOGETHER_S + 1, [])]
)
def test_who_got_is_told_if_it_was_just_after(got_at, told):
    turns = sorted([(100.0, (moved("d0", -10),)), (got_at, (moved("d1", 100),))], key=itemgetter(0))
    (shrunk,) = told_of("d0", *turns)
    assert [each["name"] for each in shrunk["others"]] == told


def test_who_also_grew_gave_nothing():
    (grown,) = told_of("d0", (0.0, (moved("d1", 10), moved("d2", -20))), (10.0, (moved("d0", 100),)))
    assert [each["name"] for each in grown["others"]] == ["d2"]


UNKNOWN = float("nan")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"demand": UNKNOWN}, "The guest's demand is not known."),
        ({"wanted": UNKNOWN}, "Demand 400 MiB; there is no forecast."),
        (
            {"wanted": 470.0 * MIB},
            "Demand 400 MiB, forecast 410 MiB, upper forecast 430 MiB; headroom 50 MiB: it wants 470 MiB, the most it "
            "may have.",
        ),
        *(
            (
                {"wanted": wanted * MIB},
                f"Demand 400 MiB, forecast 410 MiB, upper forecast 430 MiB; headroom 50 MiB: it wants {wanted} MiB.",
            )
            for wanted in (479, 481)
        ),
        (
            {"wanted": 561.0 * MIB, "burst": 160.0 * MIB},
            "Demand 400 MiB, forecast 410 MiB, upper forecast 430 MiB; headroom 50 MiB: it wants 561 MiB, as it may "
            "take 160 MiB before more can arrive.",
        ),
        (
            {"wanted": 561.0 * MIB, "eased": 560.5 * MIB, "allocation": 561.0 * MIB},
            "Demand 400 MiB, forecast 410 MiB, upper forecast 430 MiB; headroom 50 MiB: it wants 561 MiB, as it was "
            "short of memory a while ago.",
        ),
    ],
)
def test_what_a_domain_wants_and_why_is_told(changes, told):
    harness = LoopHarness(CLOSE)
    harness.host.add("a")
    harness.turn(1)
    assert told in standing(harness.domain("a"), FIGURES._replace(**changes), Reason.STUCK)


@pytest.mark.parametrize(
    ("used", "wanted", "allocation", "why"),
    [
        (420, 600, 600, "all it has, which is not taken from it for now."),
        (420, 600, 601, "all it has, which is not taken from it for now."),
        (420, 600, 700, "as with less its kernel would have to reclaim."),
        (600, 600, 600, "as with less its kernel would have to reclaim."),
        (1000, 1001, 1001, "as with less its kernel would have to reclaim."),
    ],
)
def test_a_guest_that_keeps_more_than_is_out_of_reclaim_keeps_all_it_has(used, wanted, allocation, why):
    harness = LoopHarness(CLOSE)
    harness.host.add("a")
    harness.turn(1)
    sizes = {"used": used * float(MIB), "wanted": wanted * float(MIB), "allocation": allocation * float(MIB)}
    (want,) = (
        line
        for line in standing(harness.domain("a"), FIGURES._replace(**sizes), Reason.STUCK)
        if line.startswith("Demand ")
    )
    assert want.endswith(f"it wants {wanted} MiB, {why}")


@pytest.mark.parametrize("unknown", ["budget", "planned", "allocation"])
def test_a_share_that_is_not_known_is_not_told(unknown):
    harness = LoopHarness(CLOSE)
    harness.host.add("a")
    harness.turn(1)
    lines = standing(harness.domain("a"), FIGURES._replace(**{unknown: UNKNOWN}), Reason.NO_BUDGET)
    assert not [line for line in lines if "share" in line or "lacks" in line]


def test_whose_a_domain_is_and_how_often_it_is_looked_at_is_told():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=1024, maximum=2048)
    harness.turn(1)
    domain = harness.domain("a")
    owned = standing(domain, FIGURES, Reason.STUCK)
    assert owned[0].startswith("MemoryPolicy p0 (Enforce) owns it; it is ")
    assert owned[1] == f"Allocation 1024 MiB, between {round(domain['minimum'] / MIB)} MiB and 2048 MiB."
    nobodys = standing(domain | {"policy": None, "stable": True, "interval_s": 5.0}, FIGURES, Reason.STUCK)
    assert nobodys[0] == "No MemoryPolicy owns it; it is stable and looked at every 5s."
    assert "; it is unstable and" in standing(domain | {"stable": False}, FIGURES, Reason.STUCK)[0]


def test_a_balloon_that_sticks_is_told_once_though_it_is_both_halted_and_noticed():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=1024, demand=300)
    harness.host.stuck.add("a")
    harness.turn(200)
    assert Reason.STUCK in {entry.reason for entry in kept(harness, "a")}
    assert not [entry for entry in kept(harness, "a") if entry.outcome is DecisionOutcome.NOTED]


def test_of_a_halt_and_an_order_that_follows_it_at_once_the_order_is_told():
    state = align(State.initial(), assign(FACTS, (), NodeIdentity("node")).inventory, 0.0)
    halt = Action(0, "a", "a", 500 * MIB, 500 * MIB, Reason.STUCK)
    grow = Action(0, "a", "a", 500 * MIB, 800 * MIB, Reason.PRESSURE_GROW)
    stuck = Notice("a", "a", Reason.STUCK)
    told = DecisionHistory().extended(state, Decision((halt, grow), (), (stuck,)), {}, 1.0).entries["a"]
    assert [(each.outcome, each.reason) for each in told] == [
        (DecisionOutcome.NOTED, Reason.STUCK),
        (DecisionOutcome.DONE, Reason.PRESSURE_GROW),
    ]
    told = DecisionHistory().extended(state, Decision((halt,), (), (stuck,)), {}, 1.0).entries["a"]
    assert [(each.outcome, each.reason) for each in told] == [(DecisionOutcome.DONE, Reason.STUCK)]


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
@pytest.mark.parametrize(
    ("seed", "rounds"), [(0, 40), *(pytest.param(each, 100, marks=pytest.mark.slow) for each in (0, 1))]
)
def test_nothing_is_told_twice_of_one_moment_nor_more_than_the_maximum(mode, seed, rounds):
    harness = LoopHarness(f"{{mode: {mode}, spare: Reclaim, advanced: {{shrink: {{stabilizationSeconds: 0}}}}}}")
    chance = np.random.default_rng(seed)
    names = [harness.host.add(name, actual=int(chance.integers(300, 2000))) for name in "abc"]
    for _ in range(rounds):
        name = str(chance.choice(names))
        harness.host.demand[name] = min(int(chance.integers(100, 2000)) * MIB, harness.host.actual[name] - 2 * MIB)
        harness.host.stuck ^= {name} if chance.random() < 0.1 else set()
        harness.turn(2)
    for name in names:
        moments = [
            each.at for each in kept(harness, name) if each.outcome in {DecisionOutcome.DONE, DecisionOutcome.PROPOSED}
        ]
        assert moments
        assert len(moments) == len(set(moments))
        figures = [each.figures for each in kept(harness, name)]
        assert max(max(seen.wanted, seen.planned, seen.target) for seen in figures) <= 2048 * MIB


def test_the_pressure_that_a_guest_is_grown_for_is_in_the_state_of_that_step():
    harness = LoopHarness(CLOSE)
    harness.host.add("a", actual=512, demand=510)
    while not harness.host.applied:
        harness.loop.iterate()
        harness.clock.now += 1
    assert [each.reason for each in harness.host.applied] == [Reason.PRESSURE_GROW]
    assert harness.domain("a")["pressure"] is True


def test_only_the_last_decisions_are_kept():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.turn(1)
    decision_history = DecisionHistory()
    for number in range(2 * DECISIONS):
        grown = Action(0, "a", "a", MIB, (2 + number) * MIB, Reason.FORECAST_GROW)
        decision_history = decision_history.extended(
            harness.status_store.latest.state, Decision((grown,)), {}, float(number)
        )
    entries = decision_history.entries["a"]
    assert [entry.at for entry in entries] == list(range(DECISIONS, 2 * DECISIONS))
    assert entries[-1].figures.target == (1 + 2 * DECISIONS) * MIB


def test_a_domain_that_is_gone_is_forgotten():
    harness = LoopHarness("{mode: Enforce, spare: Reclaim}")
    for name in ("a", "b"):
        harness.host.add(name, actual=512, demand=490)
    harness.turn(2)
    harness.host.remove("a")
    harness.host.demand["b"] = 900 * MIB
    harness.turn(10)
    assert list(harness.status_store.latest.decision_history.entries) == ["b"]
    assert harness.status_store.explain("a")["domains"] == []


def test_a_name_that_is_not_known_is_answered_with_those_like_it():
    harness = LoopHarness("{}")
    for name in ("web-1", "web-2", "database"):
        harness.host.add(name)
    harness.turn(1)
    assert harness.status_store.explain("web1")["near"] == ["web-1", "web-2"]
    assert harness.status_store.explain("DATA")["near"] == ["database"]
    assert harness.status_store.explain("zzz")["near"] == harness.status_store.explain("")["near"] == []


def test_no_more_than_a_few_names_are_offered():
    harness = LoopHarness("{}")
    for number in range(2 * NEAR):
        harness.host.add(f"web-{number:02}")
    harness.turn(1)
    assert len(harness.status_store.explain("web")["near"]) == NEAR


def test_figures_go_into_the_time_series_at_a_fixed_pace_however_often_the_loop_turns():
    harness = LoopHarness("{}")
    harness.host.add("a", actual=512, demand=300)
    for _ in range(int(3 * STEP_S)):
        harness.loop.iterate()
        harness.clock.now += 1
    demand, _, allocation = harness.status_store.latest.time_series.of("a")
    assert demand[-3:].tolist() == [300 * MIB] * 3
    assert allocation[-1] == 512 * MIB
    assert np.isnan(demand[:-3]).all()


def test_a_time_series_follows_its_domain_when_others_come_and_go():
    harness = LoopHarness("{}")
    for name, demand in (("a", 100), ("b", 200)):
        harness.host.add(name, demand=demand)
    harness.turn(1)
    harness.host.remove("a")
    harness.host.add("c", demand=300)
    harness.clock.now += STEP_S
    harness.turn(1)
    time_series = harness.status_store.latest.time_series
    assert (time_series.of("b")[0, -2:] / MIB).tolist() == [200, 200]
    assert np.isnan(time_series.of("c")[0, -2])
    assert np.isnan(time_series.of("a")).all()


def test_a_thousand_domains_with_full_memories_cost_a_few_mebibytes():
    harness = LoopHarness(ENFORCE)
    names = [f"d{number}" for number in range(1000)]
    for name in names:
        harness.host.add(name)
    harness.turn(1)
    state = harness.status_store.latest.state
    grown = tuple(
        Action(row, name, name, MIB, 2 * MIB, Reason.FORECAST_GROW) for row, name in enumerate(state.inventory.names)
    )
    tracemalloc.start()
    decision_history, time_series = DecisionHistory(), TimeSeries()
    for turn in range(max(POINTS, DECISIONS) + 1):
        time_series = time_series.extended(state, turn * STEP_S)
    for turn in range(DECISIONS + 1):
        decision_history = decision_history.extended(state, Decision(grown), {}, float(turn))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert {len(decision_history.entries[name]) for name in names} == {DECISIONS}
    assert used < 5 * MIB


SIZE = re.compile(r"(-?\d+(?:\.\d+)?) MiB")
SPECS = (
    "{mode: MODE, budget: {maximum: 4Gi}}",
    "{mode: MODE, spare: Reclaim, advanced: {threshold: {quantity: 8Mi, percent: 1}, "
    "shrink: {stabilizationSeconds: 0}}}",
    "{mode: MODE, limits: {minimum: 900Mi, maximum: 1Gi}, budget: {maximum: 4Gi}}",
)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    ("mode", "rounds"),
    [("Enforce", 15), *(pytest.param(each, 40, marks=pytest.mark.slow) for each in ("Enforce", "Observe"))],
)
def test_no_sentence_contradicts_another_or_is_told_twice(mode, rounds, spec):
    harness, random = LoopHarness(spec.replace("MODE", mode)), np.random.default_rng(7)
    for number in range(5):
        harness.host.add(f"g{number}", actual=int(random.choice([400, 700, 1000])), demand=300)
    for _ in range(rounds):
        harness.host.demand[f"g{random.integers(5)}"] = int(random.choice([150, 350, 500, 680, 900, 1300])) * MIB
        harness.turn(4)
        for name in harness.host.demand:
            (told,) = harness.status_store.explain(name)["domains"]
            texts = ["\n".join(each) for each in (told["standing"], *(d["sentences"] for d in told["decisions"]))]
            heads = [(each["age_s"], each["outcome"], each["reason"]) for each in told["decisions"]]
            assert len(set(heads)) == len(heads)
            assert [found for found in map(contradiction, texts) if found] == []


def contradiction(text: str) -> str:
    """What is wrong with the sentences of one decision, or of what holds now; empty where nothing is."""
    moved = re.search(r"(\d+) MiB -> (\d+) MiB", text)
    grows = moved and int(moved[2]) > int(moved[1])
    sizes = [float(each) for line in text.split("\n")[1:] for each in SIZE.findall(line)]
    over = re.search(r"It has (\d+) MiB more than .*beyond the threshold of (\d+) MiB", text)
    within = re.search(r"differs from that by (\d+) MiB, within the threshold of (\d+) MiB", text)
    wrong = {
        "a size below nothing": any(size < 0 for size in sizes),
        "grown, though it has more": bool(grows) and "It has " in text and "more than" in text,
        "shrunk, though it lacks": bool(moved) and not grows and "It lacks" in text,
        "moved, though it is not worth it": bool(moved) and ("within the threshold" in text or "not enough" in text),
        "beyond a larger threshold": over is not None and int(over[1]) < int(over[2]),
        "within a smaller threshold": within is not None and int(within[1]) > int(within[2]),
        "shrunk for nothing": "It has 0 MiB more" in text,
    }
    return next((f"{kind}:\n{text}" for kind, found in wrong.items() if found), "")
