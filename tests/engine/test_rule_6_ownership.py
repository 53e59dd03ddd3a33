"""Rule 6: one policy owns a domain, and every policy that acts has a say in the node's budget."""

from scripted_node import Guest, policy

from controller.engine.ownership import NodeIdentity, assign


def test_a_domain_is_owned_by_priority_then_age_then_name():
    old, new = (
        {"creationTimestamp": "2026-01-01T00:00:00Z"},
        {"creationTimestamp": "2026-02-01T00:00:00Z"},
    )
    policies = [
        policy("d-no-age"),
        policy("c-new", metadata=new),
        policy("b-old", metadata=old),
        policy("a-old", metadata=old),
        policy("z-first", priority=5, metadata=new),
    ]
    assigned = assign([Guest("guest", 1, 1).facts()], policies, NodeIdentity("node"))
    assert assigned.inventory.policies == ("z-first", "a-old", "b-old", "c-new", "d-no-age")
    assert assigned.inventory.policy.tolist() == [0]
    assert assigned.conflicted == dict.fromkeys(("a-old", "b-old", "c-new", "d-no-age"), ("guest",))
