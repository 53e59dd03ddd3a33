"""Whatever happens on a node, in whatever order, no rule is broken: guests that lie, vanish, stall and burst.

`./hack/fuzz` takes many more steps: BALLAST_FUZZ_STEPS, about as many steps of the engine.
"""

import math
import os

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scripted_node import MIB, ScriptedGuest, policy
from watched_node import WatchedNode

from controller.api.policy import MemoryPolicy
from controller.api.wishes import Wishes
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState

STEPS = int(os.environ.get("BALLAST_FUZZ_STEPS", "1000"))
EVENTS = 50
"""Things that happen in one run, at most; each is followed by a second at least, and so by a step as a rule."""
STEPS_A_RUN = 25
"""Of the engine, 25 at least on the average."""
MOST_GUESTS = 6

sizes = st.integers(64, 4096)
"""MiB."""
quantities = sizes.map("{}Mi".format)
parts_of_all = st.lists(st.integers(1, 100), min_size=MOST_GUESTS, max_size=MOST_GUESTS)
"""Percent of the maximum that each guest needs."""
seldom = st.sampled_from([False, False, False, True])
rarely = st.sampled_from([*[False] * 19, True])
modest = st.one_of(*[st.integers(1, 64).map("{}Mi".format)] * 3, quantities)
"""Mostly such as let guests be moved."""
modes = st.sampled_from(
    [*[{"mode": "Enforce"}] * 16, {"mode": "Enforce", "rollout": {"maximumNodes": 1}}, {"mode": "Pause"}]
    + [{"mode": "Observe"}] * 2
)
settings_of_the_mechanism = st.fixed_dictionaries(
    {},
    optional={
        "model": st.fixed_dictionaries(
            {
                "type": st.sampled_from(["WLS", "OLS", "Ridge", "Lasso", "LastValue"]),
                "upperPercentile": st.integers(50, 99),
            }
        ),
        "threshold": st.fixed_dictionaries({"percent": st.sampled_from([0, 5, 10, 100]), "quantity": modest}),
        "shrink": st.fixed_dictionaries({"stabilizationSeconds": st.sampled_from([0, 0, 5, 20, 60])}),
        "monitoring": st.builds(
            lambda least, more: {"minimumIntervalSeconds": least, "maximumIntervalSeconds": least + more},
            st.integers(1, 5),
            st.integers(0, 20),
        ),
    },
)
settings_of_policies = st.fixed_dictionaries(
    {"advanced": settings_of_the_mechanism},
    optional={
        "priority": st.integers(-1, 1),
        "domainSelector": st.fixed_dictionaries(
            {"names": st.lists(st.sampled_from(["*", "g*", "g0", "g[1-3]"]), min_size=1, max_size=2)}
        ),
        "headroom": st.fixed_dictionaries({"percent": st.sampled_from([0, 10, 30, 1000]), "quantity": modest}),
        "limits": st.builds(
            lambda least, more, percent: {"minimum": f"{least}Mi", "minimumPercent": percent} | more(least, percent),
            st.integers(64, 2048),
            st.sampled_from(
                [
                    lambda *_: {},
                    lambda least, _: {"maximum": f"{least + 512}Mi"},
                    lambda _, percent: {"maximumPercent": percent + 30},
                ]
            ),
            st.integers(1, 50),
        ),
        "weight": st.integers(1, 10000),
        "spare": st.sampled_from(["Share", "Reclaim"]),
        "budget": st.fixed_dictionaries(
            {"reserve": quantities, "reservePercent": st.integers(0, 50)},
            optional={"maximum": st.integers(500, 12000).map("{}Mi".format)},
        ),
        "release": st.sampled_from(["Restore", "Keep"]),
    },
)
specs = st.builds(lambda mode, rest: mode | rest, modes, settings_of_policies)
wishes = st.builds(
    Wishes,
    opt_out=rarely,
    observe=rarely,
    weight=st.sampled_from([None, 1, 10000]),
    minimum=st.sampled_from([None, None, 256 * MIB, 1024 * MIB]),
    maximum=st.sampled_from([None, None, 600 * MIB, 2048 * MIB]),
    error=rarely.map(lambda wrong: "weight: 'x' is no number" if wrong else ""),
)
manners = st.sampled_from(
    [{}, {}, {"period": 5}, {"period": 10}, {"moves_at": 20}, {"late": 4}, {"waits": 4}, {"silent_in_need": True}]
)
"""Of a guest, from its start on."""
WELL = ScriptedGuest("", 0, 0)
TROUBLES = (
    *(
        "frozen",
        "stuck",
        "keeps",
        "slab",
        "moves_at",
        "misses",
        "grain",
        "deflates_to",
        "waits",
        "late",
        "late_refusal",
    ),
    *("statistics", "silent_in_need", "run_state", "obstacle", "pinned"),
)
"""Of a guest, while it is not well."""
lies = st.tuples(
    st.sampled_from(
        [
            "usable",
            "unused",
            "available",
            "maximum",
            "rss",
            "swap_in",
            "swap_out",
            "major_faults",
            "updated",
            "actual",
        ]
    ),
    st.sampled_from([math.nan, 0.0, -1.0, 1.0, 2.0**20, 2.0**31, 2.0**40, 2.0**63, 1e300, 1e9, 4e9]),
).filter(lambda lie: lie[0] != "actual" or math.isnan(lie[1]))
"""The balloon's size comes from QEMU, not from the guest: it may be missing, but is true."""


def policies(drawn: list[dict[str, object]]) -> list[MemoryPolicy]:
    return [policy(f"policy-{number}", **spec) for number, spec in enumerate(drawn)]


def bounds(steps: int) -> settings:
    return settings(
        phases=[Phase.generate],
        max_examples=max(steps // STEPS_A_RUN, 1),
        stateful_step_count=EVENTS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


class AnyWorld(RuleBasedStateMachine):
    """A node on which anything may happen next; `WatchedNode` judges."""

    steps = 0
    """Of the engine, in all runs."""
    orders = 0
    """Likewise."""

    @initialize(
        drawn=st.lists(specs, min_size=1, max_size=3),
        host=st.one_of(st.integers(2048, 16384), st.integers(2048, 16384), st.integers(32768, 65536)),
        guests=st.lists(st.tuples(sizes, sizes, st.booleans(), wishes, manners), max_size=MOST_GUESTS),
    )
    def begin(self, drawn, host, guests):
        self.world = WatchedNode(policies(drawn))
        self.world.host_mib = host
        self.born = 0
        for guest in guests:
            self._start(*guest)
        self.world.tick(5)

    def _start(self, demand, maximum, autodeflate, wishes, manner):
        name = f"g{self.born}"
        self.born += 1
        self.world.guests[name] = ScriptedGuest(
            name, min(demand, maximum), maximum, maximum, autodeflate=autodeflate, wishes=wishes, **manner
        )

    def _one(self, data) -> ScriptedGuest:
        return self.world.guests[data.draw(st.sampled_from(list(self.world.guests)))]

    @property
    def inhabited(self) -> bool:
        return bool(self.world.guests)

    @rule(seconds=st.integers(1, 30))
    def time_passes(self, seconds):
        self.world.tick(seconds)

    @precondition(lambda self: len(self.world.guests) < MOST_GUESTS)
    @rule(demand=sizes, maximum=sizes, autodeflate=st.booleans(), wishes=wishes, manner=manners, unheard=seldom)
    def a_guest_comes(self, demand, maximum, autodeflate, wishes, manner, unheard):
        if unheard:
            self.world.unheard.add(f"g{self.born}")
        self._start(demand, maximum, autodeflate, wishes, manner)

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data())
    def a_guest_vanishes(self, data):
        del self.world.guests[self._one(data).name]

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data())
    def a_guest_is_started_anew(self, data):
        self._one(data).start_anew()

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data())
    def a_guest_is_reset(self, data):
        guest = self._one(data)
        if guest.run_state == RunState.RUNNING:
            self.world.reset(guest)

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), part=st.integers(1, 100))
    def a_guest_bursts_or_calms_down(self, data, part):
        guest = self._one(data)
        guest.demand = max(guest.maximum * part // 100, 16)

    @rule(parts=parts_of_all)
    def all_guests_burst_or_calm_down(self, parts):
        for guest, part in zip(self.world.guests.values(), parts, strict=False):
            guest.demand = max(guest.maximum * part // 100, 16)

    @rule(
        parts=parts_of_all,
        drawn=st.lists(st.lists(specs, min_size=1, max_size=3), max_size=1),
    )
    def all_is_well_for_a_while(self, parts, drawn):
        """So that memory moves: worlds in which all has gone wrong show little."""
        self._all({name: getattr(WELL, name) for name in TROUBLES})
        self.world.unheard.clear()
        self.world.felt.clear()
        self.world.pressure, self.world.host_use_mib = False, 0
        self.world.policies = policies(*drawn) if drawn else self.world.policies
        self.world.tick(10)
        self.all_guests_burst_or_calm_down(parts)
        self.world.tick(10)

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), told=st.lists(lies, max_size=3).map(dict))
    def a_guest_lies(self, data, told):
        self._one(data).statistics = told

    @precondition(lambda self: self.inhabited)
    @rule(
        data=st.data(),
        frozen=seldom,
        stuck=seldom,
        keeps=st.sampled_from([0, 700]),
        slab=st.sampled_from([0, 300]),
        moves_at=st.sampled_from([5, 100, math.inf]),
    )
    def a_guest_stalls_or_moves_on(self, data, frozen, stuck, keeps, slab, moves_at):
        guest = self._one(data)
        guest.frozen, guest.stuck, guest.keeps, guest.slab, guest.moves_at = frozen, stuck, keeps, slab, moves_at

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), silent=st.booleans(), period=st.sampled_from([1, 1, 5, 10, 60]))
    def a_guest_reports_seldom_or_not_when_in_need(self, data, silent, period):
        guest = self._one(data)
        guest.silent_in_need, guest.period = silent, period

    @precondition(lambda self: self.inhabited)
    @rule(
        data=st.data(),
        page_every=st.sampled_from([math.inf, 1, 60]),
        reads=st.sampled_from([0, 0, 50 * MIB]),
    )
    def a_guest_reads_back_from_swap_or_from_files(self, data, page_every, reads):
        guest = self._one(data)
        guest.page_every, guest.reads = page_every, reads

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), part=st.integers(0, 90))
    def the_host_merges_pages(self, data, part):
        guest = self._one(data)
        guest.merged = min(guest.demand, guest.actual) * part // 100

    @precondition(lambda self: self.inhabited)
    @rule(
        data=st.data(),
        grain=st.sampled_from([0, 0, 2]),
        misses=st.sampled_from([0, 0, 1, 3]),
        deflates_to=st.sampled_from([None, None, 1000, 4096]),
    )
    def a_balloon_is_coarse_or_disobeys(self, data, grain, misses, deflates_to):
        guest = self._one(data)
        guest.grain, guest.misses = grain, misses
        guest.deflates_to = None if deflates_to is None else min(deflates_to, guest.maximum)

    @precondition(lambda self: self.inhabited)
    @rule(
        data=st.data(),
        waits=st.sampled_from([0, 0, 4]),
        late=st.sampled_from([0, 3, 8, 30]),
        refusal=st.booleans(),
    )
    def libvirt_answers_late(self, data, waits, late, refusal):
        guest = self._one(data)
        guest.waits, guest.late, guest.late_refusal = waits, late, refusal

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), run_state=st.sampled_from([*[RunState.RUNNING] * 5, *RunState]))
    def a_guest_is_paused_or_the_like(self, data, run_state):
        self._one(data).run_state = run_state

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), obstacle=st.sampled_from([*[Reason.NONE] * 3, Reason.HUGE_PAGES, Reason.UNREADABLE]))
    def a_device_comes_or_goes(self, data, obstacle):
        self._one(data).obstacle = obstacle

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), devices=st.sampled_from([0, 0, 512, 2048]))
    def memory_is_added_beside_a_balloon(self, data, devices):
        self._one(data).devices = devices

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), pinned=st.booleans(), overhead=st.sampled_from([0, 60, 700]), touched=st.integers(0, 8192))
    def the_host_gets_nothing_back_of_a_balloon(self, data, pinned, overhead, touched):
        guest = self._one(data)
        guest.pinned, guest.overhead, guest.touched = pinned, overhead, touched

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), part=st.integers(10, 100))
    def someone_else_sets_a_balloon(self, data, part):
        guest = self._one(data)
        if guest.run_state == RunState.RUNNING:
            self.world.resize(guest, max(guest.maximum * part // 100, 16))

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data())
    def libvirt_refuses_the_next_change(self, data):
        self.world.refuse_next = self._one(data).name

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), more=st.integers(1, 2048))
    def memory_is_plugged_in(self, data, more):
        self._one(data).maximum += more

    @rule(use=st.integers(0, 8192), pressure=st.booleans())
    def the_host_needs_more_or_less(self, use, pressure):
        self.world.host_use_mib, self.world.pressure = use, pressure

    @rule(host=st.integers(1024, 32768), mark=st.sampled_from([0, 0.05]))
    def the_host_is_resized(self, host, mark):
        self.world.host_mib, self.world.mark = host, mark

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), grew=st.sampled_from([math.nan, 0.0, 7.0, 64.0, 700.0, 8192.0]))
    def a_guest_is_felt_to_grow(self, data, grew):
        """What is felt may be anything: QEMU's own memory, files that were read, what the host swaps in."""
        self.world.felt[self._one(data).name] = grew

    @precondition(lambda self: self.inhabited)
    @rule(data=st.data(), unheard=st.booleans())
    def a_connection_breaks_or_comes_back(self, data, unheard):
        name = self._one(data).name
        (self.world.unheard.add if unheard else self.world.unheard.discard)(name)

    @rule(seconds=st.integers(1, 30), asleep=st.sampled_from([0, 0, 30, 36000]))
    def the_controller_is_held_up(self, seconds, asleep):
        """Or the whole host: the monotonic clock stands still while it sleeps."""
        self.world.tick_unattended(seconds)
        self.world.wall_offset += asleep

    @rule(drawn=st.lists(specs, max_size=3))
    def policies_change(self, drawn):
        self.world.policies = policies(drawn)

    @precondition(lambda self: self.inhabited)
    @rule(
        calm=parts_of_all,
        parts=parts_of_all,
        manner=st.sampled_from([{"waits": 4}, {"moves_at": 5}, {"stuck": True}]),
        obstacle=st.sampled_from([Reason.NONE, Reason.HUGE_PAGES]),
        drawn=st.one_of(st.sampled_from([[{}], [], [{"mode": "Observe"}]]), st.lists(specs, max_size=3)),
        devices=st.sampled_from([0, 1024]),
        after=st.sampled_from([3, 8]),
        long=st.booleans(),
    )
    def policies_change_in_the_middle_of_moves(self, calm, parts, manner, obstacle, drawn, devices, after, long):
        guests = self.world.guests.values()
        before, self.world.host_mib = policies([{}]), max(sum(guest.maximum for guest in guests) // 2, 2048)
        self.world.policies = before
        self.all_is_well_for_a_while(calm, [])
        self._all(manner | {"devices": devices})
        self.all_guests_burst_or_calm_down(parts)
        self.world.tick(after)  # grows are under way by then, or shrinks
        self.all_guests_burst_or_calm_down(parts[::-1])
        self.policies_change(drawn)
        self._all({"obstacle": obstacle if not drawn else Reason.NONE})
        self.world.tick(8)
        if long:  # so that whoever is short is served, and a balloon that sticks is known to
            self.world.policies = before
            self.world.tick(100)
        self._all({name: getattr(WELL, name) for name in ("devices", "obstacle", *manner)})

    def _all(self, changes):
        for guest in self.world.guests.values():
            for name, value in changes.items():
                setattr(guest, name, value)

    @rule()
    def the_controller_starts_anew(self):
        self.world.restart()

    @rule(seconds=st.sampled_from([-3600, -5, 5, 3600]))
    def the_wall_clock_is_set(self, seconds):
        self.world.wall_offset += seconds

    @invariant()
    def no_rule_is_broken(self):
        self.world.tick()

    def teardown(self):
        AnyWorld.steps += self.world.steps
        AnyWorld.orders += self.world.orders


@pytest.mark.parametrize("steps", [100, pytest.param(STEPS, marks=pytest.mark.slow)])
def test_no_rule_is_broken_by_any_row_of_events(steps):
    """What is found is shown as it was found: making it smaller takes longer than finding it."""
    run_state_machine_as_test(AnyWorld, settings=bounds(steps))
    print(f"{AnyWorld.steps} steps of the engine, {AnyWorld.orders} orders, no rule broken")
