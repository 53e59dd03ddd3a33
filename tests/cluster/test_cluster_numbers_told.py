"""Numbers of an agent and an aggregator that the documents tell: whoever changes one changes the other."""

import pytest

from controller.aggregation.ratelimiter import SPACING_S
from controller.aggregation.rollup import STALE_AFTER_S
from controller.api.policy import Spec
from controller.cluster import kopfwatch, nodeevents, policies, policyevents, worker
from controller.cluster.cache import MAXIMUM_SIZE as MAXIMUM_SIZE_OF_THE_CACHE
from controller.cluster.client import (
    ANSWER_S,
    CONNECT_S,
    MAXIMUM_ANSWER,
    MAXIMUM_LIST,
    MAXIMUM_PAGES,
    WATCH_GRACE_S,
    WATCH_S,
)
from controller.cluster.election import LEASE_DURATION_S, RENEW_DEADLINE_S, RETRY_S
from controller.cluster.findings import _LACKING, SILENT_PART
from controller.cluster.report import MAXIMUM_SIZE, NEWS_PART
from controller.cluster.reporter import GAP_S, HERD_S, REFRESH_S, SETTLED_S, STANDS_S, URGENT_S
from controller.cluster.shape import LEVELS
from controller.host.connection import CLOSE_S

MIB = 2**20
HALF_AN_HOUR, FIVE_MINUTES = 1800, 300


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("SECURITY.md", f"A request and its whole answer have {ANSWER_S:g} s"),
        ("SECURITY.md", f"a watch {WATCH_GRACE_S:g} s more than was agreed"),
        ("SECURITY.md", f"no answer and no event of a watch is read beyond {MAXIMUM_ANSWER / MIB:g} MiB"),
        *(("crds/README.md", f"| `{reason}` | {hold:g} s |") for reason, _, hold in _LACKING),
        ("crds/README.md", f"stopped reporting: nothing new for {STALE_AFTER_S / 60:g} minutes"),
    ],
)
def test_a_number_of_the_code_is_the_one_that_is_told(page, path, sentence):
    assert sentence in page(path)


def test_events_come_again_as_often_as_is_told(page):
    assert (nodeevents.REPEAT_S, nodeevents.QUIET_S, policyevents.QUIET_S) == (
        HALF_AN_HOUR,
        FIVE_MINUTES,
        FIVE_MINUTES,
    )
    assert "again after half an hour while it lasts, and about one reason every five minutes at most" in page(
        "crds/README.md"
    )
    assert "at most one a condition every five minutes" in page("crds/README.md")
    assert SILENT_PART == 1 / 2
    assert "Half of the domains or more send no statistics" in page("crds/README.md")


def test_a_node_is_unknown_when_three_reports_are_missing_and_writes_no_more_than_a_large_cluster_bears():
    assert STALE_AFTER_S == 3 * REFRESH_S
    assert 1 / SETTLED_S <= 0.02 < 2 / SETTLED_S
    assert URGENT_S < SETTLED_S


def test_a_state_leaves_the_api_server_room_for_its_own_fields():
    assert 4000 < MAXIMUM_SIZE + 720 <= 4096


def test_the_leader_stands_back_before_others_may_lead_and_tries_several_times_before_that():
    assert 3 * RETRY_S < RENEW_DEADLINE_S < LEASE_DURATION_S


def test_objects_are_as_deep_as_policies_in_files_may_be(page):
    assert f"{LEVELS} levels" in page("SECURITY.md")


def test_connections_answers_lists_and_watches_take_ever_longer():
    assert CONNECT_S < ANSWER_S < policies.RELIST_S < WATCH_S
    assert (kopfwatch.CONNECT_S, kopfwatch.REQUEST_S) == (CONNECT_S, ANSWER_S)


def test_a_kopf_that_fails_is_given_more_time_than_one_that_begins():
    assert policies.AGAIN_S < kopfwatch.BEGIN_S < kopfwatch.RAN_S <= kopfwatch.AWAY_S < kopfwatch.LONGEST_S


def test_threads_end_within_the_time_that_kubernetes_grants():
    assert kopfwatch.ENDING_S + worker.ENDING_S < CLOSE_S < 30
    assert kopfwatch.ENDING_S == worker.ENDING_S


def test_answers_and_lists_have_room_for_what_clusters_have():
    page_of_the_largest, ordinary, node = 3 * MIB, 3 * 2**10, 8 * 2**10
    assert 2 * page_of_the_largest < MAXIMUM_ANSWER < 4 * page_of_the_largest
    assert 10_000 * ordinary < MAXIMUM_LIST < 20_000 * ordinary
    assert 100_000 * node < MAXIMUM_PAGES < 200_000 * node


def test_a_thousand_ordinary_policies_fit_into_the_cache():
    assert 1000 * 2**10 < MAXIMUM_SIZE_OF_THE_CACHE / 2 < 4 * 1000 * 2**10


def test_sums_are_news_when_they_change_by_more_than_what_is_worth_a_move(page):
    assert NEWS_PART == Spec().advanced.threshold.percent / 100 == 1 / 10
    assert "sums of memory that change by a tenth of what the domains have, within a minute" in page("crds/README.md")


def test_reports_are_spread_within_the_time_that_sums_take_anyhow():
    assert GAP_S < HERD_S < 2 * SPACING_S < 2 * URGENT_S
    assert STANDS_S == SETTLED_S
