"""Names and metadata as bad as a host can have them cost whoever reads a page next to nothing."""

import json
import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from controller.api.documents import load
from controller.api.wishes import NAMESPACE
from controller.engine.decision import Action, Decision, Figures
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from controller.host.domain_xml import describe
from controller.observe.address import Address
from controller.observe.decisionhistory import DECISIONS, DecisionHistory
from controller.observe.explain import EXPLAINED, OTHERS
from controller.observe.http import HttpResponder, Pages
from controller.observe.loopcounters import LoopCounters
from controller.observe.metrics import loop_metrics
from controller.observe.remarks import Ownership, Remark
from controller.observe.routes import node_pages
from controller.observe.statusstore import StatusSnapshot, StatusStore
from controller.observe.timeseries import POINTS, STEP_S, TimeSeries

GUESTS = 1000
REFUSED = 7
"""Every seventh guest is refused its orders."""
MIB = 2**20
MEBIBYTES = 20
"""One page may take so much memory, whatever names and metadata there are."""
MEGA = "&lt;" * 750_000
"""3 MB of what takes four bytes on a page."""
LABELS = "".join(f"<b:label name='{'&lt;' * 250}{number}' value='{'&lt;' * 253}'/>" for number in range(64))
WISHES = (
    f"<b:memory xmlns:b='{NAMESPACE}' weight='{MEGA}'/>",
    f"<b:memory xmlns:b='{NAMESPACE}'><b:label {'a' * 3_000_000}='1'/></b:memory>",
    f"<b:memory xmlns:b='{NAMESPACE}' weight='{'&quot;' * 5000}' maximum='&lt;' optOut='&lt;'>{LABELS}</b:memory>",
    f"<b:memory xmlns:b='{NAMESPACE}' weight='{'&#x1f600;' * 5000}'/>",
)
FOUR_BYTES, SIX_SIGNS, ALIKE = "\U0001f600", '"', ""
"""Of what names are: what takes most room, what a page writes longest, and none, for the same name everywhere."""
FLOOD = '\U000e0100\x9b\n<"\U0001f600' * 200_000


class LongConnection:
    uri, connected, error = "qemu:///system", True, FLOOD


@cache
def described(wish: str) -> DomainFacts:
    balloon = "<devices><memballoon model='virtio'/></devices>"
    xml = f"<domain><memory>1048576</memory><metadata>{wish}</metadata>{balloon}</domain>"
    return describe(xml, "k", "u", "n", 1).facts


def facts(number: int, sign: str) -> DomainFacts:
    wish = WISHES[number if number < len(WISHES) else 2 + number % 2]
    name = f"{number}-{sign * 20_000}" if sign else "web"
    return replace(described(wish), key=f"k{number}", uuid=f"u{number}", name=name)


def busy(state: State) -> State:
    """Everything is known of everybody, in numbers as long as they come, and everybody was just moved."""
    sizes = np.full(len(state.inventory), 2.0**43 + 1)
    return state.having(
        observation=state.observation.having(demand=sizes - 1, allocation=sizes, slack_time=sizes * 1e5),
        estimate=state.estimate.having(forecast=sizes, upper=sizes, error=sizes),
        balloon=state.balloon.having(last_at=sizes * 0 - 1e6, last_from=sizes, last_to=sizes),
        reason=np.resize([int(Reason.REFUSED), int(Reason.INVALID_WISHES)], len(state.inventory)),
    )


def moved(state: State) -> DecisionHistory:
    """Half of all give to the other half, as often as is remembered, and libvirt has much to say about it."""
    figures = Figures(*(2.0**43 + 1 for _ in Figures._fields))
    decision_history = DecisionHistory()
    for number in range(DECISIONS):
        sizes = [(2**42, 2**43), (2**43, 2**42)]
        actions = [
            Action(key, key, row, *sizes[(row + number) % 2], Reason.CONTENTION_SHRINK, figures)
            for row, key in enumerate(state.inventory.keys)
        ]
        refused = dict.fromkeys(state.inventory.keys[::REFUSED], f"{number}{FLOOD}")
        decision_history = decision_history.extended(state, Decision(actions=tuple(actions)), refused, float(number))
    return decision_history


def trodden(state: State) -> TimeSeries:
    """Of a full quarter of an hour, with no two points alike."""
    time_series = TimeSeries()
    for point in range(POINTS):
        sizes = (2.0**43) * (1 + np.sin(np.arange(len(state.inventory)) + point)) + 1
        observation = state.observation.having(demand=sizes, allocation=sizes * 1.3)
        now = state.having(observation=observation, estimate=state.estimate.having(forecast=sizes * 1.1))
        time_series = time_series.extended(now, point * STEP_S)
    return time_series


@cache
def answers(sign: str) -> HttpResponder:
    every = [facts(number, sign) for number in range(GUESTS)]
    policies = load("{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}", "p").policies
    inventory = assign(every, policies, NodeIdentity("node-1")).inventory
    wrong = {each.key: each.wishes.error for each in every if each.wishes.error}
    assert len(wrong) >= GUESTS / 2
    status_store = StatusStore("node-1", lambda: 0.0)
    state = busy(align(State.initial(), inventory, 0.0))
    remarks = tuple(Remark("conflict", "p", FLOOD) for _ in range(GUESTS))
    status_store.publish(
        StatusSnapshot(
            0.0,
            state,
            (LongConnection(),) * 3,
            (FLOOD,) * GUESTS,
            True,
            Ownership(remarks=remarks),
            wishes_errors=wrong,
            refusals=dict.fromkeys(inventory.keys, (sign or "<") * 20_000),
            outage=FLOOD,
            decision_history=moved(state),
            time_series=trodden(state),
        )
    )
    pages = Pages(status_store, loop_metrics(LoopCounters(lambda: 0.0), per_domain=True), more=node_pages(status_store))
    return HttpResponder(pages, Address("127.0.0.1", 0))


PAGES = ("/", "/state", "/metrics", "/domain?key=k1", "/explain?domain=k2")


@pytest.mark.parametrize(
    ("sign", "path"),
    [
        (FOUR_BYTES, PAGES[-1]),
        *(pytest.param(FOUR_BYTES, page, marks=pytest.mark.slow) for page in PAGES[:-1]),
        *(pytest.param(SIX_SIGNS, page, marks=pytest.mark.slow) for page in PAGES),
        pytest.param(FOUR_BYTES, "/explain?domain=nobody", marks=pytest.mark.slow),
        pytest.param(ALIKE, "/explain?domain=web", marks=pytest.mark.slow),
    ],
)
def test_an_answer_takes_no_more_than_20_mib_while_it_is_made(sign, path):
    worst, request = answers(sign), f"GET {path} HTTP/1.0\r\n\r\n".encode()
    tracemalloc.start()
    try:
        head, body = worst.answer(request)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert head.startswith(b"HTTP/1.0 200")
    assert len(body) > 0
    assert most <= MEBIBYTES * MIB


def test_the_worst_are_as_bad_as_they_claim():
    state = json.loads(answers(FOUR_BYTES).answer(b"GET /state HTTP/1.0\r\n\r\n")[1])
    assert len(state["domains"]) == GUESTS
    assert all(each["forecast"] and each["last_action"] for each in state["domains"])
    assert sum(len(each["advice"].encode()) > 590 for each in state["domains"]) > GUESTS / 3


def test_of_domains_that_share_a_name_few_are_explained_and_the_rest_is_counted():
    told = json.loads(answers(ALIKE).answer(b"GET /explain?domain=web HTTP/1.0\r\n\r\n")[1])
    assert (len(told["domains"]), told["more"]) == (EXPLAINED, GUESTS - EXPLAINED)
    decision = told["domains"][1]["decisions"][0]
    others = sum(number % REFUSED > 0 for number in range(GUESTS)) - 1
    assert (len(decision["others"]), decision["more_others"]) == (OTHERS, others - OTHERS)
