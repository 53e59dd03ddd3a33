"""What a virtual machine's pod means for its limits: its request is kept, and its limit not passed."""

import math

import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, policy

from controller.api.wishes import Wishes
from controller.engine.balance import balance
from controller.engine.inventory import DomainFacts, Pod
from controller.engine.ownership import NodeIdentity, assign, promised_by_pod, room_in_pod

OVERHEAD = 280
"""MiB that KubeVirt adds to a small guest."""


def facts(guest: float, request: float, limit: float | None, devices: float = 0) -> DomainFacts:
    """Of a guest in a pod; sizes in MiB."""
    pod = Pod("u", "n", "p", request=int(request * MIB), limit=None if limit is None else int(limit * MIB))
    return ScriptedGuest("guest", 1, guest, maximum=guest, devices=devices, pod=pod).facts()


class TestRequest:
    """The scheduler guarantees it; what KubeVirt adds to a guest's memory is no memory of the guest."""

    @pytest.mark.parametrize(
        ("guest", "request_", "limit", "promised"),
        [
            (4096, 2048 + OVERHEAD, 4096 + OVERHEAD, 2048),
            (4096, 4096 + OVERHEAD, None, 4096),
            (4096, 2048, None, 2048),  # overhead unknown: all of it counts
            (4096, 2048, 8192, 2048),  # a limit of the user's own tells nothing
            (4096, 2048, 3000, 2048),
            (4096, 5120 + 1, 5120 + 1, 4096),
            (4096, 5120, 5120, 4096),
            (4096, 100, 4096 + OVERHEAD, 0),
            (4096, 0, None, 0),
            (262144, 131072 + 3000, 262144 + 3000, 131072),  # a large guest has more overhead
        ],
    )
    def test_less_the_overhead_it_is_promised(self, guest, request_, limit, promised):
        assert promised_by_pod(facts(guest, request_, limit)) == promised * MIB

    def test_memory_devices_have_their_part_of_it(self):
        assert promised_by_pod(facts(4096, 3072 + OVERHEAD, 5120 + OVERHEAD, devices=1024)) == 2048 * MIB

    def test_outside_of_a_pod_nothing_is_promised(self):
        assert promised_by_pod(ScriptedGuest("guest", 1, 4096).facts()) == 0


class TestLimit:
    """The kernel kills above it."""

    @pytest.mark.parametrize(
        ("guest", "limit", "room"),
        [
            (4096, 4096 + OVERHEAD, math.inf),
            (4096, None, math.inf),
            (4096, 4096 + 64 + 8, math.inf),
            (4096, 4096 + 64 + 7, 4095),
            (4096, 3072, 3072 - 64 - 8),
            (4096, 10, 64),
        ],
    )
    def test_less_what_qemu_takes_beside_it_is_room(self, guest, limit, room):
        assert room_in_pod(facts(guest, 0, limit)) == room * MIB

    def test_memory_devices_take_of_it(self):
        assert room_in_pod(facts(4096, 0, 4096, devices=1024)) == (4096 - 1024 - 64 - 10) * MIB

    def test_outside_of_a_pod_there_is_no_limit(self):
        assert room_in_pod(ScriptedGuest("guest", 1, 4096).facts()) == math.inf


class TestSettings:
    """What of policy, metadata, annotations and pod counts."""

    @staticmethod
    def settings(pod: Pod | None, wishes: Wishes | None = None, **spec: object) -> dict[str, float]:
        guest = ScriptedGuest("guest", 1, 4096, maximum=4096, pod=pod, wishes=wishes or Wishes()).facts()
        inventory = assign([guest], [policy(**spec)], NodeIdentity("node")).inventory
        return {
            "minimum": inventory.minimum[0] / MIB,
            "ceiling": inventory.ceiling[0] / MIB,
            "weight": inventory.weight[0],
            "enforce": inventory.enforce[0],
        }

    @staticmethod
    def pod(request: float = 0, limit: float | None = 4096 + OVERHEAD, **annotations: str) -> Pod:
        asked = {f"ballast.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
        bound = None if limit is None else int(limit * MIB)
        return Pod("u", "n", "p", annotations=asked, request=int(request * MIB), limit=bound)

    @pytest.mark.parametrize(
        ("minimum", "request_", "asked", "counts"),
        [
            ("1Gi", 2048 + OVERHEAD, "512Mi", 2048),
            ("3Gi", 2048 + OVERHEAD, "512Mi", 3072),
            ("1Gi", 2048 + OVERHEAD, "3Gi", 3072),
            ("1Gi", 2048 + OVERHEAD, "9Gi", 9216),
        ],
    )
    def test_the_largest_minimum_counts(self, minimum, request_, asked, counts):
        settings = self.settings(self.pod(request_, min_memory=asked), limits={"minimum": minimum})
        assert settings["minimum"] == counts

    def test_a_request_is_kept_whatever_maximum_a_policy_has(self):
        settings = self.settings(self.pod(2048 + OVERHEAD), limits={"maximum": "1Gi"})
        assert (settings["minimum"], settings["ceiling"]) == (2048, 2048)

    def test_a_limit_is_not_passed_whatever_minimum_anybody_has(self):
        settings = self.settings(self.pod(limit=2048 + 72, min_memory="3Gi"), limits={"minimum": "3Gi"})
        assert (settings["minimum"], settings["ceiling"]) == (2048, 2048)

    @pytest.mark.parametrize(
        ("weight", "own", "asked", "counts"), [(100, None, "50", 50), (100, None, "500", 100), (100, 300, "200", 200)]
    )
    def test_a_weight_is_only_lowered_by_the_owner(self, weight, own, asked, counts):
        assert self.settings(self.pod(weight=asked), Wishes(weight=own), weight=weight)["weight"] == counts

    @pytest.mark.parametrize(
        ("annotations", "enforce"), [({}, True), ({"mode": "Observe"}, False), ({"mode": "Off"}, False)]
    )
    def test_a_policy_enforces_where_the_owner_lets_it(self, annotations, enforce):
        assert self.settings(self.pod(**annotations))["enforce"] == enforce


CLAIMS = {"actual": 2.0**60, "maximum": 2.0**60}


class TestFalseLibvirt:
    """That of a pod, which is whatever the pod's owner likes, claims more than a pod can hold."""

    @pytest.mark.parametrize("owned", [True, False])
    @pytest.mark.parametrize(
        "said",
        [
            CLAIMS,
            CLAIMS | {"usable": 0.0, "unused": 0.0},
            CLAIMS | {"usable": 2.0**60, "unused": 2.0**60, "available": 2.0**60},
            {"actual": math.nan, "maximum": math.nan},
        ],
    )
    @pytest.mark.parametrize(
        ("devices", "seconds"),
        [(2.0**40, 20), *(pytest.param(each, 60, marks=pytest.mark.slow) for each in (2.0**40, 0))],
    )
    def test_it_counts_with_what_its_pod_can_hold_and_others_get_what_they_need(self, owned, said, devices, seconds):
        pod = Pod("u", "shop", "p", limit=256 * MIB)
        false = ScriptedGuest("false", 100, 256, maximum=2.0**40, devices=devices, pod=pod, statistics=said)
        web = ScriptedGuest("web", 1000, 4000)
        policies = [policy(domainSelector={"names": ["*" if owned else "web"]})]
        node = ScriptedNode([web, false], policies, host_mib=16384).tick(seconds)
        web.demand = 3000
        node.tick(seconds)
        assert web.actual >= 3000
        assert node.state.host.budget > 12000 * MIB
        assert balance(node.state).short == 0
