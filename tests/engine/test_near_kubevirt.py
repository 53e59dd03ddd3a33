"""What KubeVirt does with a virtual machine, and Ballast beside it: hot-plug, migration, its alerts, page reporting."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, default_policy, node, policy

from controller.engine import balloon
from controller.engine.inventory import Pod
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState

OVERHEAD = 280
"""MiB that KubeVirt adds to a small guest."""
PERIOD_S = 10.0
"""Of the statistics that KubeVirt asks its guests for."""
LABELS = {"vm.kubevirt.io/name": "web"}
BUDGET = {"maximum": "4Gi"}
"""For three guests of 1 GiB that their pods request."""
GENERAL = policy("general", selectors={"all": True})
FULL_SIZE = policy(
    "full-size",
    priority=10,
    selectors={"virtualMachineInstanceSelector": {"matchLabels": LABELS}},
    limits={"minimumPercent": 100},
)
"""As manifests/README.md says to do before memory is plugged."""


def launched(name: str, demand: float, actual: float, maximum: float = 4096, request: float = 1024) -> ScriptedGuest:
    """A guest of a virt-launcher pod; sizes in MiB."""
    pod = Pod(
        f"uid-{name}",
        "shop",
        f"virt-launcher-{name}",
        LABELS,
        request=int((request + OVERHEAD) * MIB),
        limit=int((maximum + OVERHEAD) * MIB),
        qos="Burstable",
    )
    return ScriptedGuest(name, demand, actual, maximum, pod=pod, period=PERIOD_S)


@cache
def lived() -> ScriptedNode:
    """As long as it takes the balloon to take what the only guest does not need."""
    world = node(launched("web", 800, 4096), policies=[GENERAL]).tick(240)
    assert world.guests["web"].actual < 2048
    return world


def ballooned() -> tuple[ScriptedNode, ScriptedGuest]:
    """A guest that the balloon has taken memory from."""
    world = deepcopy(lived())
    return world, world.guests["web"]


class TestMemoryHotPlug:
    """KubeVirt asks for the new size less the balloon's: the guest is to have all of its memory before."""

    @pytest.mark.parametrize("seconds", [100, pytest.param(300, marks=pytest.mark.slow)])
    def test_a_guest_gets_all_of_its_memory_by_a_policy_of_higher_priority_and_keeps_it(self, seconds):
        world, web = ballooned()
        world.policies = [GENERAL, FULL_SIZE]
        world.tick(60)
        assert web.actual == 4096
        moves = len(world.moves("web"))
        world.tick(seconds)
        assert (web.actual, len(world.moves("web"))) == (4096, moves)

    def test_a_guest_that_has_grown_by_a_dimm_is_moved_within_its_new_size(self):
        world, web = ballooned()
        web.maximum, web.actual = 6144, web.actual + 2048
        web.pod = replace(web.pod, limit=(6144 + OVERHEAD) * MIB)
        web.demand = 5000
        world.tick(120)
        assert 5000 < web.actual <= 6144

    def test_what_is_plugged_is_taken_back_once_the_policy_is_gone(self):
        world, web = ballooned()
        world.policies = [GENERAL, FULL_SIZE]
        world.tick(60)
        world.policies = [GENERAL]
        world.tick(300)
        assert web.actual < 2048


class TestMigration:
    """The source is left alone; the target is another domain, with the balloon that it came with."""

    def test_at_its_source_a_guest_is_not_touched_and_counts_with_all_it_has(self):
        world, web = ballooned()
        had, web.run_state = web.actual, RunState.BUSY
        orders = len(world.actions("web"))
        web.demand = had + 500
        world.tick(60)
        assert (len(world.actions("web")), web.actual, world.reason("web")) == (orders, had, Reason.BUSY)

    def test_full_size_asked_for_before_it_is_reached_before_it_and_kept_while_it_lasts(self):
        world, web = ballooned()
        world.policies = [GENERAL, FULL_SIZE]
        world.tick(60)
        web.run_state = RunState.BUSY
        world.policies = [GENERAL]
        world.tick(120)
        assert web.actual == 4096

    def test_at_its_target_a_guest_keeps_the_balloon_it_came_with_until_it_has_told_of_itself(self):
        world = node(launched("web", 800, 1500), policies=[GENERAL]).tick(int(2 * PERIOD_S) - 1)
        assert world.actions() == []

    def test_at_its_target_a_guest_that_came_short_of_memory_grows(self):
        web = launched("web", 1800, 1600)
        node(web, policies=[GENERAL]).tick(60)
        assert web.actual > 1800

    def test_on_one_node_source_and_target_count_both_until_the_source_is_gone(self):
        world, web = ballooned()
        web.run_state = RunState.BUSY
        world.guests["web-target"] = replace(launched("web-target", 800, 1500), run_state=RunState.PAUSED)
        world.tick(5)
        rows = [world.inventory.index[name] for name in ("web", "web-target")]
        state = world.state
        both = balloon.committed(state.balloon, state.observation, state.inventory)[rows]
        assert both.tolist() == [web.actual * MIB, 1500 * MIB]
        del world.guests["web"]
        world.guests["web-target"].run_state = RunState.RUNNING
        world.guests["web-target"].demand = 2500
        world.tick(60)
        assert world.guests["web-target"].actual > 2500


def test_guests_keep_what_their_pods_request_while_one_that_came_boots_with_more_than_there_is():
    names = ("web-0", "web-1")
    world = node(
        *(launched(name, 300, 1024) for name in names), policies=[policy(selectors={"all": True}, budget=BUDGET)]
    )
    world.tick(60)
    came = replace(launched("came", 300, 4096), frozen=True, started_at=world.wall)
    world.guests["came"] = came
    world.tick(60)
    assert world.reason("came") is Reason.BOOTING
    assert {world.guests[name].actual for name in names} == {1024}
    came.frozen = False
    world.tick(60)
    assert {world.guests[name].actual for name in ("came", *names)} == {1024}


@pytest.mark.parametrize("spare", ["Reclaim", "Share"])
@pytest.mark.parametrize("demand", [300, 800, 2000, 3600])
@pytest.mark.parametrize("seconds", [150, pytest.param(900, marks=pytest.mark.slow)])
def test_a_calm_guest_has_more_available_than_kubevirts_alerts_ask_for(seconds, demand, spare):
    """KubeVirtVMGuestMemoryPressure: less than 5 % of the guest's memory; AvailableLow: less than 3 % for half an hour.

    With the headroom that is the default, and the request far below what the guest uses.
    """
    web = launched("web", demand, 4096, request=128)
    world = node(web, policies=[default_policy(spare=spare)])
    least = 1.0
    for _ in range(seconds):
        world.tick()
        least = min(least, (web.actual - web.demand) / web.actual)
    assert least >= 0.05


def test_a_guest_that_reports_its_free_pages_is_not_blamed_for_what_the_host_had_already():
    """What it never held comes back by no balloon: only resident memory tells what a shrink has brought."""
    web = launched("web", 600, 4096)
    web.touched = 600
    world = node(web, policies=[GENERAL]).tick(300)
    assert web.actual < 2048
    assert Reason.NOT_RETURNED not in {*world.notices(), world.reason("web")}


@pytest.mark.parametrize("seconds", [150, pytest.param(600, marks=pytest.mark.slow)])
def test_a_shrink_goes_no_further_where_its_guest_would_have_to_swap(seconds):
    """A node's swap (wasp, NodeSwap) is the net below the balloon; a guest's own swapping would look like its need."""
    web = launched("web", 1500, 4096)
    world = node(web, policies=[GENERAL])
    least = web.actual
    for _ in range(seconds):
        world.tick()
        least = min(least, web.actual)
    assert least >= 1500


@pytest.mark.parametrize("request_", [1024, 2048, 3072])
@pytest.mark.parametrize("seconds", [120, pytest.param(400, marks=pytest.mark.slow)])
def test_a_guest_keeps_its_pods_request_less_what_kubevirt_adds(seconds, request_):
    web = launched("web", 200, 4096, request=request_)
    node(web, policies=[GENERAL]).tick(seconds)
    assert web.actual == request_
