"""Wires the aggregator to a cluster: API server, election, HTTP endpoint, signals. What `ballast aggregator` runs."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from controller.aggregation.watchevents import WatchEvent
from controller.aggregator import Aggregator
from controller.cli.signals import stopped_by_signals
from controller.cluster.access import AccessError, access
from controller.cluster.client import Client
from controller.cluster.election import Election
from controller.cluster.lease import ApiLease, LeaseCandidate
from controller.cluster.policyevents import PolicyEvents
from controller.cluster.reflector import Reflector
from controller.cluster.resources import MEMORY_POLICIES, NODE_MEMORY_STATES, NODES
from controller.cluster.statuswriter import StatusWriter
from controller.loop.clock import SystemClock
from controller.observe.address import Address
from controller.observe.aggregatorstatus import LEASE, AggregatorCollector, AggregatorStatusStore
from controller.observe.http import Endpoint, ListenError

_log = logging.getLogger(__name__)

WRITE_S = 4.0
"""Seconds that a request of the leader may take: less than from the end of one leader to the start of the next."""


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """Which cluster, and who this replica is in it."""

    kubeconfig: Path | None
    namespace: str
    identity: str


def serve(settings: AggregatorSettings, listen: Address | None) -> None:
    """Run until SIGTERM or SIGINT. Raises ClickException when access or address cannot be used."""
    clock = SystemClock()
    try:
        with stopped_by_signals(clock.stop), ExitStack() as stack:
            wire(settings, listen, clock, stack).run()
    except (AccessError, ListenError) as error:
        raise click.ClickException(str(error)) from error
    _log.info("stopped", extra={"fields": {"event": "stopped"}})


def wire(settings: AggregatorSettings, listen: Address | None, clock: SystemClock, stack: ExitStack) -> Aggregator:
    """Everything started; the stack ends it in the reverse order, giving the Lease back after the last write.

    Raises AccessError, ListenError.
    """
    load = access(settings.kubeconfig)
    reader = Client(load)
    writer = Client(load, WRITE_S, requests=reader.requests)
    stack.callback(reader.close)
    stack.callback(writer.close)
    status_store = AggregatorStatusStore(settings.identity, clock.monotonic)
    election = Election(ApiLease(writer, settings.namespace, LEASE), settings.identity, clock.monotonic, clock.wall)
    candidate = LeaseCandidate(election, clock.wake)
    members: list[Reflector | LeaseCandidate] = [candidate]
    aggregator = Aggregator(
        election,
        StatusWriter(writer),
        PolicyEvents(writer, settings.identity, clock.monotonic, clock.wall),
        clock,
        status_store.publish,
        lambda: [member.problem for member in members if member.problem],
    )
    if listen is not None:
        stack.enter_context(Endpoint(listen, status_store, lambda shown: AggregatorCollector(shown, reader.requests)))
    for reflector in _reflectors(reader, aggregator, clock):
        members.append(reflector)
        stack.enter_context(reflector.worker)
    stack.callback(election.release)
    stack.enter_context(candidate.worker)
    return aggregator


def _reflectors(client: Client, aggregator: Aggregator, clock: SystemClock) -> Sequence[Reflector]:
    def tell(event: WatchEvent) -> None:
        aggregator.on_event(event)
        clock.wake()

    return (
        Reflector(client, MEMORY_POLICIES, tell, clock.monotonic),
        Reflector(client, NODES, tell, clock.monotonic, metadata_only=True),
        Reflector(client, NODE_MEMORY_STATES, tell, clock.monotonic),
    )
