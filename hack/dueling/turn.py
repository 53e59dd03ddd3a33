"""One turn: guests boot, a controller takes them over, their workloads run, and what comes of it is measured."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from controller.replay.controllers import OURS
from dueling.casts import Cast
from dueling.live import STARTED
from dueling.measures import Measures, Observed, measured, moves
from faulting.judge import Order, orders
from lab import endurance
from lab.ballast import READY_S, STOP_S, BallastProcess
from lab.daemons import until
from lab.errors import LabError
from lab.guest import Guest
from lab.libvirtd import PrivateLibvirtd
from lab.sampling import Sampler
from lab.scenario import ScenarioPart

ROOT = Path(__file__).parents[2]
RATE = 1000
"""Operations a second that each workload is asked for: 1 % of an emulated CPU, so that memory is what decides."""
FREE_MIB = 24
"""What a guest's kernel keeps free for itself, with some to spare."""
POLL_S = 0.5
"""Between two looks for workloads that were killed; what runs them starts them anew, as a service manager would."""
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Driver(Protocol):
    """A running controller, its process ended by the `with` block."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def ended(self) -> bool:
        """It is gone before its time."""
        ...

    def log_tail(self) -> str:
        """The end of what it said."""
        ...


class Peer:
    """A peer that drives all guests of a libvirtd, in a process of its own."""

    def __init__(self, name: str, uri: str, budget_mib: float, scale: float, log: Path) -> None:
        self._log = log
        arguments = [name, uri, f"{budget_mib:g}", f"{scale:g}"]
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "dueling.live", *arguments]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'hack'}:{ROOT}", "LIBVIRT_AUTOSTART": "0"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> bool:
        """The process is gone."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Until it drives them. Raises LabError."""
        until(lambda: self.ended() or STARTED in self.log_tail(), READY_S, f"peer ready; its log: {self.log_tail()}")

    def log_tail(self) -> str:
        """All it said."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:  # libvirtd hangs, and the peer with it
            self._process.kill()
            self._process.wait()


class Workloads:
    """What a cast's guests do from now on, each from its second 0."""

    def __init__(self, guests: Sequence[Guest], parts: Sequence[ScenarioPart]) -> None:
        self._pairs = list(zip(guests, parts, strict=True))
        self._restarted = [0] * len(guests)
        for guest, part in self._pairs:
            if part.cold:
                guest.hold_cold(part.cold)
            if part.files:
                guest.read_files(part.files)
            guest.serve(RATE)
            guest.run_profile(part.workload, loop=True)

    def revive(self) -> None:
        """Start those anew that were killed since."""
        for number, (guest, part) in enumerate(self._pairs):
            killed = sum(event.word == "oom" for event in guest.events())
            if killed > self._restarted[number]:
                self._restarted[number] = killed
                guest.run_profile(part.workload, loop=True)


@dataclass(frozen=True, slots=True)
class TurnTerms:
    """The same for every turn."""

    settle_s: float
    """From the workloads' start until measuring begins."""
    seconds: float
    """Measured."""
    scale: float
    """Peers take everything for that many times as large."""


def play(host: PrivateLibvirtd, cast: Cast, controller: str, terms: TurnTerms) -> Measures:
    """`cast` under `controller`. Raises LabError."""
    with ExitStack() as stack:
        guests = [stack.enter_context(Guest(host, replace(part.spec, record=True))) for part in cast.parts]
        idle = {guest.spec.name: float(guest.wait_ready().demand()) for guest in guests}
        _fill(guests, idle)
        folder = Path(tempfile.mkdtemp(prefix=f"{cast.name}-{controller}-", dir=host.root))
        driver = _started(stack, host, cast, controller, folder, terms.scale)
        workloads = Workloads(guests, cast.parts)
        _pass(terms.settle_s, driver, workloads)
        before, spent, epoch = [guest.evidence() for guest in guests], cpu_s(driver.pid), time.time()
        start = time.monotonic()
        with Sampler(host.uri, guests, idle) as sampler:
            _pass(terms.seconds, driver, workloads)
            end = time.monotonic()
        if sampler.error is not None:
            raise LabError(f"a guest or libvirtd is gone: {sampler.error}")
        spent = cpu_s(driver.pid) - spent
        return measured(
            Observed(
                seconds=end - start,
                start=start,
                tracks=sampler.tracks,
                events=[guest.events() for guest in guests],
                before=before,
                after=[guest.evidence() for guest in guests],
                moves=sum(moves(_orders(guest), epoch) for guest in guests),
                cpu_s=spent,
                memory_mib=endurance.read(driver.pid, end).memory_mib,
            ),
            cast.budget_mib,
        )


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the process has taken so far, all its threads. Raises OSError when it is gone."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _fill(guests: Sequence[Guest], idle: dict[str, float]) -> None:
    """All they were given has been in use once, as of guests that have run for long: nobody begins with fresh pages."""
    amounts = [max(guest.actual() - int(idle[guest.spec.name]) - FREE_MIB, 0) for guest in guests]
    for guest, amount in zip(guests, amounts, strict=True):
        guest.use(amount, wait=False)
    for guest, amount in zip(guests, amounts, strict=True):
        guest.use(amount)
        guest.use(0, wait=False)
    for guest in guests:
        guest.wait_fresh()


def _started(
    stack: ExitStack, host: PrivateLibvirtd, cast: Cast, controller: str, folder: Path, scale: float
) -> Driver:
    if controller != OURS:
        peer = stack.enter_context(Peer(controller, host.uri, cast.budget_mib, scale, folder / "log"))
        peer.wait()
        return peer
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(cast.policy)
    ballast = stack.enter_context(BallastProcess(policies, host.uri, folder / "log", keep=False))
    ballast.wait_for_domains(len(cast.parts))
    return ballast


def _pass(seconds: float, driver: Driver, workloads: Workloads) -> None:
    """The time that is to pass."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if driver.ended():
            raise LabError(f"the controller has ended; its log ends:\n{driver.log_tail()}")
        workloads.revive()
        time.sleep(min(POLL_S, left))


def _orders(guest: Guest) -> list[Order]:
    """What its QEMU wrote down of them."""
    return [order for record in guest.records for order in orders(record.read_text().splitlines())]
