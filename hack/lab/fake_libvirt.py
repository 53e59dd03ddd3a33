"""A libvirt connection that does what a real one cannot be made to do: hang in one call, break at an exact moment,
have a job just then, refuse with a given error. Everything else is tested on libvirt itself.

Its answers, and the way a hanging call keeps a domain's job, were recorded from libvirt 9.0 with QEMU 7.2.
"""

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

import libvirt

REPLY = {
    "state.state": libvirt.VIR_DOMAIN_RUNNING,
    "state.reason": 1,
    "balloon.current": 262144,
    "balloon.maximum": 262144,
    "balloon.swap_in": 8,
    "balloon.swap_out": 4,
    "balloon.major_fault": 3,
    "balloon.minor_fault": 1530,
    "balloon.unused": 193260,
    "balloon.available": 222620,
    "balloon.usable": 196440,
    "balloon.last-update": 1795488260,
    "balloon.disk_caches": 3132,
    "balloon.hugetlb_pgalloc": 0,
    "balloon.hugetlb_pgfail": 0,
    "balloon.rss": 238468,
}
WITHOUT_JOB = ("state.state", "state.reason", "balloon.current", "balloon.maximum")
"""All that NOWAIT gives of a domain whose job is held."""

XML = """<domain><metadata/><memory unit='KiB'>262144</memory><currentMemory unit='KiB'>262144</currentMemory>
<devices><memballoon model='virtio'><stats period='1'/></memballoon></devices></domain>"""


SOURCE = "fake:///"
"""Where its domains are found."""


def key_of(domain: "FakeDomain", source: str = SOURCE) -> str:
    """By which Ballast knows it."""
    return f"{domain.UUIDString()}@{source}"


def error(
    code: int, message: str = "no", *, domain: int = libvirt.VIR_FROM_QEMU, errno: int = 0
) -> libvirt.libvirtError:
    """A libvirtError as if libvirt had just made it."""
    made = libvirt.libvirtError(message)
    made.err = (code, domain, message, libvirt.VIR_ERR_ERROR, None, None, None, errno, -1)
    return made


class FakeDomain:
    """A running domain. While `answers` is clear its QEMU hangs, and the first call that asks keeps its job."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answers = threading.Event()
        self.answers.set()
        self.job = threading.Lock()
        self.job_type = libvirt.VIR_DOMAIN_JOB_NONE
        self.job_operation = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        self.refusal: libvirt.libvirtError | None = None
        self.xml_refusal: libvirt.libvirtError | None = None
        self.period = 1
        self.metadata: dict[str, str] = {}
        """Elements by namespace."""
        self.periods: SimpleQueue[int] = SimpleQueue()
        """Each one that was set."""
        self.set: list[tuple[int, int]] = []
        """(KiB, flags) of each accepted order."""
        self.actual = REPLY["balloon.current"]
        """KiB, by QEMU's own word; libvirt's bulk statistics may be behind."""

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return f"00000000-0000-0000-0000-{self.number:012d}"

    def name(self) -> str:
        return f"guest{self.number}"

    def ID(self) -> int:  # noqa: N802 - libvirt's name
        return self.number

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802 - libvirt's name
        if self.xml_refusal is not None:
            raise self.xml_refusal
        metadata = "".join(f"<metadata>{element}</metadata>" for element in self.metadata.values())
        return XML.replace("period='1'", f"period='{self.period}'").replace("<metadata/>", metadata)

    def setMetadata(self, kind: int, element: str | None, _prefix: str | None, uri: str, flags: int) -> None:  # noqa: N802 - libvirt's name
        assert (kind, flags) == (libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self.metadata.pop(uri, None)
        if element is not None:
            self.metadata[uri] = element.replace(" ", f" xmlns='{uri}' ", 1)

    def setMemoryStatsPeriod(self, seconds: int, flags: int) -> None:  # noqa: N802 - libvirt's name
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        with self.job:
            self.answers.wait()
            self.period = seconds
            self.periods.put(seconds)

    def jobInfo(self) -> list[int]:  # noqa: N802 - libvirt's name
        return [self.job_type, 0, 0]

    def jobStats(self) -> dict[str, int]:  # noqa: N802 - libvirt's name
        return {"type": self.job_type, libvirt.VIR_DOMAIN_JOB_OPERATION: self.job_operation}

    def controlInfo(self) -> list[int]:  # noqa: N802 - libvirt's name
        if self.job_type != libvirt.VIR_DOMAIN_JOB_NONE:
            return [libvirt.VIR_DOMAIN_CONTROL_JOB, 0, 0]
        return [libvirt.VIR_DOMAIN_CONTROL_OCCUPIED if self.job.locked() else libvirt.VIR_DOMAIN_CONTROL_OK, 0, 0]

    def setMemoryFlags(self, kib: int, flags: int) -> None:  # noqa: N802 - libvirt's name
        with self.job:
            self.answers.wait()
            if self.refusal is not None:
                raise self.refusal
            self.set.append((kib, flags))

    def memoryStats(self) -> dict[str, int]:  # noqa: N802 - libvirt's name
        with self.job:
            self.answers.wait()
            if self.refusal is not None:
                raise self.refusal
            return {"actual": self.actual}

    def reply(self) -> dict[str, int]:
        """What libvirt and the guest have to say."""
        return dict(REPLY)

    def statistics(self) -> dict[str, int]:
        """This domain's part of a bulk call with NOWAIT."""
        if not self.job.acquire(blocking=False):
            return {name: self.reply()[name] for name in WITHOUT_JOB}
        try:
            self.answers.wait()
            return self.reply()
        finally:
            self.job.release()


class FakeHandle:
    """An open connection to some FakeDomains."""

    def __init__(self, *domains: FakeDomain) -> None:
        self.domains = list(domains)
        self.alive = True
        self.closed = False
        self.answers = threading.Event()
        """While clear, libvirtd is frozen."""
        self.answers.set()
        self.bulk_calls: list[list[str]] = []
        self.bulk_error: libvirt.libvirtError | None = None
        self.on_close: Callable[..., None] = lambda *_: None
        self.callbacks: dict[int, Callable[..., None]] = {}

    def break_(self, reason: int) -> None:
        """The connection breaks now; libvirt's event loop reports it."""
        self.alive = False
        self.on_close(self, reason, None)

    def isAlive(self) -> bool:  # noqa: N802 - libvirt's name
        if self.closed:
            raise error(libvirt.VIR_ERR_INVALID_CONN, "invalid connection pointer in virConnectIsAlive")
        return self.alive

    def getLibVersion(self) -> int:  # noqa: N802 - libvirt's name
        return 9_000_000

    def listAllDomains(self, flags: int) -> list[FakeDomain]:  # noqa: N802 - libvirt's name
        self.answers.wait()
        if not self.alive:
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed")
        return self.domains if flags & libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT else []

    def domainListGetStats(  # noqa: N802 - libvirt's name
        self, domains: Iterable[FakeDomain], groups: int, flags: int
    ) -> list[tuple[FakeDomain, dict[str, int]]]:
        assert groups == libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON
        assert flags == libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        asked = list(domains)
        self.bulk_calls.append([domain.name() for domain in asked])
        if self.bulk_error is not None:
            raise self.bulk_error
        return [(domain, domain.statistics()) for domain in asked if domain in self.domains]

    def registerCloseCallback(self, callback: Callable[..., None], _: Any) -> None:  # noqa: N802 - libvirt's name
        self.on_close = callback

    def unregisterCloseCallback(self) -> None:  # noqa: N802 - libvirt's name
        self.on_close = lambda *_: None

    def domainEventRegisterAny(  # noqa: N802 - libvirt's name
        self, _domain: None, event: int, callback: Any, _opaque: Any
    ) -> int:
        self.callbacks[event] = callback
        return event

    def close(self) -> None:
        self.alive, self.closed = False, True
