"""Ballast with a wound: the same program, with one thing in it replaced. A program of its own, run by its path.

    wounded.py WOUND ARGUMENT...

Where a fault cannot be made from outside (die at one instruction, see another time than the host's) it is made here,
so that the product needs no switches for it. That a method is replaced is what each `type: ignore` here is about.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from controller.cli.main import main
from controller.engine.decision import Action, Decision
from controller.engine.snapshot import Samples
from controller.engine.state import State
from controller.engine.step import step
from controller.host import mover
from controller.host.connection import Connection
from controller.host.host import LibvirtHost
from controller.host.periods import Periods
from controller.loop import control
from controller.loop.clock import SystemClock

HOUR_S = 3600.0
LATE_S = 10.0
"""Far beyond the deadline of an order."""
LOOKS = 2
"""Looks it lives through: after one more it would know its guests well enough to take from them."""
JUMP_AFTER_S = 25.0
"""Ballast knows its guests and has settled by then."""

send = mover._send


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # not reached


def before_order() -> None:
    """Dies when the first balloon order is about to be given."""

    def dying(*_: Any) -> None:
        _die()

    mover._send = dying  # type: ignore[assignment]


def after_order() -> None:
    """Dies when libvirt has taken the first balloon order, before anything was noted of it."""

    def dying(*order: Any) -> None:
        send(*order)
        _die()

    mover._send = dying  # type: ignore[assignment]


def before_look() -> None:
    """Dies with a look in its hands that it has made nothing of, once it knows its guests."""
    look = LibvirtHost.look
    looks = iter(range(LOOKS))

    def dying(self: LibvirtHost, rows: Mapping[str, int]) -> Samples:
        samples = look(self, rows)
        if next(looks, None) is None:
            _die()
        return samples

    LibvirtHost.look = dying  # type: ignore[method-assign]


def after_decision() -> None:
    """Dies when it has decided to move a balloon, before any order."""

    def dying(*arguments: Any) -> tuple[State, Decision]:
        state, decision = step(*arguments)
        if decision.actions:
            _die()
        return state, decision

    setattr(control, "step", dying)  # noqa: B010 - the name the loop looks up; not one it exports


def before_grow() -> None:
    """Dies at the call of the first grow after a shrink: that has paid for it."""
    order = mover.Mover._move
    shrunk = False

    def dying(self: mover.Mover, action: Action) -> object:
        nonlocal shrunk
        if action.grows and shrunk:
            _die()
        shrunk |= not action.grows
        return order(self, action)

    mover.Mover._move = dying  # type: ignore[method-assign, assignment]


def order_late() -> None:
    """QEMU stands still at the first order to grow, for LATE_S, and takes it then."""
    order = mover.Mover._move
    stopped = False

    def late(self: mover.Mover, action: Action) -> object:
        nonlocal stopped
        if action.grows and not stopped:
            stopped = True
            qemu = _qemu(action.key.partition("@")[0])
            os.kill(qemu, signal.SIGSTOP)
            threading.Timer(LATE_S, os.kill, (qemu, signal.SIGCONT)).start()
        return order(self, action)

    mover.Mover._move = late  # type: ignore[method-assign, assignment]


def _qemu(uuid: str) -> int:
    """The process of a guest. Raises LookupError when there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone since the listing
            if f"\0-uuid\0{uuid}\0".encode() in (process / "cmdline").read_bytes():
                return int(process.name)
    raise LookupError(uuid)


def while_moving() -> None:
    """Dies at the first news of a balloon that is on its way."""
    hear = Connection._on_balloon

    def dying(self: Connection, *arguments: Any) -> None:
        hear(self, *arguments)
        _die()

    Connection._on_balloon = dying  # type: ignore[method-assign, assignment]


def period_set() -> None:
    """Dies when it has just set a guest's statistics period."""
    put = Periods._set

    def dying(self: Periods, *arguments: Any) -> bool:
        if put(self, *arguments):
            _die()
        return False

    Periods._set = dying  # type: ignore[method-assign, assignment]


def clock(jump_s: float) -> Callable[[], None]:
    """JUMP_AFTER_S from the start the time of day jumps, for Ballast and for every sample taken from then on."""

    def wound() -> None:
        jump_at = time.time() + JUMP_AFTER_S
        wall, look = SystemClock.wall, LibvirtHost.look

        def shifted_wall(self: SystemClock) -> float:
            true = wall(self)
            return true + (jump_s if true >= jump_at else 0.0)

        def shifted_look(self: LibvirtHost, rows: Mapping[str, int]) -> Samples:
            samples = look(self, rows)
            samples.updated[samples.updated >= jump_at] += jump_s
            return samples

        SystemClock.wall = shifted_wall  # type: ignore[method-assign]
        LibvirtHost.look = shifted_look  # type: ignore[method-assign]

    return wound


WOUNDS: dict[str, Callable[[], None]] = {
    "before-look": before_look,
    "after-decision": after_decision,
    "before-order": before_order,
    "after-order": after_order,
    "before-grow": before_grow,
    "while-moving": while_moving,
    "order-late": order_late,
    "period-set": period_set,
    "clock-forward": clock(HOUR_S),
    "clock-back": clock(-HOUR_S),
}

if __name__ == "__main__":
    WOUNDS[sys.argv[1]]()
    main(sys.argv[2:], prog_name="ballast")
