"""Keys as they are pressed, without Enter; and none where standard input is no terminal."""

import os
import re
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import Any, Self

_NAMES = {
    **{
        f"\x1b{kind}{letter}": name
        for kind in "[O"
        for letter, name in zip("ABCDHF", ("up", "down", "right", "left", "home", "end"), strict=True)
    },
    **{"\x1b[5~": "pageup", "\x1b[6~": "pagedown", "\x1b[1~": "home", "\x1b[4~": "end"},
    **{"\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace"},
}
"""By what terminals send (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html, PC-style function keys)."""
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
MOST = 4096
"""Bytes that are read at a time: more than anybody types, and some of what is pasted."""


class Keyboard:
    """A context manager; the terminal is afterwards as it was. Ctrl-C is a KeyboardInterrupt of `keys`, the second one
    at once: raised anywhere else it may hit a destructor, where Python drops it.
    """

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        self._interrupted, self._interrupt = os.pipe()
        os.set_blocking(self._interrupt, False)
        with suppress(ValueError):  # not the main thread, which gets no signals
            signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, signal.default_int_handler))
            signal.set_wakeup_fd(self._interrupt)  # `keys` may be about to wait, when Python runs no handler
        with suppress(OSError, ValueError, termios.error):  # not a terminal, closed, or a test's
            descriptor = sys.stdin.fileno()
            self._before = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._interrupted)
        os.close(self._interrupt)

    def keys(self, wait_s: float) -> list[str]:
        """What was pressed, as soon as something is; nothing after `wait_s` seconds. Raises KeyboardInterrupt."""
        descriptors = [self._interrupted, *([] if self._before is None else [sys.stdin.fileno()])]
        ready = select.select(descriptors, [], [], wait_s)[0]
        if self._interrupted in ready:
            raise KeyboardInterrupt
        if not ready:
            return []
        (descriptor,) = ready
        sent = os.read(descriptor, MOST)
        if not sent:  # the terminal is gone
            return ["q"]
        return named(sent.decode(errors="ignore"))


def named(sent: str) -> list[str]:
    """The keys in what a terminal sends: their characters, or names; those that have neither are left out."""
    found = (_NAMES.get(each, each) for each in _KEY.findall(sent))
    return [each for each in found if each in _NAMES.values() or (len(each) == 1 and each.isprintable())]
