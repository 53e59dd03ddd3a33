"""News of the cluster, whatever its order and its gaps, makes one picture."""

from heard import node, policy, state

from controller.aggregation.figures import Figures
from controller.aggregation.ledger import SILENCE_S
from controller.aggregation.news import Changed, Complete, Lost, Removed, Resumed, Seen
from controller.aggregation.picture import KINDS, NODE, POLICY, STATE, Picture, Stored

SERVER_TIME = "2026-01-31T12:00:00Z"


def everything(now: float = 0.0) -> Picture:
    """One policy, two nodes that report."""
    picture = Picture()
    picture.hear(Seen(POLICY, (policy(),), SERVER_TIME), now)
    picture.hear(Complete(POLICY, frozenset({"all"})), now)
    picture.hear(Seen(NODE, (node("a"), node("b")), SERVER_TIME), now)
    picture.hear(Complete(NODE, frozenset({"a", "b"})), now)
    picture.hear(Seen(STATE, (state("a"),), SERVER_TIME), now)
    picture.hear(Seen(STATE, (state("b"),), SERVER_TIME), now)
    picture.hear(Complete(STATE, frozenset({"a", "b"})), now)
    picture.take_changed()
    return picture


def figures(picture: Picture) -> Figures:
    return picture.ledger.figures()["all"]


def test_the_cache_is_complete_when_every_kind_was_listed_to_its_end():
    picture = Picture()
    for kind in sorted(KINDS):
        picture.hear(Seen(kind, (), SERVER_TIME), 0.0)
        assert not picture.complete
        picture.hear(Complete(kind, frozenset()), 0.0)
    assert picture.complete


def test_pages_add_up():
    picture = everything()
    assert (figures(picture).nodes, figures(picture).domains) == (2, 8)


def test_a_policy_is_remembered_with_what_stands_in_the_api_server():
    picture = everything()
    picture.hear(Changed(POLICY, policy(version="9", status={"nodes": 2})), 1.0)
    assert picture.stored == {"all": Stored("uid-all", "9", {"nodes": 2})}
    assert picture.take_changed() == {"all"}


def test_what_a_list_does_not_name_is_gone():
    picture = everything()
    picture.hear(Complete(STATE, frozenset({"a"})), 1.0)
    assert figures(picture).nodes == 1
    picture.hear(Complete(NODE, frozenset({"b"})), 1.0)
    assert figures(picture).nodes == 0
    picture.hear(Complete(POLICY, frozenset()), 1.0)
    assert (picture.ledger.policies(), picture.stored) == (frozenset(), {})


def test_what_is_removed_is_gone():
    picture = everything()
    picture.hear(Removed(STATE, "a"), 1.0)
    picture.hear(Removed(NODE, "b"), 1.0)
    assert figures(picture).nodes == 0
    picture.hear(Removed(POLICY, "all"), 1.0)
    assert picture.stored == {}
    assert picture.take_changed() == frozenset()


def test_a_change_of_labels_is_heard():
    picture = everything()
    picture.hear(Changed(POLICY, policy(generation=2, nodeSelector={"matchLabels": {"tier": "gold"}})), 1.0)
    assert figures(picture).nodes == 0
    picture.hear(Changed(NODE, node("a", tier="gold")), 1.0)
    assert figures(picture).nodes == 1


def test_a_node_whose_clock_is_years_wrong_is_as_alive_as_any():
    picture = everything()
    for minute in range(0, 60, 5):
        picture.hear(Changed(STATE, state("a", f"1999-01-01T00:{minute:02}:00Z")), minute * 60.0)
        picture.hear(Changed(STATE, state("b", f"2077-01-01T00:{minute:02}:00Z")), minute * 60.0)
        picture.expire(minute * 60.0)
    assert figures(picture).reporting_nodes == 2


def test_a_state_that_was_old_when_first_heard_of_is_unknown_in_time():
    picture = Picture()
    picture.hear(Seen(POLICY, (policy(),), SERVER_TIME), 0.0)
    picture.hear(Seen(NODE, (node("a"), node("b")), SERVER_TIME), 0.0)
    ten_minutes_ago, an_hour_ago = "2026-01-31T11:50:00Z", "2026-01-31T11:00:00Z"
    picture.hear(Seen(STATE, (state("a", written=ten_minutes_ago), state("b", written=an_hour_ago)), SERVER_TIME), 0.0)
    picture.expire(0.0)
    assert figures(picture).unknown_nodes == 1
    picture.expire(SILENCE_S - 601.0)
    assert figures(picture).unknown_nodes == 1
    picture.expire(SILENCE_S - 600.0)
    assert figures(picture).unknown_nodes == 2


def test_nobody_becomes_unknown_while_we_cannot_hear():
    picture = everything()
    picture.hear(Lost(STATE), 100.0)
    picture.expire(10 * SILENCE_S)
    assert figures(picture).unknown_nodes == 0
    picture.hear(Resumed(STATE, 10 * SILENCE_S - 100.0), 10 * SILENCE_S)
    picture.expire(10 * SILENCE_S)
    assert figures(picture).unknown_nodes == 0
    picture.expire(11 * SILENCE_S - 1.0)
    assert figures(picture).unknown_nodes == 0
    picture.expire(11 * SILENCE_S)
    assert figures(picture).unknown_nodes == 2


def test_not_hearing_of_nodes_or_policies_does_not_keep_states_from_growing_old():
    picture = everything()
    picture.hear(Lost(NODE), 0.0)
    picture.hear(Lost(POLICY), 0.0)
    picture.hear(Resumed(NODE, 800.0), 800.0)
    picture.expire(SILENCE_S)
    assert figures(picture).unknown_nodes == 2
