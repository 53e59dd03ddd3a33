"""What the owner of a virtual machine is told of it."""

from controller.api.documents import load
from controller.engine.decision import Action, Decision, Notice
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.decisionhistory import DecisionHistory
from controller.observe.machinenotes import MachineNote, machine_notes
from controller.observe.statusstore import StatusSnapshot

MIB = 2**20
ALL = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}"
KEY = "u@shop/pod"


def notes(
    *decisions: Decision,
    refused: dict[str, str] | None = None,
    wrong: str = "",
    reason: Reason = Reason.NONE,
    now: float = 1000.0,
    policies: str = ALL,
) -> list[MachineNote]:
    """Of a domain that was decided about once a second, from 1 on, and the last time because of `reason`."""
    facts = [DomainFacts(KEY, "u", "shop_web", 1, 512 * MIB, 512 * MIB)]
    state = align(State.initial(), assign(facts, load(policies, "test").policies, NodeIdentity("here")).inventory, 0.0)
    state.reason[:] = reason
    history = DecisionHistory()
    for second, decision in enumerate(decisions, start=1):
        history = history.extended(state, decision, refused or {}, float(second))
    latest = StatusSnapshot(now, state, (), (), True, decision_history=history, wishes_errors={KEY: wrong})
    return list(machine_notes(latest))


def shrink(target: int = 256, key: str = KEY) -> Decision:
    return Decision(actions=(Action(0, key, "shop_web", 512 * MIB, target * MIB, Reason.FORECAST_SHRINK),))


def notice(reason: Reason) -> Decision:
    return Decision(notices=(Notice(KEY, "shop_web", reason),))


WRONG = Reason.INVALID_WISHES
SHRUNK = "512 MiB -> 256 MiB (-256 MiB): forecast demand needs less memory (MemoryPolicy all)"


def test_a_change_is_told_with_its_reason_and_its_policy():
    assert notes(shrink()) == [MachineNote(KEY, 1.0, "ForecastShrink", SHRUNK, warning=False)]


def test_the_newest_counts():
    assert [note.at for note in notes(shrink(300), shrink(200))] == [2.0]


def test_what_was_only_proposed_and_what_needs_nobody_is_no_news():
    proposal = Decision(proposals=shrink().actions)
    assert notes(proposal, notice(Reason.BOOTING)) == []
    assert [note.text for note in notes(shrink(), proposal, notice(Reason.BOOTING))] == [SHRUNK]


def test_wishes_that_make_no_sense_are_told_with_what_is_wrong():
    (note,) = notes(notice(WRONG), reason=WRONG, wrong="ballast.dev/mode: 'on': write Off")
    assert (note.reason, note.warning) == ("InvalidWishes", True)
    assert note.text.endswith(" (MemoryPolicy all): ballast.dev/mode: 'on': write Off")


def test_a_problem_is_told_when_it_has_lasted_a_minute_and_lasts_yet():
    assert notes(notice(WRONG), reason=WRONG, now=60.0) == []
    assert len(notes(notice(WRONG), reason=WRONG, now=61.0)) == 1
    assert notes(notice(WRONG)) == []
    assert [note.text for note in notes(shrink(), notice(WRONG))] == [SHRUNK]


def test_of_a_domain_without_a_policy_nothing_is_told():
    assert notes(shrink(), policies="[]") == []


def test_a_guest_that_may_have_no_more_is_told_what_to_do():
    (note,) = notes(notice(Reason.AT_MAXIMUM), reason=Reason.AT_MAXIMUM)
    assert note.text.endswith("(MemoryPolicy all): raise limits.maximum of its policy, or the memory of its definition")


def test_a_change_that_libvirt_refused_is_told_with_its_message():
    assert notes(shrink(), refused={KEY: "no"}) == [
        MachineNote(KEY, 1.0, "ForecastShrink", f"libvirt refused {SHRUNK}: no", warning=True)
    ]


def test_of_a_domain_that_is_gone_nothing_is_told():
    assert notes(shrink(key="gone@shop/pod")) == []
