"""What the store makes of lists and news: which is newer, what is refused, what is said."""

import pytest

from controller.cluster.store import PolicyStore, load_here


def policy(name: str = "a", version: int = 1, uid: str = "u1", **spec: object) -> dict:
    return {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": name, "uid": uid, "resourceVersion": str(version), "labels": {"not": "read"}},
        "spec": spec,
    }


def broken(name: str = "a", version: int = 1, **more: str) -> dict:
    return policy(name, version, mode="Dream", **more)


@pytest.fixture
def store() -> PolicyStore:
    """One policy, listed at version 10."""
    store = PolicyStore("node-a")
    assert store.replace([policy(version=5)], "10", store.told) is True
    return store


def weights(store: PolicyStore) -> dict[str, int]:
    return {each.name: each.spec.weight for each in store.known.policies}


@pytest.mark.parametrize(("version", "taken"), [(9, False), (10, False), (11, True)])
def test_news_that_the_list_knew_is_let_pass(store, version, taken):
    before = store.told
    assert store.put(policy(version=version, weight=7)) is taken
    assert weights(store) == {"a": 7 if taken else 100}
    assert store.told - before == int(taken)


def test_news_older_than_other_news_is_let_pass(store):
    store.put(policy(version=20, weight=2))
    before = store.told
    assert not store.put(policy(version=19, weight=1))
    assert (weights(store), store.told) == ({"a": 2}, before)


def test_news_that_says_nothing_new_moves_the_version_on_and_changes_nothing(store):
    before = store.known
    assert not store.put(policy(version=30))
    assert store.known is before
    assert not store.put(policy(version=29, weight=1))


@pytest.mark.parametrize(("version", "gone"), [(19, False), (20, True), (21, True)])
def test_a_policy_that_was_changed_after_it_was_deleted_stays(store, version, gone):
    store.put(policy(version=20, weight=2))
    before = store.told
    assert store.remove(policy(version=version)) is gone
    assert weights(store) == ({} if gone else {"a": 2})
    assert store.told - before == int(gone)


def test_a_policy_that_is_not_known_cannot_be_removed(store):
    before = store.told
    assert not store.remove(policy("other", 99))
    assert store.told == before


def test_a_list_that_was_asked_for_before_the_last_news_is_not_taken(store):
    asked = store.told
    store.put(policy(version=20, weight=2))
    assert store.replace([policy(version=5)], "20", asked) is None
    assert weights(store) == {"a": 2}


def test_a_list_counts_whatever_versions_were_known_before(store):
    store.put(policy(version=50, weight=5))
    assert store.replace([policy(version=7, weight=7), policy("b", 8)], "9", store.told) is True
    assert weights(store) == {"a": 7, "b": 100}
    assert store.put(policy(version=10, weight=1))


def test_what_is_not_in_a_list_is_gone(store):
    assert store.replace([], "11", store.told) is True
    assert store.known.policies == store.known.contents == ()
    assert store.replace([], "12", store.told) is False


def test_the_version_of_what_is_known_grows_with_the_policies_and_not_with_refusals(store):
    before = store.known.version
    assert store.put(broken("b", 11))
    assert store.known.version == before
    (problem,) = store.known.problems
    assert problem.startswith("MemoryPolicy b: spec.mode: 'Dream'")
    assert store.put(policy(version=12, weight=2))
    assert store.known.version == before + 1


def test_a_version_that_is_refused_leaves_the_last_good_one_in_force(store, caplog):
    caplog.set_level("INFO", "controller")
    assert store.put(broken(version=11))
    assert weights(store) == {"a": 100}
    assert [each["metadata"]["name"] for each in store.known.contents] == ["a"]
    assert not store.put(broken(version=12, weight=3))  # with the same words
    assert store.put(policy(version=13, weight=4))
    assert [record.message for record in caplog.records if "refused" in record.message] == [
        "MemoryPolicy a: refused; its last good version stays in force"
    ] * 2
    assert [record.message for record in caplog.records][-2:] == [
        "MemoryPolicy a: accepted",
        "MemoryPolicies in force: a",
    ]


def test_a_policy_that_is_refused_from_the_first_is_not_in_force(store, caplog):
    store.put(broken("b", 11))
    assert weights(store) == {"a": 100}
    assert "MemoryPolicy b: refused; nothing of it is in force" in caplog.messages


def test_a_policy_made_anew_is_not_its_namesake(store):
    assert store.put(broken(version=11, uid="u2"))
    assert weights(store) == {}


def test_policies_in_force_are_said_in_order_when_they_change(store, caplog):
    caplog.set_level("INFO", "controller")
    store.put(policy("c", 11))
    store.put(policy("b", 12))
    store.replace([], "13", store.told)
    assert [message for message in caplog.messages if "in force:" in message] == [
        "MemoryPolicies in force: a, c",
        "MemoryPolicies in force: a, b, c",
        "MemoryPolicies in force: none",
    ]


def test_what_is_kept_of_a_policy_is_what_it_is_read_from(store):
    (content,) = store.known.contents
    assert content == {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": "a", "uid": "u1"},
        "spec": {},
    }


def test_listed_objects_may_leave_out_their_kind(store):
    listed = {name: value for name, value in policy("b").items() if name not in {"kind", "apiVersion"}}
    assert store.replace([listed], "11", store.told) is True
    assert weights(store) == {"b": 100}


@pytest.mark.parametrize("version", [19, 20, 21, 99])
def test_the_end_of_a_predecessor_is_not_that_of_the_policy_that_has_its_name_whenever_it_is_told(store, version):
    store.put(policy(version=20, uid="u2", weight=2))
    before = store.told
    assert not store.remove(policy(version=version))
    assert (weights(store), store.told) == ({"a": 2}, before)


ROLLED = {"mode": "Enforce", "rollout": {"maximumNodes": 1}}


def rolled(status: object, version: int = 20, generation: int = 3, **spec: object) -> dict:
    told = policy(version=version, **(ROLLED | spec))
    told["metadata"]["generation"] = generation
    return told | {"status": status}


def holds_back(store: PolicyStore) -> bool:
    (known,) = store.known.policies
    return known.spec.rollout is not None


@pytest.mark.parametrize(
    ("status", "held"),
    [
        ({"observedGeneration": 3, "enforcingNodes": ["a", "node-a"]}, False),
        ({"observedGeneration": 3, "enforcingNodes": ["a", "node-b"]}, True),
        ({"observedGeneration": 2, "enforcingNodes": ["node-a"]}, True),
        ({"observedGeneration": 4, "enforcingNodes": ["node-a"]}, True),
        ({"enforcingNodes": ["node-a"]}, True),
        ({"observedGeneration": 3}, True),
        ({"observedGeneration": 3, "enforcingNodes": "node-a"}, True),
        ({"observedGeneration": 3, "enforcingNodes": None}, True),
        ({"observedGeneration": 3, "enforcingNodes": [["node-a"], None, {}]}, True),
        (["node-a"], True),
        (None, True),
    ],
)
def test_a_rollout_holds_until_the_status_of_this_generation_names_the_node(store, status, held):
    assert store.put(rolled(status))
    assert holds_back(store) is held


def test_a_policy_whose_generation_is_not_told_is_held_back(store):
    told = rolled({"enforcingNodes": ["node-a"], "observedGeneration": None})
    del told["metadata"]["generation"]
    store.put(told)
    assert holds_back(store)


def test_a_node_that_is_named_and_then_no_longer_is_news_each_time(store):
    store.put(rolled({"observedGeneration": 3, "enforcingNodes": []}))
    assert store.put(rolled({"observedGeneration": 3, "enforcingNodes": ["node-a"]}, version=21))
    assert not holds_back(store)
    assert store.put(rolled({"observedGeneration": 3, "enforcingNodes": ["node-b"]}, version=22))
    assert holds_back(store)


def test_a_changed_spec_holds_back_until_its_own_status_names_the_node(store):
    status = {"observedGeneration": 3, "enforcingNodes": ["node-a"]}
    store.put(rolled(status))
    store.put(rolled(status, version=21, generation=4, weight=7))
    assert holds_back(store)
    store.put(rolled(status | {"observedGeneration": 4}, version=22, generation=4, weight=7))
    assert not holds_back(store)


def test_the_last_good_version_of_a_policy_that_is_refused_is_held_back_also_after_a_restart(store):
    status = {"observedGeneration": 3, "enforcingNodes": ["node-a"]}
    store.put(rolled(status))
    assert not holds_back(store)
    store.put(rolled(status | {"observedGeneration": 4}, version=21, generation=4, moonPhase="full"))
    assert holds_back(store)
    (kept,) = load_here(store.known.contents[0], "the cache", "node-a").policies
    assert (kept.spec.rollout is not None, kept.spec.mode) == (True, "Enforce")


def test_the_rest_of_a_status_is_no_news(store):
    status = {"observedGeneration": 3, "enforcingNodes": ["node-a"]}
    store.put(rolled(status))
    assert not store.put(rolled(status | {"looks": 7}, version=21))
    store.put(policy(version=30))
    before = store.told
    assert not store.put(policy(version=31) | {"status": status})
    assert store.told == before


def test_what_a_status_named_is_kept_with_the_policy_for_the_cache(store):
    status = {"observedGeneration": 3, "enforcingNodes": ["node-a"]}
    store.put(rolled(status | {"looks": 7}))
    (content,) = store.known.contents
    assert content["status"] == status
