"""Names and metadata as bad as a host can have them cost whoever reads a page next to nothing."""

import tracemalloc

import pytest

from controller.api.documents import load
from controller.api.wishes import NAMESPACE
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.state import State
from controller.engine.step import align
from controller.host.domain_xml import describe
from controller.observe.board import Board, Publication
from controller.observe.http import Pages
from controller.observe.metrics import loop_metrics
from controller.observe.site import node_pages
from controller.observe.tally import Tally

GUESTS = 200
MIB = 2**20
MEGA = "&lt;" * 750_000
"""3 MB of what takes four bytes on a page."""
LABELS = "".join(f"<b:label name='{'&lt;' * 250}{number}' value='{'&lt;' * 253}'/>" for number in range(64))
WISHES = (
    f"<b:memory xmlns:b='{NAMESPACE}' weight='{MEGA}'/>",
    f"<b:memory xmlns:b='{NAMESPACE}'><b:label {'a' * 3_000_000}='1'/></b:memory>",
    f"<b:memory xmlns:b='{NAMESPACE}' weight='&lt;' minimum='&lt;' maximum='&lt;' optOut='&lt;'>{LABELS}</b:memory>",
    f"<b:memory xmlns:b='{NAMESPACE}'>{LABELS}</b:memory>",
)


class FakeConnection:
    uri, connected, error = "qemu:///system", True, ""


def facts(number: int) -> DomainFacts:
    wish = WISHES[number if number < len(WISHES) else 2 + number % 2]
    balloon = "<devices><memballoon model='virtio'/></devices>"
    xml = f"<domain><memory>1048576</memory><metadata>{wish}</metadata>{balloon}</domain>"
    name = "\U0001f600<&\u202e" * 20_000 + str(number)
    return describe(xml, f"k{number}", f"u{number}", name, 1).facts


@pytest.fixture(scope="module")
def worst() -> Pages:
    every = [facts(number) for number in range(GUESTS)]
    policies = load("{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}", "p").policies
    inventory = assign(every, policies, NodeIdentity("node-1")).inventory
    wrong = {each.key: each.wishes.error for each in every if each.wishes.error}
    assert len(wrong) >= GUESTS / 2
    board = Board("node-1", lambda: 0.0)
    state = align(State.initial(), inventory, 0.0)
    board.publish(Publication(0.0, state, (FakeConnection(),), (), True, wishes_errors=wrong))
    return Pages(board, loop_metrics(Tally(lambda: 0.0), per_domain=True), more=node_pages(board))


@pytest.mark.parametrize(
    "path", ["/", "/state", "/metrics", "/domain?key=k1", "/explain?domain=k2", "/explain?domain=x"]
)
def test_a_page_takes_no_more_than_20_mib_while_it_is_made(worst, path):
    worst.get(path)
    tracemalloc.start()
    try:
        body = worst.get(path).body
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0 < len(body) <= 4 * MIB
    assert most <= 20 * MIB
