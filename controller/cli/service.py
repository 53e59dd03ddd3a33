"""Wires the loop to this host: folder, libvirt, HTTP endpoint, signals. What `ballast run` sets in motion."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from controller.api.policy import Budget
from controller.cli.output import Problems, document
from controller.cli.service_manager import ServiceManager, status_line
from controller.cli.signals import stopped_by_signals
from controller.engine.ownership import NodeIdentity
from controller.engine.reasons import Reason
from controller.host.host import LibvirtHost
from controller.host.meminfo import MeminfoError
from controller.host.sources import fixed
from controller.loop.clock import SystemClock
from controller.loop.control import GAP_S, ControlLoop
from controller.observe.address import Address
from controller.observe.http import Endpoint, ListenError
from controller.observe.metrics import loop_metrics
from controller.observe.routes import node_pages
from controller.observe.statusstore import StatusStore, lost
from controller.observe.webconfig import WebConfig, WebConfigError
from controller.policyfolder import FolderError, FolderReader, PolicyFolder

_log = logging.getLogger(__name__)

ONCE_S = 8.0
"""Seconds `--once` may look before it prints: statistics, and enough to shrink, take a few periods."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Where the loop runs: options that `serve` and `once` share."""

    policies: Path
    uris: tuple[str, ...]
    node_name: str
    node_labels: Mapping[str, str]
    proc: Path
    budget: Budget
    """The node's own, which policies can only narrow."""
    observe: bool
    """Nothing is changed, whatever a policy's mode."""

    @property
    def node(self) -> NodeIdentity:
        """As selectors see it, and what is kept of it."""
        return NodeIdentity(self.node_name, self.node_labels, budget=self.budget)


class _Wired:
    """Everything one loop needs, started; closed by the stack it was given."""

    def __init__(
        self, settings: RunSettings, stack: ExitStack, clock: SystemClock, folder: PolicyFolder, manager: ServiceManager
    ) -> None:
        """Raises MeminfoError, or ClickException when no connection works."""
        self.clock = clock
        self.folder = folder
        self.status_store = StatusStore(
            settings.node_name, clock.monotonic, lambda: manager.turned(lambda: status_line(self.status_store))
        )
        self.host = LibvirtHost(fixed(settings.uris), settings.proc, clock.wake)
        self.loop = ControlLoop(self.host, self.folder, clock, self.status_store, observe=settings.observe)
        self.host.read()
        stack.callback(self.host.close)
        self.host.start()
        connections = self.host.status()
        if not any(each.connected for each in connections):
            raise click.ClickException("; ".join(lost(connections)))


def serve(
    settings: RunSettings, listen: Address | None, secured: tuple[Address, Path] | None = None, *, domain_metrics: bool
) -> None:
    """Run until SIGTERM or SIGINT. Raises ClickException when folder, libvirt or address cannot be used.

    `secured`: where there is TLS, and the file that says how.
    """
    clock = SystemClock()
    manager = ServiceManager(clock.monotonic)

    def stop() -> None:
        manager.stopping()
        clock.stop()

    with _plainly(), stopped_by_signals(stop), ExitStack() as stack:
        endpoints: list[tuple[Address, WebConfig | None]] = [(listen, None)] if listen else []
        if secured:
            endpoints.append((secured[0], WebConfig(secured[1])))
        reader = stack.enter_context(
            FolderReader(settings.policies, settings.node, clock.monotonic, clock.wall, clock.wake)
        )
        wired = _Wired(settings, stack, clock, reader.folder, manager)
        collecting = loop_metrics(wired.loop.loop_counters, per_domain=domain_metrics)
        for address, config in endpoints:
            stack.enter_context(
                Endpoint(address, wired.status_store, collecting, node_pages(wired.status_store), config)
            )
        wired.loop.run()
    _log.info("stopped; guests keep the memory they have", extra={"fields": {"event": "stopped"}})


def once(settings: RunSettings, form: str) -> str:
    """One decision, as text in `form`. Raises ClickException for a refused policy or libvirt out of reach."""
    clock = SystemClock()
    with _plainly(), ExitStack() as stack:
        folder = PolicyFolder(settings.policies, settings.node, clock.monotonic, clock.wall)
        folder.scan()
        while not folder.ready:
            clock.wait(0.0, folder.due() - clock.monotonic())
            folder.scan()
        wired = _Wired(settings, stack, clock, folder, ServiceManager(clock.monotonic))
        folder.current()
        if problems := [*filter(None, [wired.folder.outage]), *wired.folder.problems]:
            raise Problems(problems)
        stack.callback(wired.loop.release)
        refused = _decide(wired)
        state = wired.status_store.document()
    if form != "table":
        return document(state | {"refused": refused}, form)
    from controller.cli.once import table  # noqa: PLC0415 - rich: only for people

    return table(state, refused)


def _decide(wired: _Wired) -> dict[str, str]:
    """Look until every domain has had its decision, or ONCE_S are over; libvirt's refusals by key."""
    clock, loop = wired.clock, wired.loop
    end = clock.monotonic() + ONCE_S
    refused = loop.iterate().refused
    while _undecided(wired.status_store.document()) and (left := end - clock.monotonic()) > 0:
        clock.wait(GAP_S, min(left, loop.pause()))
        refused |= loop.iterate().refused
    return refused


_PASSING = frozenset({str(Reason.NONE), str(Reason.WARMING_UP)})
_PASSING_UNDER_ENFORCE = _PASSING | {
    str(reason) for reason in (Reason.NO_STATISTICS, Reason.STALE_STATISTICS, Reason.BOOTING, Reason.UNRESPONSIVE)
}
"""Under Enforce a guest that sends no statistics has just been asked to, and that call may hold its QEMU yet."""


def _undecided(state: dict[str, Any]) -> bool:
    return any(
        domain["reason"] in (_PASSING_UNDER_ENFORCE if domain["mode"] == "Enforce" else _PASSING)
        for domain in state["domains"]
    )


@contextmanager
def _plainly() -> Iterator[None]:
    """What is wrong with the site is said in one line, not in a traceback."""
    try:
        yield
    except (FolderError, ListenError, MeminfoError, WebConfigError) as error:
        raise click.ClickException(str(error)) from error
