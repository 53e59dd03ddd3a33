"""What the status store says of the newest publication: probes at their edges, texts that are too many."""

import pytest

from controller.api.documents import load
from controller.api.policy import Metadata
from controller.engine.balance import Shortage
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.statusstore import SILENCE_S, TOLD, StatusSnapshot, StatusStore

MIB = 2**20


class StoredConnection:
    def __init__(self, *, connected: bool = True, error: str = "") -> None:
        self.uri, self.connected, self.error = "qemu:///system", connected, error


def status_store(
    *connections: StoredConnection, age: float = 0.0, key: str = "k", name: str = "web", **published: object
) -> StatusStore:
    """Of a node with one domain, as it is `age` seconds after its publication."""
    now = 1000.0
    made = StatusStore("node-1", lambda: now)
    facts = [DomainFacts(key, "u", name, 1, MIB, MIB)]
    state = align(State.initial(), assign(facts, (), NodeIdentity("node-1")).inventory, 0.0)
    made.publish(StatusSnapshot(now - age, state, connections, **{"problems": (), "looked": True, **published}))
    return made


@pytest.mark.parametrize(("age", "reasons"), [(SILENCE_S, ()), (SILENCE_S + 1, ("the loop last ran 31 s ago, more",))])
def test_a_loop_is_alive_for_three_heartbeats(age, reasons):
    found = status_store(StoredConnection(), age=age).health().reasons
    assert tuple(reason.split(" than")[0] for reason in found) == reasons


def test_the_age_of_the_publication_is_told():
    assert status_store(StoredConnection(), age=1.23456).document()["silence_s"] == 1.235


@pytest.mark.parametrize(
    ("key", "name", "machine"),
    [
        ("u@shop/virt-launcher-web-1-x7k2p", "shop_web-1", ("shop", "web-1")),
        ("u@shop/virt-launcher-a_b", "shop_a_b", ("shop", "a_b")),
        ("u@shop/virt-launcher-web-1-x7k2p", "other_web-1", (None, None)),
        ("u@shop/virt-launcher-web-1-x7k2p", "shop", (None, None)),
        ("u@shop/", "shop_web-1", (None, None)),
        ("u@qemu:///system", "qemu:_web-1", (None, None)),
        ("u@qemu:///system", "shop_web-1", (None, None)),
        ("u", "shop_web-1", (None, None)),
        ("u@/pod", "_web-1", (None, None)),
    ],
)
def test_a_domain_in_a_pod_of_kubevirt_has_the_name_of_its_machine_and_no_other_has(key, name, machine):
    (domain,) = status_store(StoredConnection(), key=key, name=name).document()["domains"]
    assert (domain["namespace"], domain["virtual_machine"], domain["name"]) == (*machine, name)


def test_a_machine_of_kubevirt_is_explained_by_any_of_its_names():
    made = status_store(StoredConnection(), key="u@shop/virt-launcher-web-1-x7k2p", name="shop_web-1")
    for wanted in ("shop/web-1", "shop_web-1", "u", "u@shop/virt-launcher-web-1-x7k2p"):
        assert [each["domain"]["name"] for each in made.explain(wanted)["domains"]] == ["shop_web-1"]
    assert made.explain("web-1")["domains"] == []
    assert made.explain("shop/web-2")["near"] == ["shop/web-1"]


@pytest.mark.parametrize(
    ("connections", "reasons"),
    [
        ((), ()),
        ((StoredConnection(connected=False),), ("qemu:///system: not connected",)),
        ((StoredConnection(connected=False, error="no socket"),), ("no socket",)),
        ((StoredConnection(connected=False, error="no socket"), StoredConnection()), ()),
    ],
)
def test_a_node_is_ready_when_one_connection_works_or_it_has_none(connections, reasons):
    assert status_store(*connections).readiness().reasons == reasons


def test_a_node_that_hangs_waits_and_has_not_looked_is_not_ready_for_all_these_reasons():
    waiting = status_store(StoredConnection(), age=SILENCE_S + 1, awaited="policies", looked=False)
    hangs, *others = waiting.readiness().reasons
    assert hangs.endswith("it hangs")
    assert others == ["waiting for policies", "the first look is not done"]


def test_of_too_many_problems_the_first_are_told_and_the_rest_is_counted():
    told = status_store(problems=("p",) * (TOLD + 2)).document()["problems"]
    assert (len(told), told[-1]) == (TOLD + 1, "and 2 more; see the log")
    assert status_store(problems=("p",) * TOLD).document()["problems"] == ["p"] * TOLD


@pytest.mark.parametrize("lasts", [True, False])
def test_a_node_that_stays_short_is_a_warning(lasts):
    document = status_store(shortage=Shortage(0.0, 200.0, lasts)).document()
    assert document["node"]["stays_short"] is lasts
    assert [text.startswith("the guests ") for text in document["warnings"]] == [True] * lasts


def test_who_publishes_tells_those_who_wait():
    told = []
    made = StatusStore("node-1", lambda: 0.0, lambda: told.append(True))
    state = align(State.initial(), assign([], (), NodeIdentity("node-1")).inventory, 0.0)
    made.publish(StatusSnapshot(0.0, state, (), (), True))
    assert told == [True]


def test_a_policy_without_metadata_is_of_generation_zero():
    loaded = Metadata(name="p", generation=7)
    made = StatusStore("node-1", lambda: 0.0)
    head = "apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy"
    policies = load("\n---\n".join(f"{{{head}, metadata: {{name: {name}}}}}" for name in "pq"), "test").policies
    facts = [DomainFacts("k", "u", "web", 1, MIB, MIB)]
    state = align(State.initial(), assign(facts, policies, NodeIdentity("node-1")).inventory, 0.0)
    made.publish(StatusSnapshot(0.0, state, (), (), True, in_force={"p": loaded}))
    assert {each["name"]: each["generation"] for each in made.document()["policies"]} == {"p": 7, "q": 0}


def test_a_domain_that_is_not_known_any_more_is_not_explained():
    assert status_store().explain("web")["domains"][0]["domain"]["name"] == "web"
    assert status_store().explain("db") == {
        "node": status_store().document()["node"],
        "domains": [],
        "near": [],
        "more": 0,
    }
