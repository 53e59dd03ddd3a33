"""What is said of policies that have no effect here, and of domains that are left alone."""

import pytest

from controller.api.documents import load
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.observe.advice import advice
from controller.observe.remarks import NAMED, Ownership, ownership

MIB = 2**20


def told(domains: list[str], **specs: str) -> Ownership:
    """Ownership of `domains` on the node `here` by policies of these names and specs."""
    head = "apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy"
    texts = [f"{{{head}, metadata: {{name: {name}}}, spec: {spec}}}" for name, spec in specs.items()]
    policies = load("\n---\n".join(texts), "test").policies
    facts = [DomainFacts(f"key-{name}", name, name, 1, 512 * MIB, 512 * MIB) for name in domains]
    return ownership(assign(facts, policies, NodeIdentity("here")), list(specs), "here")


def lines(*arguments, **specs: str) -> list[str]:
    return [remark.text for remark in told(*arguments, **specs).remarks]


def test_a_policy_that_owns_what_it_selects_needs_no_word():
    outcome = told(["web"], mine="{}")
    assert (outcome.remarks, outcome.conflicted) == ((), {})


def test_a_policy_whose_rollout_does_not_name_the_node_is_said_to_observe_and_is_no_matter_for_a_person():
    outcome = told(["web"], mine="{mode: Enforce, rollout: {maximumNodes: 1}}")
    assert [remark.text for remark in outcome.remarks] == [
        "MemoryPolicy mine says Enforce, and is only observed here: its rollout has not come to this node, as "
        "status.enforcingNodes does not name it; only a cluster has a status"
    ]
    assert (outcome.warnings, outcome.held) == ((), {"mine"})


def test_a_conflict_names_both_policies_and_the_domain():
    specs = {"first": "{}", "second": "{domainSelector: {names: [w*]}}"}
    assert lines(["web", "db"], **specs) == [
        "MemoryPolicy second is Conflicted: MemoryPolicy first owns web (of the same priority, and older or first by "
        "name); narrow what one of them selects, or change spec.priority"
    ]
    assert told(["web", "db"], **specs).conflicted == {"second": 1}


def test_of_many_conflicts_the_first_are_told_and_the_rest_is_counted():
    conflicts = lines(["web"], **{f"p{number:03}": "{}" for number in range(100)})
    assert len(conflicts) == NAMED + 1
    assert conflicts[-1] == ("94 more conflicts of MemoryPolicies; narrow what they select, or change spec.priority")


def test_as_many_as_are_told_are_not_counted_besides():
    conflicts = lines(["web"], **{f"p{number}": "{}" for number in range(NAMED + 1)})
    assert [line.split(" is ")[0] for line in conflicts] == [f"MemoryPolicy p{number + 1}" for number in range(NAMED)]
    (line,) = lines([f"vm{number}" for number in range(NAMED)], a="{}", b="{}")
    assert "owns vm0, vm1, vm2, vm3, vm4 (" in line


@pytest.mark.parametrize(
    ("specs", "line"),
    [
        ({"stop": "{mode: Pause}"}, "MemoryPolicy stop pauses this node: nothing is enforced until it is deleted"),
        (
            {"stop": "{mode: Pause}", "halt": "{mode: Pause}"},
            "MemoryPolicies halt, stop pause this node: nothing is enforced until they are deleted",
        ),
    ],
)
def test_a_pause_is_said_once_and_is_no_policy_that_selects_nothing(specs, line):
    outcome = told(["web"], mine="{mode: Enforce}", **specs)
    assert ([remark.text for remark in outcome.remarks], outcome.paused, outcome.warnings) == ([line], line, (line,))


def test_a_node_that_is_not_paused_says_nothing_of_it():
    assert told(["web"], mine="{mode: Enforce}", stop="{mode: Pause, nodeSelector: {names: [x]}}").paused == ""


def test_layers_are_said_but_are_no_conflict_and_nothing_to_mend():
    outcome = told(["web", "db"], special="{priority: 1, domainSelector: {names: [db]}}", general="{}")
    assert (outcome.conflicted, outcome.overridden, outcome.warnings) == ({}, {"general": 1}, ())
    assert [remark.text for remark in outcome.remarks] == [
        "MemoryPolicy general is overridden: a policy of higher priority owns domains that it selects"
    ]


def test_of_many_conflicting_domains_some_are_named_and_all_are_counted():
    names = [f"vm{number}" for number in range(NAMED + 2)]
    (line,) = lines(names, a="{}", b="{}")
    assert "owns vm0, vm1, vm2, vm3, vm4 and 2 more (" in line


def test_a_selector_that_matches_no_domain_is_said():
    assert lines(["web"], rest="{}", typo="{domainSelector: {names: [wbe]}}") == [
        "MemoryPolicy typo selects no domain of this node; check its selectors"
    ]


def test_many_selectors_that_match_no_domain_are_one_line():
    typos = {f"typo{number}": "{domainSelector: {names: [wbe]}}" for number in range(8)}
    assert lines(["web"], rest="{}", **typos) == [
        "MemoryPolicies typo0, typo1, typo2, typo3, typo4 and 3 more select no domain of this node; "
        "check their selectors"
    ]


def test_on_a_node_without_domains_no_selector_is_to_blame():
    assert lines([], some="{domainSelector: {names: [web]}}") == []


def test_a_policy_for_other_nodes_is_said():
    assert lines(["web"], rest="{}", far="{nodeSelector: {names: [there]}}") == [
        "MemoryPolicy far is not for this node, here; check its nodeSelector, if that is not meant"
    ]


def test_policies_for_other_nodes_are_nothing_to_mend_and_one_line():
    outcome = told(["web"], rest="{}", **{f"far{number:03}": "{nodeSelector: {names: [no]}}" for number in range(100)})
    assert outcome.warnings == ()
    assert [remark.text for remark in outcome.remarks] == [
        "MemoryPolicies far000, far001, far002, far003, far004 and 95 more are not for this node, here; "
        "check their nodeSelectors, if that is not meant"
    ]


def test_without_any_policy_that_is_said():
    assert lines(["web"]) == ["no MemoryPolicy is in force: every domain is left alone"]


@pytest.mark.parametrize("reason", ["NoStatistics", "StaleStatistics"])
def test_observe_tells_how_to_turn_statistics_on_as_it_changes_nothing_itself(reason):
    assert "virsh dommemstat 'my vm' --period 5 --live" in advice(reason, "my vm", "Observe", "")


def test_under_enforce_silence_is_the_guests():
    assert advice("StaleStatistics", "web", "Enforce", "") == (
        "is the guest's virtio_balloon driver loaded, and the guest alive?"
    )


def test_wishes_that_are_not_valid_are_explained():
    assert advice("InvalidWishes", "web", "Observe", "weight 'x': not a weight") == "weight 'x': not a weight"


@pytest.mark.parametrize("mode", ["Observe", "Enforce", None])
def test_other_reasons_speak_for_themselves(mode):
    assert advice("Paused", "web", mode, "irrelevant") == ""


def test_a_guest_that_gives_the_host_nothing_is_told_of_with_what_to_look_for():
    assert advice("NotReturned", "web", "Enforce", "").startswith("does a device, a lock or another process hold")
    assert advice("CommandLine", "web", "Observe", "").startswith("say it with libvirt's <memoryBacking>")
