"""What is known of the cluster's policies, whoever told of them: lists, the watch, the cache."""

import errno
import logging
import os
import threading
from pathlib import Path

import pytest
from fake_api import AWAY, FakeApi, policy

from controller.api.documents import Loaded
from controller.cluster.cache import FILE, Cache
from controller.cluster.errors import ApiError
from controller.cluster.kopfwatch import Stop
from controller.cluster.policies import CACHE_S, RELIST_S, ClusterPolicies
from controller.cluster.resources import Object
from controller.cluster.store import PolicyStore, load_here
from controller.engine.ownership import NodeIdentity
from lab.daemons import until

NODE = NodeIdentity("here", eviction=100)


class ManualPolicies:
    """A ClusterPolicies whose threads do not run: the test is every thread."""

    def __init__(self, folder: Path) -> None:
        self.api = FakeApi()
        self.woken = 0
        self.kopf = 0
        cache = Cache(folder, "here")
        self.policies = ClusterPolicies(self.api, object, NODE, cache, self._wake, lambda: 0.0, self._run)
        self.policies._kopf.worker = _NoThread()

    def names(self) -> list[str]:
        """Of the policies in force."""
        return [each.name for each in self.policies.current()[1]]

    def know(self, *policies: object) -> None:
        """As after a good start: the Node and a list."""
        self.policies.node_told({"name": "here", "uid": "node-uid", "labels": {"tier": "gold"}, "withheld": 0})
        self.api.set(*policies)
        self.policies.relist()

    def _wake(self) -> None:
        self.woken += 1

    def _run(self, *_: object) -> None:
        self.kopf += 1


class _NoThread:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wake(self) -> None:
        pass


@pytest.fixture
def source(tmp_path: Path) -> ManualPolicies:
    return ManualPolicies(tmp_path)


def test_nothing_is_known_until_list_and_node_are_there(source):
    assert source.policies.current() == (0, ())
    assert source.policies.awaited == "the first list of MemoryPolicies and the Node here"
    assert source.policies.node_uid == ""
    source.api.set(policy("a", 1))
    source.policies.relist()
    version, policies = source.policies.current()
    assert (version, policies) == (1, ())
    assert source.policies.awaited == "the Node here"
    source.policies.node_told({"name": "here", "uid": "u", "labels": {"tier": "gold"}, "withheld": 0})
    version, policies = source.policies.current()
    assert (version, [each.name for each in policies], source.policies.awaited) == (2, ["a"], "")
    assert (source.policies.node.labels, source.policies.node_uid) == ({"tier": "gold"}, "u")


def test_an_empty_list_is_an_answer(source):
    source.know()
    assert source.policies.current() == (1, ())
    assert source.policies.awaited == ""


def test_events_count_at_once_and_wake_the_loop(source):
    source.know(policy("a", 1))
    before = source.woken
    source.policies.told("ADDED", policy("b", 200))
    assert (source.names(), source.woken) == (["a", "b"], before + 1)
    source.policies.told("DELETED", policy("a", 201))
    assert (source.names(), source.woken) == (["b"], before + 2)


def test_news_that_make_no_sense_are_said_until_others_do(source, caplog):
    caplog.set_level("INFO", "controller")
    source.know()
    for told in ({"metadata": {}}, policy("b", 200)):
        source.policies.told("ADDED", told)
    odd, well, _ = caplog.messages[-3:]
    assert "metadata.name" in odd
    assert well == f"{odd.partition(':')[0]}: works again"
    assert source.names() == ["b"]


def test_an_event_that_changes_nothing_of_the_policy_wakes_nobody(source):
    source.know(policy("a", 1))
    version, before = source.policies.current()[0], source.woken
    told = policy("a", 1)
    told["metadata"]["resourceVersion"] = "300"
    source.policies.told("MODIFIED", told | {"status": {"nodes": 3}})
    assert (source.policies.current()[0], source.woken) == (version, before)


def test_the_list_repairs_what_the_watch_missed(source):
    source.know(policy("a", 1), policy("b", 2))
    source.api.set(policy("b", 2))
    woken = source.woken
    assert RELIST_S * 0.8 <= source.policies.relist() <= RELIST_S * 1.2
    assert (source.names(), source.woken) == (["b"], woken + 1)


def test_when_a_watch_begins_what_it_missed_is_listed(source):
    source.know(policy("a", 1))
    source.policies._lister._woken.clear()
    source.policies.told(None, {})
    assert source.policies._lister._woken.is_set()


def test_a_list_during_which_something_was_told_is_asked_for_again(source):
    source.know(policy("a", 1))

    def change() -> None:
        source.api.meanwhile = lambda: None
        source.api.set(policy("a", 1), policy("b", 200))
        source.policies.told("ADDED", policy("b", 200))

    source.api.meanwhile = change
    lists = source.api.lists
    source.policies.relist()
    assert (source.api.lists - lists, source.names()) == (2, ["a", "b"])


def test_a_list_that_never_comes_to_rest_changes_nothing_and_is_tried_again_soon(source):
    source.know(policy("a", 1))
    versions = iter(range(200, 300))
    source.api.meanwhile = lambda: source.policies.told(
        "MODIFIED", policy("a", version := next(versions), weight=version)
    )
    source.api.set()
    assert source.policies.relist() <= 1.0
    assert source.names() == ["a"]


def restored(source: ManualPolicies) -> None:
    """From a backup that knows an older `a` and no `b`, by way of an API server that was away."""
    source.api.version = 50
    source.api.set(policy("a", 40, mode="Enforce"))
    source.policies.relist()


def test_a_cluster_restored_from_a_backup_is_believed_at_once(source):
    source.know(policy("a", 90))
    source.policies.told("ADDED", policy("b", 5000))
    restored(source)
    assert [(each.name, each.spec.mode) for each in source.policies.current()[1]] == [("a", "Enforce")]


def test_after_a_restore_what_is_told_counts_though_its_version_is_older_than_what_was_known(source):
    source.know(policy("a", 90))
    source.policies.told("ADDED", policy("b", 5000))
    restored(source)
    source.policies.told("MODIFIED", policy("a", 60, mode="Observe"))
    source.policies.told("ADDED", policy("c", 61))
    assert [(each.name, each.spec.mode) for each in source.policies.current()[1]] == [
        ("a", "Observe"),
        ("c", "Observe"),
    ]


def test_what_the_list_knew_already_is_let_pass_when_it_is_told_late(source):
    source.know(policy("a", 90, mode="Enforce"))
    source.policies.told("MODIFIED", policy("a", 80, mode="Observe"))
    source.policies.told("MODIFIED", policy("deleted", 85))
    assert [(each.name, each.spec.mode) for each in source.policies.current()[1]] == [("a", "Enforce")]


def test_old_news_does_not_undo_new():
    store = PolicyStore("node-a")
    store.put(policy("a", 20, mode="Enforce"))
    assert not store.put(policy("a", 10, mode="Observe"))
    assert not store.remove(policy("a", 15))
    assert store.known.policies[0].spec.mode == "Enforce"


def test_an_unreadable_policy_is_said_once_and_its_last_good_version_stays(source, caplog):
    caplog.set_level(logging.INFO, "controller")
    source.know(policy("a", 1, mode="Enforce"), policy("b", 2))
    broken = policy("a", 200, mode="Observe", moonPhase="full")
    for _ in range(2):
        source.policies.told("MODIFIED", broken)
    assert [(each.name, each.spec.mode) for each in source.policies.current()[1]] == [
        ("a", "Enforce"),
        ("b", "Observe"),
    ]
    (problem,) = source.policies.problems
    assert problem.startswith("MemoryPolicy a: spec.moonPhase: 'full': unknown field; remove it; known here: ")
    assert caplog.text.count("moonPhase") == 1
    assert "MemoryPolicy a: refused; its last good version stays in force" in caplog.text
    source.policies.told("MODIFIED", policy("a", 201, mode="Observe"))
    assert source.policies.problems == ()
    assert source.policies.current()[1][0].spec.mode == "Observe"


def test_a_policy_without_a_spec_is_one_of_defaults(source):
    source.know(policy("a", 1))
    bare = policy("b", 201) | {"status": {"enforcingNodes": ["here"]}}
    del bare["spec"]
    source.policies.told("ADDED", bare)
    assert source.names() == ["a", "b"]


def test_a_policy_made_anew_inherits_nothing_from_its_namesake(source):
    source.know(policy("a", 1, mode="Enforce"))
    source.policies.told("ADDED", policy("a", 200, uid="another", mode="Sometimes"))
    assert source.names() == []


def test_a_deleted_policy_of_which_a_version_was_refused_is_gone(source):
    source.know(policy("a", 1))
    source.policies.told("MODIFIED", policy("a", 200, mode="Sometimes"))
    source.policies.told("DELETED", policy("a", 201, mode="Sometimes"))
    assert (source.names(), source.policies.problems) == ([], ())


def test_what_the_kubelet_keeps_is_known_from_the_start_and_what_it_withholds_with_the_node(source):
    assert (source.policies.node.withheld, source.policies.node.eviction) == (0, 100)
    source.policies.relist()
    version, _ = source.policies.current()
    source.policies.node_told({"name": "here", "uid": "u", "labels": {}, "withheld": 7})
    assert source.policies.current()[0] > version
    assert (source.policies.node.withheld, source.policies.node.eviction) == (7, 100)


def test_a_change_of_labels_is_a_new_version(source):
    source.know(policy("a", 1))
    before, woken = source.policies.current()[0], source.woken
    source.policies.node_told({"name": "here", "uid": "node-uid", "labels": {"tier": "lead"}, "withheld": 0})
    assert source.woken == woken + 1
    assert source.policies.current()[0] == before + 1
    assert source.policies.node.labels == {"tier": "lead"}


def test_policies_stay_while_the_api_server_is_away_and_it_is_said_once(source, caplog):
    source.know(policy("a", 1))
    source.api.fails = AWAY
    pauses = [source.policies.relist() for _ in range(9)]
    assert source.names() == ["a"]
    assert all(pause <= 15 for pause in pauses)
    assert caplog.text.count("connection refused") == 1
    assert (source.policies.outage, source.policies.problems) == (f"MemoryPolicies: {AWAY}", ())
    source.api.fails = None
    source.api.set()
    source.policies.relist()
    assert (source.names(), source.policies.outage) == ([], "")


def test_a_missing_kind_is_told_with_the_remedy(source):
    source.api.fails = ApiError(404, "NotFound", "the server could not find the requested resource (404 NotFound)")
    source.policies.relist()
    assert "kubectl apply -k crds" in source.policies.outage


def test_an_agent_started_while_the_api_server_is_away_goes_on_with_what_was_known_last(tmp_path):
    before = ManualPolicies(tmp_path)
    before.know(policy("a", 1, mode="Enforce"))
    after = ManualPolicies(tmp_path)
    after.api.fails = AWAY
    assert after.policies.current() == (0, ())
    after.policies.relist()
    assert [(each.name, each.spec.mode) for each in after.policies.current()[1]] == [("a", "Enforce")]
    assert (after.policies.node.labels, after.policies.node_uid) == ({"tier": "gold"}, "node-uid")
    assert (after.policies.awaited, after.woken) == ("", 1)


def test_what_the_cache_knows_is_not_lost_when_the_node_is_heard_before_the_list(tmp_path):
    ManualPolicies(tmp_path).know(policy("a", 1))
    ManualPolicies(tmp_path).policies.node_told({"name": "here", "uid": "u", "labels": {}, "withheld": 0})
    assert [each["metadata"]["name"] for each in Cache(tmp_path, "here").read().policies] == ["a"]


def test_the_cache_does_not_count_when_the_api_server_answers(tmp_path):
    ManualPolicies(tmp_path).know(policy("a", 1))
    after = ManualPolicies(tmp_path)
    after.know(policy("b", 2))
    assert after.names() == ["b"]


def test_what_the_cache_knew_is_inherited_as_soon_as_the_list_is_there(tmp_path):
    ManualPolicies(tmp_path).know(policy("a", 1, mode="Enforce"), policy("b", 2))
    after = ManualPolicies(tmp_path)
    assert after.policies.inherited == ()
    after.know(policy("b", 2))
    assert [(each.name, each.spec.mode) for each in after.policies.inherited] == [("a", "Enforce"), ("b", "Observe")]


def test_a_policy_that_had_come_to_this_node_is_inherited_as_one_that_enforced(tmp_path):
    rolled = [policy(name, 1, mode="Enforce", rollout={"maximumNodes": 1}) for name in ("a", "b")]
    named = [
        each | {"status": {"observedGeneration": 1, "enforcingNodes": [node]}}
        for each, node in zip(rolled, ("here", "there"), strict=True)
    ]
    ManualPolicies(tmp_path).know(*named)
    after = ManualPolicies(tmp_path)
    after.know()
    assert [(each.name, each.spec.rollout is None) for each in after.policies.inherited] == [("a", True), ("b", False)]


def test_nobody_is_told_that_all_is_known_before_what_is_inherited_is(tmp_path, monkeypatch):
    ManualPolicies(tmp_path).know(policy("a", 1))
    after, awaited = ManualPolicies(tmp_path), []
    after.policies.node_told({"name": "here", "uid": "node-uid", "labels": {}, "withheld": 0})

    def slow(content: Object, where: str, node: str) -> Loaded:
        after.policies.current()
        awaited.append(after.policies.awaited)
        return load_here(content, where, node)

    monkeypatch.setattr("controller.cluster.policies.load_here", slow)
    after.policies.relist()
    assert awaited == ["the first list of MemoryPolicies"]


def test_the_first_agent_of_a_node_inherits_nothing(source):
    source.know(policy("a", 1))
    assert source.policies.inherited == ()


def test_the_list_replaces_what_the_cache_said(tmp_path):
    ManualPolicies(tmp_path).know(policy("a", 1))
    after = ManualPolicies(tmp_path)
    after.api.fails = AWAY
    after.policies.relist()
    after.api.fails = None
    after.api.set(policy("b", 2))
    after.policies.relist()
    assert after.names() == ["b"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format":2,"node":{},"policies":[]}',
        b'{"format":1,"node":{"name":"elsewhere","uid":"u"},"policies":[]}',
        b'{"format":1,"node":{"name":"here"},"policies":[]}',
        b'{"format":1,"node":{"name":"here","uid":"u","labels":{"a":1},"withheld":0},"policies":[]}',
        b'{"format":1,"node":"here","policies":[]}',
        b'{"format":1,"node":{"name":"here","uid":"u"},"policies":[]}',
        b'{"format":1,"node":{"name":"here","uid":"u","withheld":"1Gi"},"policies":[]}',
        b'{"format":1,"node":{"name":"here","uid":"u","withheld":0},"policies":[1]}',
        b"[" * 100_000,
        b" " * (4 * 2**20 + 1),
    ],
)
def test_a_cache_that_makes_no_sense_is_said_and_ignored(tmp_path, content, caplog):
    (tmp_path / FILE).write_bytes(content)
    source = ManualPolicies(tmp_path)
    source.api.fails = AWAY
    source.policies.relist()
    assert source.policies.current() == (0, ())
    assert "the first list" in source.policies.awaited
    assert f"{FILE}: ignored" in caplog.text


def test_a_policy_of_the_cache_is_validated_as_any_other(tmp_path):
    ManualPolicies(tmp_path).know(policy("a", 1), policy("b", 2, weight=300))
    file = tmp_path / FILE
    file.write_text(file.read_text().replace('"weight":300', '"weight":-3'))
    after = ManualPolicies(tmp_path)
    after.api.fails = AWAY
    after.policies.relist()
    assert after.names() == ["a"]
    assert "spec.weight: '-3': out of range" in after.policies.problems[0]


def full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_cache_that_could_not_be_written_is_written_at_the_next_list_soon(source, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    source.know(policy("a", 1))
    assert [*tmp_path.iterdir()] == []
    assert 0 < source.policies.relist() <= 1.2 * CACHE_S
    monkeypatch.undo()
    assert source.policies.relist() >= 0.8 * RELIST_S
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_a_change_that_could_not_be_cached_has_the_next_try_brought_forward(source, monkeypatch):
    source.know(policy("a", 1))
    source.policies._lister._woken.clear()
    source.policies.told("MODIFIED", policy("a", 200, priority=1))
    assert not source.policies._lister._woken.is_set()
    monkeypatch.setattr(os, "fsync", full_disk)
    source.policies.told("MODIFIED", policy("a", 201, priority=2))
    assert source.policies._lister._woken.is_set()


def test_the_cache_is_let_go_once_the_list_is_there(tmp_path):
    ManualPolicies(tmp_path).know(policy("a", 1))
    after = ManualPolicies(tmp_path)
    after.know(policy("b", 2))
    assert after.policies._last_known is None


def test_the_cache_is_written_only_when_something_changed(source, tmp_path):
    source.know(policy("a", 1))
    written = (tmp_path / FILE).stat().st_ino
    source.policies.relist()
    assert (tmp_path / FILE).stat().st_ino == written
    source.policies.told("ADDED", policy("b", 500))
    assert (tmp_path / FILE).stat().st_ino != written
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_threads_learn_of_node_and_policies_and_watch_until_the_end(tmp_path):
    api = FakeApi()
    api.set_node(tier="gold")
    api.set(policy("a", 1))
    watches: list[Stop] = []

    def watch(_load: object, _tell: object, stop: Stop) -> None:
        ended = threading.Event()
        stop.add_done_callback(lambda _: ended.set())
        watches.append(stop)
        ended.wait()

    policies = ClusterPolicies(api, object, NODE, Cache(tmp_path, "here"), lambda: None, lambda: 0.0, watch)
    before = set(threading.enumerate())
    with policies:
        until(lambda: watches and policies.current()[1], 30, "node and policies are known, and watched")
        assert policies.node.labels == {"tier": "gold"}
    assert set(threading.enumerate()) <= before


def test_a_first_list_that_comes_after_the_end_begins_nothing(source):
    entered: list[str] = []

    class Entered(_NoThread):
        def __enter__(self) -> None:
            entered.append("kopf")

    source.policies._kopf.worker = Entered()
    source.api.fails = AWAY
    with source.policies._lister:
        pass
    source.api.fails = None
    source.policies.relist()
    assert entered == []


def test_a_refusal_is_no_new_version_of_what_is_in_force(source):
    source.know(policy("a", 1))
    before = source.policies.current()
    known = source.policies._store.known.version
    source.policies.told("MODIFIED", policy("a", 200, moonPhase="full"))
    assert source.policies._store.known.version == known
    assert source.policies.problems
    source.policies.told("MODIFIED", policy("a", 201, weight=7))
    assert source.policies._store.known.version == known + 1
    assert source.policies.current()[1] != before[1]


def test_going_on_from_the_cache_is_said(source, caplog):
    source.know(policy("a", 1))
    again = ManualPolicies(source.policies._cache._file.parent)
    again.api.fails = AWAY
    again.policies.relist()
    assert "the API server does not answer: going on with the 1 MemoryPolicies known last" in caplog.text


def test_a_list_that_says_nothing_new_changes_nothing(source):
    source.know(policy("a", 1))
    woken = source.woken
    source.policies.relist()
    source.api.version += 1
    source.policies.relist()
    assert source.woken == woken


def test_a_cache_folder_is_made_with_those_above_it(tmp_path):
    Cache(tmp_path / "a" / "b", "here")
    assert (tmp_path / "a" / "b").is_dir()


def test_going_on_from_the_cache_is_said_once_and_what_was_heard_of_the_node_since_stays(source, caplog):
    source.know(policy("a", 1))
    again = ManualPolicies(source.policies._cache._file.parent)
    again.policies.node_told({"name": "here", "uid": "node-uid", "labels": {"tier": "lead"}, "withheld": 0})
    again.api.fails = AWAY
    again.policies.relist()
    again.policies.relist()
    again.policies.current()
    assert caplog.text.count("known last") == 1
    assert again.policies.node.labels == {"tier": "lead"}
