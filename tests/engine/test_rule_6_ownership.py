"""Rule 6: one policy owns a domain, and every policy that acts has a say in the node's budget."""

import time
from dataclasses import replace

import pytest
from scripted_node import MIB, ScriptedGuest, node, policy

from controller.api.policy import Budget
from controller.engine.inventory import Pod
from controller.engine.ownership import NodeIdentity, assign

POD = Pod("uid", "tenant", "virt-launcher-web")


def test_a_domain_is_owned_by_priority_then_age_then_name():
    old, new = (
        {"creationTimestamp": "2026-01-01T00:00:00Z"},
        {"creationTimestamp": "2026-02-01T00:00:00Z"},
    )
    policies = [
        policy("0-no-age"),
        policy("0-new", metadata=new),
        policy("b-old", metadata=old),
        policy("a-old", metadata=old),
        policy("z-first", priority=5, metadata=new),
    ]
    assigned = assign([ScriptedGuest("guest", 1, 1).facts()], policies, NodeIdentity("node"))
    assert assigned.inventory.policies == ("z-first", "a-old", "b-old", "0-new", "0-no-age")
    assert assigned.inventory.policy.tolist() == [0]


def test_a_policy_conflicts_with_its_equals_and_is_overridden_by_its_betters():
    guests = [ScriptedGuest(name, 1, 1).facts() for name in ("db", "web", "idle")]
    policies = [
        policy("specific", priority=5, domainSelector={"names": ["db"]}),
        policy("general"),
        policy("same-again", domainSelector={"names": ["db", "web"]}),
        policy("below", priority=-1, domainSelector={"names": ["web"]}),
    ]
    assigned = assign(guests, policies, NodeIdentity("node"))
    assert assigned.conflicted == {"same-again": ("web",)}
    assert assigned.overridden == {"general": ("db",), "same-again": ("db",), "below": ("web",)}


def test_a_policy_with_selectors_owns_domains_of_pods_alone():
    db = Pod("u", "shop", "p", labels={"tier": "db"}, namespace_labels={"team": "x"})
    elsewhere = Pod("v", "other", "q", labels={"tier": "db"})
    guests = [
        ScriptedGuest("host", 1, 1),
        ScriptedGuest("db", 1, 1, pod=db),
        ScriptedGuest("elsewhere", 1, 1, pod=elsewhere),
    ]
    labels = {"namespaceSelector": {"matchLabels": {"team": "x"}}}
    policies = [policy("pods", priority=1, selectors=labels), policy("all", domainSelector={"names": ["*"]})]
    assigned = assign([guest.facts() for guest in guests], policies, NodeIdentity("node"))
    assert assigned.inventory.policy.tolist() == [1, 0, 1]
    assert (assigned.overridden, assigned.unmatched) == ({"all": ("db",)}, ())


def test_a_policy_owns_what_it_selects_but_observes_where_its_rollout_has_not_come():
    rolled = policy("new", priority=1, mode="Enforce", rollout={"maximumNodes": 1}, budget={"reserve": "30Gi"})
    guest, other = [ScriptedGuest("db", 1, 1).facts()], policy("old", mode="Enforce")
    assigned = assign(guest, [rolled, other], NodeIdentity("node"))
    assert (assigned.inventory.modes, assigned.held) == (("Observe", "Enforce"), ("new",))
    assert (assigned.inventory.policy.tolist(), assigned.inventory.enforce.tolist()) == ([0], [False])
    assert assigned.inventory.budget.reserve == 512 * MIB
    come = policy("new", priority=1, mode="Enforce", budget={"reserve": "30Gi"})
    assigned = assign(guest, [come, other], NodeIdentity("node"))
    assert (assigned.inventory.enforce.tolist(), assigned.held) == ([True], ())
    assert assigned.inventory.budget.reserve == 30 * 1024 * MIB


@pytest.mark.parametrize("mode", ["Observe", "Pause"])
def test_a_rollout_changes_nothing_of_a_policy_that_does_not_enforce(mode):
    rolled = policy("new", mode=mode, rollout={"maximumNodes": 1})
    assigned = assign([ScriptedGuest("db", 1, 1).facts()], [rolled], NodeIdentity("node"))
    assert (assigned.inventory.modes, assigned.held) == ((mode,), ())


def test_owners_of_many_domains_under_many_policies_are_found_in_the_time_of_a_look():
    """It is done by the loop's thread whenever a policy or a domain changes; two seconds of it once."""
    guests = [ScriptedGuest(f"vm-{number % 500}-{number}", 1, 1).facts() for number in range(5000)]
    policies = [
        policy(f"p{number}", priority=number % 3, domainSelector={"names": [f"vm-{number}-*", f"*-{number}-*", "vm*9"]})
        for number in range(500)
    ]
    began = time.process_time()
    assigned = assign(guests, policies, NodeIdentity("node"))
    assert time.process_time() - began < 2.0
    assert (assigned.inventory.policy >= 0).all()


class TestBudget:
    """The most careful value of each field counts, of the node's own and of the policies that act."""

    HOST = 65536

    def budget(self, *policies) -> float:
        """Of a node whose one guest any of them may own, MiB."""
        world = node(ScriptedGuest("guest", 500, 1000), policies=list(policies), host_mib=self.HOST).tick(5)
        return round(world.shown()["budget"] / MIB)

    def between(self, *budgets, **spec) -> set[float]:
        """Budgets of policies with these blocks, in either order of their names."""

        def named(order):
            return [policy(f"policy-{place}", budget=budget, **spec) for place, budget in enumerate(order)]

        return {self.budget(*named(order)) for order in (budgets, budgets[::-1])}

    def test_keeps_the_largest_reserve(self):
        small, large = {"reserve": "1Gi", "reservePercent": 1}, {"reserve": "8Gi", "reservePercent": 1}
        assert self.between(small, large) == {self.HOST - 8192}

    def test_keeps_the_largest_part_as_reserve(self):
        assert self.between({"reservePercent": 25}, {"reservePercent": 3}) == {0.75 * self.HOST}

    def test_gives_no_more_than_the_least_maximum(self):
        assert self.between({"maximum": "1Gi"}, {"maximum": "4Gi"}, {}) == {1024}

    def test_takes_no_field_from_a_policy_that_observes(self):
        careful = policy("careful", mode="Observe", priority=1, budget={"maximum": "1Gi", "reserve": "32Gi"})
        assert self.budget(careful, policy("acts", domainSelector={"names": ["guest"]})) == round(0.95 * self.HOST)

    def test_is_the_same_where_nothing_may_be_enforced(self):
        policies = [policy("acts", budget={"reserve": "1Gi"}), policy("b", mode="Observe", budget={"reserve": "2Gi"})]
        facts = [ScriptedGuest("guest", 1, 1).facts()]
        acting, observed = (
            assign(facts, policies, NodeIdentity("node"), observe=each).inventory for each in (False, True)
        )
        assert observed.budget == acting.budget
        assert (acting.enforce.tolist(), observed.enforce.tolist()) == ([True], [False])
        assert observed.modes == ("Observe", "Observe")

    def test_is_that_of_all_where_none_acts(self):
        assert self.between({"maximum": "1Gi"}, {"reserve": "8Gi"}, mode="Observe") == {1024}

    @pytest.mark.parametrize(
        ("pod", "withheld", "eviction", "kept"),
        [
            (None, 8192, 100, 100),
            (None, 0, 2048, 2048),
            (POD, 8192, 100, 8192),
            (POD, 0, 300, 300),
            (POD, 10, 0, 50),
        ],
    )
    def test_leaves_free_what_the_kubelet_needs_and_of_guests_in_pods_what_no_pod_gets(
        self, pod, withheld, eviction, kept
    ):
        facts = [replace(ScriptedGuest("guest", 1, 1).facts(), pod=pod)]
        reserve = {"reserve": "50Mi", "reservePercent": 0}
        node = NodeIdentity("node", {}, withheld * MIB, eviction * MIB)
        assigned = assign(facts, [policy(budget=reserve)], node).inventory.budget
        assert assigned.kept(self.HOST * MIB) == kept * MIB

    @pytest.mark.parametrize(
        ("of_policy", "kept", "maximum"),
        [
            ({"reserve": "0", "reservePercent": 0, "maximum": "48Gi"}, 8192, 32768),
            ({"reserve": "9Gi", "maximum": "16Gi"}, 9216, 16384),
            ({"reservePercent": 25}, 0.25 * HOST, 32768),
            (None, 8192, 32768),
        ],
    )
    @pytest.mark.parametrize("mode", ["Enforce", "Observe"])
    def test_of_a_node_is_made_larger_by_no_policy(self, of_policy, kept, maximum, mode):
        own = NodeIdentity("node", budget=Budget(reserve="8Gi", reservePercent=10, maximum="32Gi"))
        policies = [] if of_policy is None else [policy(mode=mode, budget=of_policy), policy("silent", mode=mode)]
        budget = assign([ScriptedGuest("guest", 1, 1).facts()], policies, own).inventory.budget
        assert (budget.kept(self.HOST * MIB), budget.maximum) == (kept * MIB, maximum * MIB)

    def test_is_as_the_one_policy_says_that_says_anything(self):
        assert self.between({"reserve": "0", "reservePercent": 0}, {}) == {self.HOST}

    def test_is_the_default_without_any(self):
        assert self.budget() == round(0.95 * self.HOST)
