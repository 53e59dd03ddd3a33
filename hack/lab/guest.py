"""One lab guest: a real QEMU domain that boots in seconds, uses memory on command and keeps evidence."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from xml.sax.saxutils import escape, quoteattr

import libvirt

from lab.accelerator import domain_type
from lab.daemons import until
from lab.errors import LabError
from lab.image import Image
from lab.libvirtd import PrivateLibvirtd, give_to_guests

MIB = 2**20
BOOT_S = 180
"""Deadline from start to the agent's `ready`; 3 s on an idle machine, emulated."""
ANSWER_S = 90
"""Deadline for the agent to answer or to settle on an amount; well under a second unless the guest swaps."""

CLUTTER_S = 120
"""Deadline to make 100,000 files: a few seconds, emulated."""
SLOW_MIB, FAST_MIB = 1, 1000
"""A second, of a migration: slower than a workload writes, so that it does not end; and faster than any machine."""
STOP_MS = 5000
"""A guest may rest for its migration to end: emulated ones of a busy machine write while little is sent."""


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest to be defined. Sizes in MiB."""

    name: str
    maximum: int = 256
    """The definition's `<memory>`."""
    current: int | None = None
    """The definition's `<currentMemory>`; None is the maximum."""
    swap: int = 0
    """Size of its swap disk; 0 is none, so that running out of memory means the OOM killer."""
    balloon: bool = True
    balloon_model: str = "virtio"
    autodeflate: bool = False
    free_page_reporting: bool = False
    """What it does not use goes back to the host by itself, as KubeVirt's guests have it."""
    stats_period: int | None = 1
    """Seconds between statistics; None leaves the element out, as most definitions do."""
    metadata: str = ""
    """XML inside the domain's `<metadata>`."""
    persistent: bool = False
    monitor: bool = False
    """A second QMP monitor, `Guest.monitor`: whoever asks through libvirt holds the domain's job for that time, and
    Ballast's look passes the domain over."""
    slots: bool = False
    """Memory can be plugged in while it runs: `Guest.plug`."""
    backing: str = ""
    """XML inside the domain's `<memoryBacking>`."""
    devices: str = ""
    """Further XML inside the domain's `<devices>`."""
    emulator: str = ""
    """Path of what runs it; empty is libvirt's choice."""
    record: bool = False
    """QEMU writes down every order its balloon gets, in `Guest.records`."""


@dataclass(frozen=True, slots=True)
class GuestEvent:
    """A line of the guest's agent."""

    at: float
    """time.monotonic() of the host at reception."""
    word: str
    """`ready`, `want`, `held`, `lost`, `oom`, `cluttered`, `cold`, `files` or `evidence`; see initramfs/agent.c."""
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the guest itself can show; the kernel's counters are 0 when it panicked."""

    oom_kills: int
    """By the kernel's own counter, or by the agent's where the kernel cannot answer any more."""
    panics: int
    swapped_in_pages: int
    major_faults: int
    swapped_out_pages: int = 0
    operations: int = 0
    """Done by its workload, where it was told to `serve`."""


class Libvirt(Protocol):
    """Where guests run."""

    def connect(self) -> libvirt.virConnect:
        """A new connection; the caller closes it."""


class Guest:
    """A started guest; `close` (or leaving the `with` block) destroys it.

    Raises LabError when it does not boot, naming its console log.
    """

    def __init__(self, host: PrivateLibvirtd, spec: GuestSpec) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{spec.name}-", dir=host.root / "guests"))
        give_to_guests(folder)
        if spec.swap:
            _make_swap(folder, spec.swap)
        xml = definition(spec, host.image, folder, domain_type())
        with closing(host.connect()) as connection:
            if spec.persistent:
                connection.defineXML(xml).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            else:
                connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        self._take(host, spec, folder)
        self.domain.resume()  # what its agent said before somebody listens would be lost

    def _take(self, host: "Libvirt", spec: GuestSpec, folder: Path) -> None:
        """Take the guest that runs at `host`, with its sockets and logs in `folder`."""
        self.spec = spec
        self._host = host
        self._folder = folder
        self.console = folder / "console.log"
        self.monitor = folder / "monitor.sock"
        self._connection = host.connect()
        self.domain = self._connection.lookupByName(spec.name)
        self.uuid: str = self.domain.UUIDString()
        self._agent = _Agent(folder / "agent.sock")

    @property
    def records(self) -> list[Path]:
        """What its QEMU wrote down of the balloon, a file a process, oldest first."""
        return sorted(self._folder.glob("balloon-*.log"), key=lambda path: path.stat().st_mtime)

    def wait_ready(self) -> Self:
        """Wait until the agent answers, the balloon has reached `<currentMemory>` and statistics are fresh.

        Without a balloon or a statistics period only the agent counts. Raises LabError with its console.
        """
        try:
            self.wait_booted()
            if self.spec.balloon and self.spec.stats_period:
                until(self._settled, BOOT_S, f"balloon at rest in guest {self.spec.name}")
                self.wait_fresh()
        except LabError as error:
            raise LabError(f"{error}; its console: {self.console_text()[-2000:]}") from error
        return self

    def wait_booted(self) -> None:
        """Wait until the agent answers."""
        self._agent.wait(lambda event: event.word == "ready", BOOT_S, f"boot of guest {self.spec.name}")

    def wait_fresh(self) -> None:
        """Wait for statistics that the guest took after this call."""
        news = self.news()
        self.wait_until(lambda _: news(), BOOT_S, "fresh statistics")

    def news(self) -> Callable[[], bool]:
        """Whether statistics have come that the guest took after this call; to be asked until they have."""
        told = [self.statistics().get("last_update", 0)]

        def come() -> bool:
            newest = self.statistics().get("last_update", 0)
            if newest > told[-1]:
                told.append(newest)
            return len(told) > 2  # the first that comes may have been under way

        return come

    def use(self, mib: int, *, wait: bool = True) -> None:
        """Hold exactly `mib` MiB of anonymous memory, every page touched, until told otherwise.

        Raises LabError when the guest does not get there (`wait`), be it because its OOM killer struck.
        """
        mark = self._agent.order(f"use {mib}")
        if wait:
            event = self._agent.wait(
                lambda event: event.word == "oom" or (event.word == "held" and event.values[1] == mib),
                ANSWER_S,
                f"guest {self.spec.name} holding {mib} MiB",
                mark,
            )
            if event.word == "oom":
                raise LabError(f"guest {self.spec.name}: its OOM killer ended the workload at {mib} MiB")

    def run_profile(self, points: Sequence[tuple[float, int]], *, loop: bool = False) -> None:
        """Follow a workload given as (second, MiB) points, joined by straight lines, from now on.

        Two points of the same second make a step. After the last point: stay, or start over (`loop`).
        """
        text = " ".join(f"{second:g}:{mib}" for second, mib in points)
        self._agent.order(f"{'loop' if loop else 'profile'} {text}")

    def serve(self, rate: int) -> None:
        """Have the workload do `rate` operations a second in the memory it holds; `evidence` counts those it did."""
        self._agent.order(f"serve {rate}")

    def clutter(self, files: int) -> None:
        """Fill about 0.9 KiB a file with inodes that the guest cannot give up, but counts as available, and 0.25 KiB
        with data in memory that looks like page cache.
        """
        self._agent.order(f"clutter {files}")
        self.wait_for("cluttered", CLUTTER_S)

    def hold_cold(self, mib: int) -> None:
        """Hold `mib` MiB more until its end, and touch no more than a page of it a second."""
        self._agent.order(f"cold {mib}")
        self.wait_for("cold")

    def read_files(self, mib: int) -> None:
        """Read the first `mib` MiB of its disk, which is its swap, and again each second until its end."""
        self._agent.order(f"files {mib}")
        assert self.wait_for("files").values[1] == mib

    def plug(self, mib: int) -> None:
        """Plug in a DIMM of `mib` MiB, a multiple of 128; `maximum` grows by it, and the guest uses it at once."""
        size = f"<target><size unit='MiB'>{mib}</size><node>0</node></target>"
        self.domain.attachDeviceFlags(f"<memory model='dimm'>{size}</memory>", libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def begin_backup(self) -> None:
        """Begin a backup of its swap disk that waits for a client: libvirt's job on the domain until `end_backup`."""
        for name in ("backup.sock", "scratch"):
            (self._folder / name).unlink(missing_ok=True)
        server = f"<server transport='unix' socket={quoteattr(f'{self._folder}/backup.sock')}/>"
        scratch = f"<scratch file={quoteattr(f'{self._folder}/scratch')}/>"
        disks = f"<disks><disk name='vda' type='file'>{scratch}</disk></disks>"
        self.domain.backupBegin(f"<domainbackup mode='pull'>{server}{disks}</domainbackup>", None, 0)

    def in_backup(self) -> bool:
        """Its backup is still under way."""
        return bool(self.domain.jobStats().get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP)

    def end_backup(self) -> None:
        """The client has read all it wanted."""
        self.domain.abortJob()

    def panic(self) -> None:
        """Crash the guest's kernel; QEMU runs on, statistics freeze."""
        self._agent.order("panic")
        until(lambda: self._panics() > 0, ANSWER_S, f"panic of guest {self.spec.name}")

    def wait_for(self, word: str, deadline_s: float = ANSWER_S) -> GuestEvent:
        """The first event of this kind, past or future, within the deadline."""
        return self._agent.wait(
            lambda event: event.word == word, deadline_s, f"event {word!r} of guest {self.spec.name}"
        )

    def events(self) -> list[GuestEvent]:
        """All events so far, oldest first."""
        return self._agent.events()

    def wanted(self) -> list[int]:
        """Every amount in MiB the workload has asked for so far, oldest first."""
        return [event.values[1] for event in self.events() if event.word == "want"]

    def evidence(self) -> Evidence:
        """The guest's own account of OOM kills, panics and swapping."""
        panics = self._panics()
        if panics:
            killed = sum(event.word == "oom" for event in self.events())
            return Evidence(oom_kills=killed, panics=panics, swapped_in_pages=0, major_faults=0)
        mark = self._agent.order("evidence")
        answer = self._agent.wait(
            lambda event: event.word == "evidence", ANSWER_S, f"evidence of guest {self.spec.name}", mark
        )
        oom_kills, swapped_in, swapped_out, major_faults, operations = answer.values
        return Evidence(oom_kills, panics, swapped_in, major_faults, swapped_out, operations)

    def statistics(self) -> dict[str, int]:
        """libvirt's balloon statistics: sizes in KiB, `last_update` in seconds of the host's clock."""
        return dict(self.domain.memoryStats())

    def actual(self) -> int:
        """The balloon's current size in MiB, rounded down; QEMU is asked."""
        return self.statistics()["actual"] // 1024

    def has(self, mib: int) -> bool:
        """Its balloon has this size, by QEMU's word and by libvirt's own, which follows that within a second."""
        return self.actual() == mib == self.recorded()

    def recorded(self) -> int:
        """Its size in MiB as libvirt heard of it last; QEMU is not asked."""
        return int(self.domain.info()[2]) // 1024

    def demand(self) -> int:
        """`actual - usable` in MiB, rounded down; as old as the statistics."""
        statistics = self.statistics()
        return (statistics["actual"] - statistics["usable"]) // 1024

    def wait_until(self, condition: Callable[[Self], bool], deadline_s: float, what: str) -> None:
        """Wait until `condition(self)` holds; raises LabError naming `what` and the last statistics."""
        try:
            until(lambda: condition(self), deadline_s, f"guest {self.spec.name}: {what}")
        except LabError as error:
            raise LabError(f"{error}; statistics {self.statistics()}") from error

    def console_text(self) -> str:
        """All the guest's kernel said."""
        return self.console.read_text(errors="replace")

    def alive(self) -> bool:
        """The domain exists and is not shut off."""
        try:
            return bool(self.domain.isActive())
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return False
            raise

    def reconnect(self, host: Libvirt) -> None:
        """After a restart of libvirtd: the same guest through a new connection."""
        self._connection = host.connect()
        self.domain = self._connection.lookupByUUIDString(self.uuid)

    def rejoin(self, host: Libvirt) -> None:
        """After its QEMU was replaced (restored from a file): the same guest, its agent on a new line."""
        self._agent.close()
        self.reconnect(host)
        self._agent = _Agent(self._folder / "agent.sock")

    def close(self) -> None:
        """Destroy and undefine the guest, if it still exists; without a libvirtd to ask, that is its reaper's."""
        self._agent.close()
        self._connection.close()
        with suppress(libvirt.libvirtError), closing(self._host.connect()) as connection:
            domain = connection.lookupByUUIDString(self.uuid)
            if domain.isPersistent():
                domain.undefine()
            domain.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _panics(self) -> int:
        return int("Kernel panic - not syncing" in self.console_text())  # it stays panicked: once at most

    def _settled(self) -> bool:
        goal = self.spec.current
        return goal is None or max(self.actual(), self.recorded()) <= goal


class _Agent:
    """The line to a guest's agent: orders out, events in, on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._events: list[GuestEvent] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"agent of {path.parent.name}", daemon=True)
        self._reader.start()

    def order(self, text: str) -> int:
        """Send an order; returns the number of events before it."""
        with self._arrived:
            mark = len(self._events)
        self._socket.sendall(f"{text}\n".encode())
        return mark

    def events(self) -> list[GuestEvent]:
        with self._arrived:
            return list(self._events)

    def wait(self, wanted: Callable[[GuestEvent], bool], deadline_s: float, what: str, mark: int = 0) -> GuestEvent:
        """The first event from `mark` on that is wanted."""
        found: list[GuestEvent] = []

        def look() -> bool:
            found.extend(event for event in self._events[mark:] if wanted(event))
            return bool(found)

        with self._arrived:
            if not self._arrived.wait_for(look, deadline_s):
                raise LabError(f"{what}: not within {deadline_s:g} s; its last events: {self._events[-3:]}")
        return found[0]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        # A guest that is killed resets it where an order was not read.
        with suppress(ConnectionResetError), self._socket.makefile("r", errors="replace") as lines:
            for line in lines:
                word, *values = line.split() or [""]
                event = GuestEvent(time.monotonic(), word, tuple(int(value) for value in values))
                with self._arrived:
                    self._events.append(event)
                    self._arrived.notify_all()


def virtio_mem(mib: int) -> str:
    """A device for a guest with `slots`, all of whose memory it is asked to plug in; multiples of 128 MiB."""
    size = f"<size unit='MiB'>{mib}</size><node>0</node><block unit='MiB'>2</block>"
    return f"<memory model='virtio-mem'><target>{size}<requested unit='MiB'>{mib}</requested></target></memory>"


def hurry(domain: libvirt.virDomain) -> None:
    """Its migration, under way with SLOW_MIB, goes as fast as it can from now on, and ends."""
    domain.migrateSetMaxDowntime(STOP_MS)
    domain.migrateSetMaxSpeed(FAST_MIB)


def _make_swap(folder: Path, mib: int) -> None:
    with (folder / "swap").open("wb") as disk:
        disk.truncate(mib * MIB)
    give_to_guests(folder / "swap")


def definition(spec: GuestSpec, boot: Image, folder: Path, kind: str) -> str:
    """The domain's XML; `kind` is its type, `kvm` or `qemu`. Paths are as its libvirtd sees them."""
    current = spec.maximum if spec.current is None else spec.current
    period = "" if spec.stats_period is None else f"<stats period='{spec.stats_period}'/>"
    autodeflate = " autodeflate='on'" if spec.autodeflate else ""
    reporting = " freePageReporting='on'" if spec.free_page_reporting else ""
    balloon = f"<memballoon model='{spec.balloon_model}'{autodeflate}{reporting}>{period}</memballoon>"
    numa = f"<numa><cell id='0' cpus='0' memory='{spec.maximum}' unit='MiB'/></numa>"
    swap = f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file={quoteattr(f"{folder}/swap")}/>
      <target dev='vda' bus='virtio'/>
    </disk>"""
    return f"""
<domain type='{kind}'>
  <name>{escape(spec.name)}</name>
  <metadata>{spec.metadata}</metadata>
  {f"<maxMemory slots='2' unit='MiB'>{4 * spec.maximum}</maxMemory>" if spec.slots else ""}
  <memory unit='MiB'>{spec.maximum}</memory>
  <currentMemory unit='MiB'>{current}</currentMemory>
  {f"<memoryBacking>{spec.backing}</memoryBacking>" if spec.backing else ""}
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{boot.kernel}</kernel>
    <initrd>{boot.initramfs}</initrd>
    <cmdline>console=ttyS0 quiet no_timer_check transparent_hugepage=never memhp_default_state=online</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'>{numa if spec.slots else ""}</cpu>
  <on_crash>preserve</on_crash>
  <devices>
    {f"<emulator>{escape(spec.emulator)}</emulator>" if spec.emulator else ""}
    <controller type='usb' model='none'/>
    <serial type='file'><source path={quoteattr(f"{folder}/console.log")}/><target port='0'/></serial>
    <serial type='unix'>
      <source mode='bind' path={quoteattr(f"{folder}/agent.sock")}/>
      <target port='1'/>
    </serial>
    {balloon if spec.balloon else "<memballoon model='none'/>"}{swap if spec.swap else ""}
    {spec.devices}
  </devices>{_command_line(spec, folder)}
</domain>"""


def _command_line(spec: GuestSpec, folder: Path) -> str:
    """QEMU's arguments that libvirt has no element for."""
    arguments: list[str] = []
    if spec.monitor:
        arguments += ["-qmp", f"unix:{folder}/monitor.sock,server=on,wait=off"]
    if spec.record:  # QEMU puts its process id in place of %d, and the time into every line
        arguments += ["-trace", "virtio_balloon_to_target", "-D", f"{folder}/balloon-%d.log", "-msg", "timestamp=on"]
    if not arguments:
        return ""
    elements = "".join(f"<qemu:arg value={quoteattr(argument)}/>" for argument in arguments)
    namespace = "http://libvirt.org/schemas/domain/qemu/1.0"
    return f"<qemu:commandline xmlns:qemu='{namespace}'>{elements}</qemu:commandline>"
