"""Where one fault happens: a private libvirtd, two guests with a workload, Ballast, and somebody who watches."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from faulting.judge import Order, orders, without
from faulting.watch import Onlooker
from lab.ballast import COMMAND, BallastProcess
from lab.daemons import until
from lab.errors import LabError
from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd

BUDGET_MIB = 576
"""For two guests of 384 MiB: one grows only with what the other gives."""
REST_MIB = 40
NEED_MIB = 260
"""What a workload holds at rest, and in need: more than a guest starts with."""
KERNEL_MIB = 40
"""What the guest's kernel needs at least besides."""
PATIENCE_S = 90.0
"""Deadline of whatever Ballast should do by itself; most of it takes seconds."""
SWAP_MIB = 256
CEILING_PERCENT = 96
"""Of its maximum that a guest may have at most: QEMU itself cuts off what is above all of it, and none would show."""
CEILING = CEILING_PERCENT / 100

SPEC: dict[str, Any] = {
    "mode": "Enforce",
    "budget": {"maximum": f"{BUDGET_MIB}Mi"},
    "limits": {"minimum": "96Mi", "minimumPercent": 1, "maximumPercent": CEILING_PERCENT},
    "headroom": {"quantity": "48Mi"},
    "advanced": {"shrink": {"stabilizationSeconds": 3}, "monitoring": {"maximumIntervalSeconds": 1}},
    "spare": "Reclaim",
}
"""Of the stage's policy: quick in all respects, so that a fault meets moving balloons."""
POLICY_NAME = "faults"


class _Staged(BallastProcess):
    """`ballast run` with a log that programs can read, and with a wound if one is named."""

    def __init__(self, policies: Path, uri: str, log: Path, proc: Path, wound: str, port: int) -> None:
        wounded = (sys.executable, str(Path(__file__).with_name("wounded.py")), wound)
        self.program = wounded if wound else (str(COMMAND),)
        arguments = ["run", "--policies", str(policies), "--connect", uri, "--proc", str(proc), "--log-format", "json"]
        self._launch(arguments, log, keep=False, port=port)


class Stage:
    """Everything up and at rest inside the `with` block: `giver` and `taker`, each with its workload."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        """What ends with the stage."""
        self.ballast: BallastProcess
        """The one started last."""
        self.lasts_s = 0.0
        """How long the fault is to go on; 0: until it is over."""
        self._outside: dict[str, list[float]] = {}
        """When somebody else set a guest's balloon, by UUID; seconds since the epoch."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.host = stack.enter_context(PrivateLibvirtd())
            self.log = self.host.root / "ballast.log"
            self.log.touch()  # also where Ballast is never started
            self.proc = Path("/proc")
            self.policies = self.host.root / "policies"
            self.policies.mkdir()
            self.rule()
            self.giver = stack.enter_context(Guest(self.host, self.spec("giver")))
            self.taker = stack.enter_context(Guest(self.host, self.spec("taker")))
            self.cast = [self.giver, self.taker]
            for guest in self.guests:
                guest.wait_ready().use(REST_MIB)
            self.watch = stack.enter_context(Onlooker(self.host))
            self.stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, trace)

    @property
    def guests(self) -> list[Guest]:
        """Those of the cast that were not replaced."""
        return [*{guest.spec.name: guest for guest in self.cast}.values()]

    @staticmethod
    def spec(name: str, **changes: Any) -> GuestSpec:
        """How a guest is defined: half the budget at first, of a maximum that is more than half of it."""
        usual = GuestSpec(name, 384, BUDGET_MIB // 2, swap=SWAP_MIB, persistent=True, record=True)
        return replace(usual, **changes)

    def rule(self, **changes: Any) -> None:
        """Put the policy in force, with these fields of its spec another way."""
        head = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": POLICY_NAME}}
        (self.policies / "policy.yaml").write_text(json.dumps(head | {"spec": SPEC | changes}))

    def join(self, name: str, **changes: Any) -> Guest:
        """One more guest, with these fields of its spec another way; the budget grows by what it has."""
        guest = self.stack.enter_context(Guest(self.host, self.spec(name, **changes)))
        self.cast.append(guest)
        self.rule(budget={"maximum": f"{BUDGET_MIB + BUDGET_MIB // 2}Mi"})
        return guest.wait_ready()

    def replace_giver(self) -> None:
        """A guest of the same name takes the giver's place; what became of that one counts on."""
        self.giver = self.stack.enter_context(Guest(self.host, self.spec("giver")))
        self.cast.append(self.giver)
        self.giver.wait_ready()

    def set_from_outside(self, guest: Guest, mib: int) -> None:
        """`virsh setmem` by somebody else."""
        self._outside.setdefault(guest.uuid, []).append(time.time())
        guest.domain.setMemory(mib * 1024)

    def orders(self, guest: Guest) -> list[list[Order]]:
        """What Ballast told a guest's QEMU, as that wrote it down; a list a QEMU, for a guest may have had several."""
        others = self._outside.get(guest.uuid, ())
        return [without(orders(record.read_text().splitlines()), others) for record in guest.records]

    def distance(self, guest: Guest) -> float:
        """MiB between a guest's balloon and what QEMU was told last; 0 when it was told nothing."""
        return sum(abs(guest.actual() - order.target) for order in self.orders(guest)[-1][-1:])

    def start(self, wound: str = "", port: int = 0) -> None:
        """Start Ballast (again), with the wound named if any; its page at `port`, or at one that is free."""
        staged = _Staged(self.policies, self.host.uri, self.log, self.proc, wound, port)
        self.ballast = self.stack.enter_context(staged)

    def run(self) -> None:
        """Start Ballast and wait until it has taken what the guests do not use."""
        self.start()
        self.settle()

    def settle(self) -> None:
        """Wait until both guests are small."""
        for guest in self.guests:
            self.wait(partial(self.small, guest), f"{guest.spec.name} shrunk to its need")

    def small(self, guest: Guest) -> bool:
        """Its balloon is near the size it needs at rest."""
        return self.watch.allocation(guest.uuid) < BUDGET_MIB // 3

    def domain(self, guest: Guest) -> dict[str, Any]:
        """Ballast's word on a guest; empty when it does not know it."""
        return next((each for each in self.ballast.state()["domains"] if each["uuid"] == guest.uuid), {})

    def reported(self, guest: Guest, *reasons: str) -> None:
        """Wait until Ballast gives one of these reasons for a guest."""
        until(
            lambda: self.domain(guest).get("reason") in reasons, PATIENCE_S, f"{guest.spec.name} reported as {reasons}"
        )

    def served(self, guest: Guest, since: float, need: int = NEED_MIB) -> float:
        """Seconds from `since` (monotonic) until the guest, made to need `need` MiB, has been given it."""
        guest.use(need, wait=False)
        enough = need + KERNEL_MIB
        self.wait(lambda: self.watch.allocation(guest.uuid) >= enough, f"{guest.spec.name} given what it needs")
        return time.monotonic() - since

    @staticmethod
    def wait(condition: Callable[[], bool], what: str) -> None:
        """Within PATIENCE_S."""
        until(condition, PATIENCE_S, what)

    def alive(self, guest: Guest) -> bool:
        """It runs, and its agent answers."""
        try:
            return guest.alive() and guest.evidence().panics == 0
        except LabError:
            return False
