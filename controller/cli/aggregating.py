"""Wires the aggregator to a cluster: API server, election, HTTP endpoint, signals. What `ballast aggregator` runs."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from controller.aggregation.news import News
from controller.aggregator import Aggregator
from controller.cli.signals import stopped_by_signals
from controller.cluster.access import AccessError, access
from controller.cluster.client import Client
from controller.cluster.election import Election
from controller.cluster.feed import Feed
from controller.cluster.lease import ApiLease, Candidate
from controller.cluster.policyevents import PolicyEvents
from controller.cluster.resources import MEMORY_POLICIES, NODE_MEMORY_STATES, NODES
from controller.cluster.statuswriter import StatusWriter
from controller.loop.clock import SystemClock
from controller.observe.address import Address
from controller.observe.http import Endpoint, ListenError
from controller.observe.totals import LEASE, TotalsBoard, TotalsCollector

_log = logging.getLogger(__name__)

WRITE_S = 4.0
"""Seconds that a request of the leader may take: less than from the end of one leader to the start of the next."""


@dataclass(frozen=True, slots=True)
class Site:
    """Which cluster, and who this replica is in it."""

    kubeconfig: Path | None
    namespace: str
    identity: str


def serve(site: Site, listen: Address | None) -> None:
    """Run until SIGTERM or SIGINT. Raises ClickException when access or address cannot be used."""
    clock = SystemClock()
    try:
        with stopped_by_signals(clock.stop), ExitStack() as stack:
            wire(site, listen, clock, stack).run()
    except (AccessError, ListenError) as error:
        raise click.ClickException(str(error)) from error
    _log.info("stopped", extra={"fields": {"event": "stopped"}})


def wire(site: Site, listen: Address | None, clock: SystemClock, stack: ExitStack) -> Aggregator:
    """Everything started; the stack ends it in the reverse order, giving the Lease back after the last write.

    Raises AccessError, ListenError.
    """
    load = access(site.kubeconfig)
    reader = Client(load)
    writer = Client(load, WRITE_S, requests=reader.requests)
    stack.callback(reader.close)
    stack.callback(writer.close)
    board = TotalsBoard(site.identity, clock.monotonic)
    election = Election(ApiLease(writer, site.namespace, LEASE), site.identity, clock.monotonic, clock.wall)
    candidate = Candidate(election, clock.wake)
    members: list[Feed | Candidate] = [candidate]
    aggregator = Aggregator(
        election,
        StatusWriter(writer),
        PolicyEvents(writer, site.identity, clock.monotonic, clock.wall),
        clock,
        board.publish,
        lambda: [member.problem for member in members if member.problem],
    )
    if listen is not None:
        stack.enter_context(Endpoint(listen, board, lambda shown: TotalsCollector(shown, reader.requests)))
    for feed in _feeds(reader, aggregator, clock):
        members.append(feed)
        stack.enter_context(feed.worker)
    stack.callback(election.release)
    stack.enter_context(candidate.worker)
    return aggregator


def _feeds(client: Client, aggregator: Aggregator, clock: SystemClock) -> Sequence[Feed]:
    def tell(news: News) -> None:
        aggregator.hear(news)
        clock.wake()

    return (
        Feed(client, MEMORY_POLICIES, tell, clock.monotonic),
        Feed(client, NODES, tell, clock.monotonic, metadata_only=True),
        Feed(client, NODE_MEMORY_STATES, tell, clock.monotonic),
    )
