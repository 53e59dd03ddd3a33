"""Events of policies: what stands in them, and that what flaps is not told again and again."""

from typing import Any

from controller.cluster.errors import ApiError
from controller.cluster.policyevents import QUIET_S, PolicyEvents

STUCK = {"type": "Degraded", "status": "True", "reason": "DomainsStuck", "message": "the balloon does not move"}
MENDED = {"type": "Degraded", "status": "False", "reason": "AsExpected", "message": "nothing needs a person"}


class Scribe:
    """Events, the clock in hand, and what was written."""

    def __init__(self) -> None:
        self.now = 0.0
        self.error: ApiError | None = None
        self.written: list[dict[str, Any]] = []
        self.events = PolicyEvents(self, "me", lambda: self.now, lambda: self.now)

    def create(self, _resource: Any, event: dict[str, Any], *, namespace: str) -> None:
        assert namespace == event["metadata"]["namespace"] == "default"
        if self.error is not None:
            raise self.error
        self.written.append(event)


def test_an_event_says_what_the_condition_says():
    scribe = Scribe()
    scribe.events.tell("all", "u1", STUCK)
    (event,) = scribe.written
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "DomainsStuck", "the balloon does not move")
    assert (event["regarding"]["name"], event["regarding"]["uid"]) == ("all", "u1")
    assert event["eventTime"] == "1970-01-01T00:00:00.000000Z"


def test_the_end_of_a_fault_is_no_warning():
    scribe = Scribe()
    scribe.events.tell("all", "u1", MENDED)
    assert [event["type"] for event in scribe.written] == ["Normal"]


def test_what_flaps_is_told_now_and_then():
    scribe = Scribe()
    for second in range(int(2 * QUIET_S)):
        scribe.now = float(second)
        scribe.events.tell("all", "u1", MENDED if second % 2 else STUCK)
    assert len(scribe.written) == 2


def test_conditions_and_policies_do_not_silence_each_other():
    scribe = Scribe()
    scribe.events.tell("all", "u1", STUCK)
    scribe.events.tell("all", "u1", STUCK | {"type": "Conflicted"})
    scribe.events.tell("all", "u2", STUCK)
    assert len(scribe.written) == 3


def test_an_event_that_cannot_be_written_is_let_go():
    scribe = Scribe()
    scribe.error = ApiError(403, "Forbidden", "not allowed")
    scribe.events.tell("all", "u1", STUCK)
    scribe.error = None
    scribe.events.tell("all", "u1", STUCK)
    assert scribe.written == []


def test_an_event_that_cannot_be_written_is_said_once_with_the_remedy(caplog):
    scribe = Scribe()
    scribe.error = ApiError(403, "Forbidden", "no (403 Forbidden)")
    for policy in range(3):
        scribe.events.tell("all", f"u{policy}", STUCK)
    assert [record.message for record in caplog.records] == [
        "events of MemoryPolicies cannot be written: no (403 Forbidden); give the service account rights to events in "
        "the namespace default: manifests/README.md, Another namespace"
    ]


def test_texts_of_an_event_are_no_longer_than_they_may_be():
    scribe = Scribe()
    scribe.events = PolicyEvents(scribe, "i" * 200, lambda: 0.0, lambda: 0.0)
    scribe.events.tell("all", "u1", STUCK | {"message": "m" * 2000})
    (event,) = scribe.written
    assert event["reportingInstance"] == "i" * 128
    assert len(event["note"].encode()) == 1024
    assert event["metadata"]["generateName"] == "all-"


def test_an_event_that_cannot_be_written_is_said_again_after_one_that_could(caplog):
    scribe = Scribe()
    for error in (ApiError(403, "Forbidden", "no"), None, ApiError(403, "Forbidden", "no")):
        scribe.error = error
        scribe.events.tell("all", "u1", STUCK)
        scribe.now += QUIET_S
    assert len(caplog.records) == 2
