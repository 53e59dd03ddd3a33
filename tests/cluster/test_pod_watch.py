"""Which pods of virtual machines there are on a node: read with care, told when all is known."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_api import AWAY, FakeApi

from controller.aggregation.watchevents import Deleted, ListComplete, Listed, Modified
from controller.cluster.errors import ApiError
from controller.cluster.pods import Launcher, launcher
from controller.cluster.podwatch import PodWatch
from controller.cluster.resources import NAMESPACES, PODS
from controller.engine.inventory import Pod
from lab.daemons import until

MIB = 2**20


def pod(name: str = "launcher-web", **changes: Any) -> dict[str, Any]:
    """As the API server tells of one that runs; `changes` are of its metadata, spec or status."""
    metadata = {
        "name": name,
        "namespace": "prod",
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "labels": {"kubevirt.io": "virt-launcher"},
        "annotations": {"ballast.dev/mode": "Off", "Ballast.dev/mode": "off", "kubevirt.io/domain": "web"},
    }
    memory = {"requests": {"memory": "1200Mi", "cpu": "100m"}, "limits": {"memory": "2Gi"}}
    spec = {"nodeName": "here", "containers": [{"name": "log"}, {"name": "compute", "resources": memory}]}
    status = {
        "phase": "Running",
        "qosClass": "Burstable",
        "containerStatuses": [
            {"name": "log", "state": {}},
            {"name": "compute", "state": {"running": {"startedAt": "x"}}},
        ],
    }
    parts = {"metadata": metadata, "spec": spec, "status": status}
    return {part: content | changes.get(part, {}) for part, content in parts.items()}


def namespace(name: str = "prod", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or None, "resourceVersion": "3"}}


WEB = Pod(
    uid="uid-launcher-web",
    namespace="prod",
    name="launcher-web",
    labels={"kubevirt.io": "virt-launcher"},
    annotations={"ballast.dev/mode": "Off", "Ballast.dev/mode": "off"},
    request=1200 * MIB,
    limit=2048 * MIB,
    qos="Burstable",
)


ITSELF = {"apiVersion": "v1", "kind": "Pod", "name": "launcher-web", "uid": "uid-launcher-web"}
OWNER = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "web", "uid": "uid-web"}


def test_a_pod_is_what_its_container_of_qemu_may_use_and_what_concerns_ballast():
    assert launcher(pod(), "here") == Launcher(WEB, expected=True, machine=ITSELF)


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"status": {"phase": "Pending"}},
        {"status": {"containerStatuses": None}},
        {"status": {"containerStatuses": [{"name": "log", "state": {"running": {}}}]}},
        {"status": {"containerStatuses": [{"name": "compute", "state": {"waiting": {}}}]}},
        {"status": {"containerStatuses": [{"name": "compute", "state": {"terminated": {}}}]}},
        {"status": {"containerStatuses": [{"name": "compute"}]}},
    ],
)
def test_a_pod_that_begins_or_ends_need_not_answer(changes):
    assert launcher(pod(**changes), "here") == Launcher(WEB, expected=False, machine=ITSELF)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"phase": "Succeeded"}},
        {"status": {"phase": "Failed"}},
        {"spec": {"nodeName": "there"}},
        {"spec": {"nodeName": ""}},
    ],
)
def test_a_pod_that_has_ended_or_is_elsewhere_is_none_of_ours(changes):
    assert launcher(pod(**changes), "here") is None


@pytest.mark.parametrize(
    ("owners", "machine"),
    [
        ([OWNER | {"controller": True}], OWNER),
        ([{"kind": "Job"}, OWNER], OWNER),
        ([OWNER | {"kind": "VirtualMachine"}], ITSELF),
        ([OWNER | {"uid": None}], ITSELF),
        ([OWNER | {"name": 7}], ITSELF),
        (["x"], ITSELF),
        (7, ITSELF),
        (None, ITSELF),
    ],
)
def test_the_machine_to_its_owner_is_what_owns_the_pod_if_that_is_kubevirts(owners, machine):
    assert launcher(pod(metadata={"ownerReferences": owners}), "here").machine == machine


@pytest.mark.parametrize(
    ("resources", "request_", "limit"),
    [
        (None, 0, None),
        ({}, 0, None),
        ({"requests": None, "limits": {}}, 0, None),
        ({"requests": {"memory": "512Mi"}}, 512 * MIB, None),
        ({"limits": {"memory": 1048576}}, 0, MIB),
        ({"limits": {"memory": "0"}}, 0, None),
        ({"requests": {"memory": "0"}}, 0, None),
    ],
)
def test_what_a_pod_asks_for(resources, request_, limit):
    containers = [{"name": "compute", "resources": resources}]
    read = launcher(pod(spec={"containers": containers}), "here").pod
    assert (read.request, read.limit) == (request_, limit)


@pytest.mark.parametrize(
    ("of_all", "present", "limit"),
    [(None, None, 2048), ("1Gi", "1536Mi", 1024), ("3Gi", "1536Mi", 1536), ("3Gi", "3Gi", 2048)],
)
def test_the_least_limit_that_the_kernel_keeps_to_counts(of_all, present, limit):
    told = pod(spec={"resources": {"limits": {"memory": of_all}}})
    log, compute = told["status"]["containerStatuses"]
    log["resources"], compute["resources"] = ({"limits": {"memory": each}} for each in ("64Mi", present))
    assert launcher(told, "here").pod.limit == limit * MIB


def test_a_pod_that_does_not_tell_its_quality_is_read_in_the_most_careful_way():
    told = pod()
    del told["status"]["qosClass"]
    assert launcher(told, "here").pod.qos == "Guaranteed"


ODD = {
    "no containers": {"spec": {"containers": []}},
    "a container without a name": {"spec": {"containers": [{}]}},
    "resources that are text": {"spec": {"containers": [{"name": "compute", "resources": "1Gi"}]}},
    "a size that is none": {"spec": {"containers": [{"name": "compute", "resources": {"limits": {"memory": "much"}}}]}},
    "a size below zero": {"spec": {"containers": [{"name": "compute", "resources": {"requests": {"memory": -1}}}]}},
    "statuses that are text": {"status": {"containerStatuses": "all well"}},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_a_pod_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ApiError):
        launcher(pod(**changes), "here")


class ManualPodWatch:
    """A PodWatch that hears what the test says."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.launchers: tuple[Launcher, ...] = ()
        self.missing: Callable[[], str] = lambda: ""
        self.api = FakeApi()
        self.watch = PodWatch(self.api, "here", self.take, lambda: 0.0)

    def take(self, launchers: tuple[Launcher, ...], missing: Callable[[], str]) -> None:
        self.launchers, self.missing = launchers, missing
        self.told.append([each.pod.name for each in launchers])

    def list(self, *pods: dict[str, Any], namespaces: tuple[dict[str, Any], ...] = (namespace(tier="gold"),)) -> None:
        for kind, objects in ((PODS.kind, pods), (NAMESPACES.kind, namespaces)):
            self.watch.on_event(Listed(kind, tuple(objects), ""))
            names = {
                "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"])))
                for each in objects
            }
            self.watch.on_event(ListComplete(kind, frozenset(names)))

    def change(self, changed: dict[str, Any], kind: str = PODS.kind) -> None:
        self.watch.on_event(Modified(kind, changed))


@pytest.fixture
def watched() -> ManualPodWatch:
    return ManualPodWatch()


def test_pods_are_told_once_they_and_the_namespaces_are_listed(watched):
    watched.watch.on_event(Listed(PODS.kind, (pod(),), ""))
    watched.watch.on_event(ListComplete(PODS.kind, frozenset({"prod/launcher-web"})))
    assert watched.told == []
    assert watched.watch.missing() == "virt-launcher pods of node here: not listed yet"
    watched.list(pod())
    assert watched.told == [["launcher-web"]]
    assert watched.launchers[0].pod.namespace_labels == {"tier": "gold"}
    assert watched.missing() == ""


def test_a_node_without_virtual_machines_is_told_so(watched):
    watched.list()
    assert (watched.told, watched.missing()) == ([[]], "")
    assert watched.watch.machines() == {}


def test_pods_that_come_change_and_go_are_told_and_nothing_else_is(watched):
    watched.list(pod())
    watched.change(pod("launcher-db"))
    watched.change(pod("launcher-db", metadata={"resourceVersion": "9", "annotations": {"kubevirt.io/domain": "x"}}))
    before = len(watched.told)
    watched.change(pod("launcher-db", metadata={"resourceVersion": "10", "annotations": {"kubevirt.io/domain": "y"}}))
    assert len(watched.told) == before
    watched.watch.on_event(Deleted(PODS.kind, "prod/launcher-web"))
    assert watched.told[0] == ["launcher-web"]
    assert watched.told[1] == ["launcher-web", "launcher-db"]
    assert watched.told[-1] == ["launcher-db"]
    assert watched.watch.machines() == {"prod/launcher-db": ITSELF | {"name": "launcher-db", "uid": "uid-launcher-db"}}


def test_a_pod_that_has_ended_is_gone_before_it_is_deleted(watched):
    watched.list(pod())
    watched.change(pod(status={"phase": "Succeeded"}))
    assert watched.told == [["launcher-web"], []]


def test_what_went_while_nothing_was_heard_is_gone_after_the_next_list(watched):
    watched.list(pod(), pod("launcher-db"))
    watched.list(pod("launcher-db"))
    assert watched.told[-1] == ["launcher-db"]


def test_a_pod_waits_for_the_labels_of_its_namespace(watched):
    watched.list(pod(), namespaces=())
    assert watched.told == [[]]
    watched.change(namespace(tier="lead"), NAMESPACES.kind)
    assert watched.told == [[], ["launcher-web"]]
    watched.change(namespace(tier="gold"), NAMESPACES.kind)
    assert watched.launchers[0].pod.namespace_labels == {"tier": "gold"}


def test_pods_of_one_name_in_two_namespaces_are_two(watched):
    other = pod(metadata={"namespace": "test", "uid": "another"})
    watched.list(pod(), other, namespaces=(namespace(), namespace("test")))
    assert watched.told == [["launcher-web", "launcher-web"]]
    watched.watch.on_event(Deleted(PODS.kind, "test/launcher-web"))
    assert [each.pod.uid for each in watched.launchers] == ["uid-launcher-web"]


def test_a_pod_that_makes_no_sense_is_left_alone_and_that_is_said_once(watched, caplog):
    odd = pod(spec={"containers": []})
    watched.list(pod("launcher-db"), odd)
    watched.change(odd)
    assert watched.told == [["launcher-db"]]
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("pod prod/launcher-web: left alone: ")
    watched.change(pod())
    watched.change(odd)
    assert watched.told[-2:] == [["launcher-db", "launcher-web"], ["launcher-db"]]
    assert len(caplog.records) == 2
    watched.list(pod("launcher-db"))
    watched.change(odd)  # another one of its name
    assert len(caplog.records) == 3


def test_at_the_start_nothing_is_known_and_why_is_told(watched):
    assert watched.watch.missing() == "virt-launcher pods of node here: not listed yet"
    watched.api.fails = AWAY
    with watched.watch:
        assert watched.told == [[]]
        until(lambda: str(AWAY) in watched.missing(), 30, "why there may be others is told")
