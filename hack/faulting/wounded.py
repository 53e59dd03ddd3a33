"""Ballast with a wound: the same program, with one thing in it replaced. A program of its own, run by its path.

    wounded.py WOUND ARGUMENT...

Where a fault cannot be made from outside (die at one instruction, see another time than the host's) it is made here,
so that the product needs no switches for it.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from controller.cli.main import main
from controller.engine.snapshot import Samples
from controller.host import mover
from controller.host.look import to_samples
from controller.loop import control
from controller.loop.clock import SystemClock

HOUR_S = 3600.0
JUMP_AFTER_S = 25.0
"""Ballast knows its guests and has settled by then."""

move = mover._set


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # not reached


def before_order() -> None:
    """Dies when the first balloon order is about to be given."""

    def dying(_domain: Any, _size: int) -> None:
        _die()

    mover._set = dying  # type: ignore[assignment]


def after_order() -> None:
    """Dies when libvirt has taken the first balloon order, before anything was noted of it."""

    def dying(domain: Any, size: int) -> None:
        move(domain, size)
        _die()

    mover._set = dying


def clock(jump_s: float) -> Callable[[], None]:
    """JUMP_AFTER_S from the start the time of day jumps, for Ballast and for every sample taken from then on."""

    def wound() -> None:
        jump_at = time.time() + JUMP_AFTER_S
        wall = SystemClock.wall

        def shifted_wall(self: SystemClock) -> float:
            true = wall(self)
            return true + (jump_s if true >= jump_at else 0.0)

        def shifted_samples(*arguments: Any) -> Samples:
            samples = to_samples(*arguments)
            samples.updated[samples.updated >= jump_at] += jump_s
            return samples

        SystemClock.wall = shifted_wall  # type: ignore[method-assign]
        setattr(control, "to_samples", shifted_samples)  # noqa: B010 - the name the loop looks up; not one it exports

    return wound


WOUNDS: dict[str, Callable[[], None]] = {
    "before-order": before_order,
    "after-order": after_order,
    "clock-forward": clock(HOUR_S),
    "clock-back": clock(-HOUR_S),
}

if __name__ == "__main__":
    WOUNDS[sys.argv[1]]()
    main(sys.argv[2:], prog_name="ballast")
