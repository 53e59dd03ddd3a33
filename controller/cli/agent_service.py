"""Wires the agent to its node: libvirt, cluster, HTTP endpoint, signals. What `ballast agent` sets in motion."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from controller.agent import Agent
from controller.cli.signals import stopped_by_signals
from controller.cluster.access import AccessError, access
from controller.cluster.cache import CacheError
from controller.engine.ownership import NodeIdentity
from controller.host.host import Host
from controller.host.meminfo import MeminfoError
from controller.loop.clock import SystemClock
from controller.observe.address import Address
from controller.observe.http import Endpoint, ListenError
from controller.observe.metrics import loop_metrics
from controller.observe.site import node_pages

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """Which node of which cluster."""

    kubeconfig: Path | None
    node_name: str
    uris: tuple[str, ...]
    proc: Path
    cache_dir: Path
    eviction: int
    """Bytes of available memory below which the kubelet evicts pods."""
    label_node: bool
    """The Node gets a label while its guests need more than there is."""


def serve(site: Site, listen: Address | None, *, domain_metrics: bool) -> None:
    """Run until SIGTERM or SIGINT; libvirt and the API server are waited for. Raises ClickException."""
    clock = SystemClock()
    try:
        with stopped_by_signals(clock.stop), ExitStack() as stack:
            host = Host(site.uris, site.proc, clock.wake)
            host.read()
            node = NodeIdentity(site.node_name, eviction=site.eviction)
            agent = Agent(access(site.kubeconfig), node, site.cache_dir, host, clock, label_node=site.label_node)
            if listen is not None:
                collecting = loop_metrics(agent.loop.tally, per_domain=domain_metrics)
                stack.enter_context(Endpoint(listen, agent.board, collecting, more=node_pages(agent.board)))
            stack.callback(host.close)
            host.start()
            stack.enter_context(agent)
            agent.loop.run()
    except (AccessError, CacheError, ListenError, MeminfoError) as error:
        raise click.ClickException(str(error)) from error
    _log.info("stopped; guests keep the memory they have", extra={"fields": {"event": "stopped"}})
