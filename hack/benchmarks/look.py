"""CPU of one look of the whole process, from asking libvirt to publishing what came of it."""

import tempfile
from pathlib import Path

import libvirt

from benchmarks.figures import Baseline, Figure
from benchmarks.recorded import DOMAINS, Recorded, Reply
from benchmarks.shared_guests import GUESTS, SharedGuests
from benchmarks.stopwatch import Spent
from controller.host.look import GROUPS
from controller.observe.http import Pages

PART = "look"
GOAL_MS = 0.1
"""A domain."""
WARM_UP_LOOKS = 30
LOOKS = 50
SCRAPES = 5


def measure(shared: SharedGuests) -> list[Figure]:
    """Ballast on DOMAINS recorded domains, beside the one libvirt call a look makes, on real guests."""
    spent, replies = raw_call(shared)
    baseline = Baseline(f"the libvirt call alone, {GUESTS} real guests", spent.cpu)
    with tempfile.TemporaryDirectory() as proc:
        recorded = Recorded(replies, DOMAINS, Path(proc))
        for _ in range(WARM_UP_LOOKS):
            recorded.tick()
            recorded.look()
        look = _look(recorded)
        pages = Pages(recorded.status_store)
        scrape = Spent.typical([Spent.on(lambda: pages.get("/metrics")) for _ in range(SCRAPES)]).each(DOMAINS)
    what = f"CPU a domain, {DOMAINS:,} domains"
    return [
        Figure(PART, f"one look, {what}", look.cpu, "ms", baseline, GOAL_MS),
        Figure(PART, f"the same with that libvirt call, {what}", look.cpu + spent.cpu, "ms", baseline, GOAL_MS),
        Figure(PART, f"one scrape of /metrics, {what}", scrape.cpu, "ms", baseline),
    ]


def raw_call(shared: SharedGuests) -> tuple[Spent, list[Reply]]:
    """What the bulk call takes of this process for each guest, and the replies of the last one."""
    guests = shared.guests
    connection = libvirt.openReadOnly(shared.libvirtd.uri)
    domains = [connection.lookupByUUIDString(guest.uuid) for guest in guests]
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    runs = [Spent.on(lambda: connection.domainListGetStats(domains, GROUPS, flags)) for _ in range(LOOKS)]
    replies = [reply for _, reply in connection.domainListGetStats(domains, GROUPS)]
    connection.close()
    return Spent.typical(runs).each(len(guests)), replies


def _look(recorded: Recorded) -> Spent:
    runs = []
    for _ in range(LOOKS):
        recorded.tick()
        runs.append(Spent.on(recorded.look))
    return Spent.typical(runs).each(DOMAINS)
