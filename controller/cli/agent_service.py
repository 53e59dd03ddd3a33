"""Wires the agent to its node: libvirt, cluster, HTTP endpoint, signals. What `ballast agent` sets in motion."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from controller.agent import Agent, Options
from controller.api.policy import Budget
from controller.cli.service_manager import ServiceManager, status_line
from controller.cli.signals import stopped_by_signals
from controller.cluster.access import AccessError, access
from controller.cluster.cache import CacheError
from controller.cluster.pods import Launcher
from controller.cluster.podwatch import Tell
from controller.engine.ownership import NodeIdentity
from controller.host.host import LibvirtHost
from controller.host.meminfo import MeminfoError
from controller.host.podsocket import open_pod
from controller.host.sources import Source, fixed
from controller.loop.clock import SystemClock
from controller.observe.address import Address
from controller.observe.http import Endpoint, ListenError
from controller.observe.metrics import loop_metrics
from controller.observe.routes import node_pages

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Which node of which cluster."""

    kubeconfig: Path | None
    node_name: str
    uris: tuple[str, ...]
    """Libvirt connections that are always there."""
    proc: Path
    cache_dir: Path
    pods: Path | None
    """The kubelet's folder of pods, where the libvirt of each virt-launcher pod is to be connected to, too."""
    eviction: int
    """Bytes of available memory below which the kubelet evicts pods."""
    observe: bool
    """Nothing is changed, whatever a policy's mode."""
    budget: Budget
    """The node's own, which policies can only narrow."""
    label_node: bool
    """The Node gets a label while its guests need more than there is."""


def serve(settings: AgentSettings, listen: Address | None, *, domain_metrics: bool) -> None:
    """Run until SIGTERM or SIGINT; libvirt and the API server are waited for. Raises ClickException."""
    clock = SystemClock()
    manager = ServiceManager(clock.monotonic)

    def stop() -> None:
        manager.stopping()
        clock.stop()

    try:
        with stopped_by_signals(stop), ExitStack() as stack:
            host = LibvirtHost(fixed(settings.uris), settings.proc, clock.wake)
            host.read()
            launchers = None if settings.pods is None else _connecting(host, settings.uris, settings.pods)
            agent = Agent(
                access(settings.kubeconfig),
                NodeIdentity(settings.node_name, budget=settings.budget, eviction=settings.eviction),
                settings.cache_dir,
                host,
                clock,
                Options(launchers, settings.observe, settings.label_node),
                lambda status_store: manager.turned(lambda: status_line(status_store)),
            )
            if listen is not None:
                collecting = loop_metrics(agent.loop.loop_counters, agent.requests, per_domain=domain_metrics)
                stack.enter_context(
                    Endpoint(listen, agent.status_store, collecting, more=node_pages(agent.status_store))
                )
            stack.callback(host.close)
            host.start()
            stack.enter_context(agent)
            agent.loop.run()
    except (AccessError, CacheError, ListenError, MeminfoError) as error:
        raise click.ClickException(str(error)) from error
    _log.info("stopped; guests keep the memory they have", extra={"fields": {"event": "stopped"}})


def _connecting(host: LibvirtHost, uris: tuple[str, ...], pods: Path) -> Tell:
    """Has the host see to the libvirt of each launcher, beside those at `uris`."""

    def connect(launchers: tuple[Launcher, ...], missing: Callable[[], str]) -> None:
        host.connect([*fixed(uris), *(_source(each, pods) for each in launchers)], missing)

    return connect


def _source(launcher: Launcher, pods: Path) -> Source:
    pod = launcher.pod
    return Source(f"{pod.namespace}/{pod.name}", partial(open_pod, pods, pod.uid), pod, launcher.expected)
