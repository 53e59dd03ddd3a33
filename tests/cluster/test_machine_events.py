"""Events about virtual machines: on whose object, what first, and how rarely."""

import pytest

from controller.cluster.errors import ApiError
from controller.cluster.machineevents import APART_S, QUIET_S, MachineEvents
from controller.observe.machinenotes import MachineNote

VMI = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "web", "uid": "v"}
POD = {"apiVersion": "v1", "kind": "Pod", "name": "pod-db", "uid": "p"}
WALL = "2026-01-31T12:00:00.000000Z"


class Events:
    """MachineEvents of a node with two machines, and what they write; `refusing` is raised by the next one."""

    def __init__(self) -> None:
        self.machines = {"shop/pod-web": VMI, "shop/pod-db": POD}
        self.events = MachineEvents(self, "here", lambda: self.machines)
        self.created: list[dict] = []
        self.refusing: ApiError | None = None

    def create(self, _resource: object, event: dict, *, namespace: str) -> None:
        assert namespace == event["metadata"]["namespace"] == event["regarding"]["namespace"] == "shop"
        if self.refusing is not None:
            raise self.refusing
        self.created.append(event)

    def at(self, now: float, *notes: MachineNote) -> list[str]:
        """Whom events were about until now."""
        self.events.send(notes, now, WALL)
        return [event["regarding"]["name"] for event in self.created]


def note(pod: str = "web", at: float = 1.0, *, warning: bool = False, text: str = "less") -> MachineNote:
    return MachineNote(f"u@shop/pod-{pod}", at, "ForecastShrink", text, warning)


def test_an_event_is_about_the_machine_in_its_namespace():
    events = Events()
    events.at(0.0, note())
    (event,) = events.created
    assert event["metadata"].pop("name").startswith("pod-web.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "eventTime": WALL,
        "type": "Normal",
        "reason": "ForecastShrink",
        "note": "less",
        "action": "Reallocating",
        "reportingController": "ballast.dev/agent",
        "reportingInstance": "here",
        "regarding": VMI | {"namespace": "shop"},
    }


def test_what_is_wrong_is_a_warning_on_one_line():
    events = Events()
    events.at(0.0, note("db", warning=True, text="a\nb" + "\u4e2d" * 1000))
    (event,) = events.created
    assert (event["type"], event["action"], event["regarding"]["kind"]) == ("Warning", "Watching", "Pod")
    assert event["note"].isprintable()
    assert len(event["note"].encode()) <= 1024


def test_a_node_tells_of_one_machine_at_a_time_first_what_is_wrong_then_what_waited_longest():
    events = Events()
    events.machines["shop/pod-new"] = POD | {"name": "pod-new"}
    all_ = note("new", 3.0), note("web", 2.0), note("db", 4.0, warning=True)
    assert events.at(0.0, *all_) == ["pod-db"]
    assert events.at(APART_S - 1, *all_) == ["pod-db"]
    assert events.at(APART_S, *all_) == ["pod-db", "web"]
    assert events.at(2 * APART_S, *all_) == ["pod-db", "web", "pod-new"]
    assert events.at(2 * QUIET_S, *all_) == ["pod-db", "web", "pod-new"]


def test_of_a_restless_machine_the_newest_is_told_now_and_then():
    events = Events()
    events.at(0.0, note(at=1.0))
    assert events.at(QUIET_S - 1, note(at=2.0)) == ["web"]
    assert events.at(QUIET_S, note(at=3.0, text="newest")) == ["web", "web"]
    assert events.created[-1]["note"] == "newest"


def test_a_problem_does_not_wait_for_changes_to_be_told_again():
    events = Events()
    events.at(0.0, note(at=1.0))
    assert events.at(APART_S, note(at=2.0, warning=True)) == ["web", "web"]


def test_domains_that_are_in_no_pod_have_no_owner_to_tell():
    assert Events().at(0.0, MachineNote("u@qemu:///system", 1.0, "ForecastShrink", "less", False)) == []


def test_an_event_that_is_refused_keeps_no_other_back():
    events = Events()
    events.refusing = ApiError(403, "Forbidden", "forbidden")
    with pytest.raises(ApiError):
        events.at(0.0, note(), note("db", 2.0))
    events.refusing = None
    assert events.at(APART_S, note(), note("db", 2.0)) == ["pod-db"]
