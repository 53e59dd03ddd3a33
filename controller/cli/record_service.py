"""Wires a recorder to this host. What `ballast record` sets in motion."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import click

from controller.cli.signals import stopped_by_signals
from controller.engine.reasons import Reason
from controller.host.host import LibvirtHost
from controller.host.meminfo import MeminfoError
from controller.host.sources import fixed
from controller.loop.clock import SystemClock
from controller.observe.statusstore import lost
from controller.replay.record import Recorder
from controller.replay.trace import TraceError, TraceWriter


def record_host(
    path: Path,
    uris: Sequence[str],
    interval_s: float,
    duration_s: float,
    limit: int,
    left_out: Callable[[str, Reason], None],
) -> Recorder:
    """Record until a signal, the duration or the limit (bytes) ends it. Raises ClickException."""
    clock = SystemClock()
    try:
        with stopped_by_signals(clock.stop), closing(LibvirtHost(fixed(uris))) as host:
            host.start()
            connections = host.status()
            if not all(each.connected for each in connections):
                raise click.ClickException("; ".join(lost(connections)))
            with TraceWriter(path, limit, resident=True) as writer:
                recorder = Recorder(host, clock, writer, left_out)
                recorder.run(interval_s, duration_s)
    except (MeminfoError, TraceError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; what is written so far can be used") from error
    return recorder
