"""A thread that does one thing again and again, sooner if woken, and that nothing it meets can end."""

import logging
import threading
from collections.abc import Callable
from traceback import extract_tb
from types import TracebackType
from typing import Self

from controller.cluster.retry import spread

_log = logging.getLogger(__name__)

DEFECT_S = 10.0
"""Seconds to the next turn after one that failed of a defect: it may well fail again."""
DEFECTS = 100
"""Defects that are remembered, and so said, in the life of a process."""
ENDING_S = 5.0
"""Seconds to wait for the thread at the end; what it still does then, the process's end cuts off."""


class Worker:
    """Calls `turn`, waits the seconds it returns or until woken, and so on. A context manager.

    An exception that `turn` lets out is a defect: the first of its type and origin is logged with its traceback, and
    the thread goes on.
    """

    def __init__(self, name: str, turn: Callable[[], float], interrupt: Callable[[], None] = lambda: None) -> None:
        """`interrupt` makes a `turn` that waits for something return; it is called once, at the end."""
        self._name = name
        self._turn = turn
        self._interrupt = interrupt
        self._defects: set[tuple[object, ...]] = set()
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopped(self) -> bool:
        """True from the end of the `with` block on."""
        return self._stopped.is_set()

    def wake(self) -> None:
        """Have the next turn now, or at once after the present one. From any thread."""
        self._woken.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._woken.set()
        self._interrupt()
        self._thread.join(ENDING_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._woken.wait(self._once())

    def _once(self) -> float:
        self._woken.clear()
        try:
            return self._turn()
        except Exception as error:  # nothing a turn meets may end the thread
            defect = (type(error), *((frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)))
            if defect not in self._defects and len(self._defects) < DEFECTS:
                self._defects.add(defect)
                _log.error("%s: a defect of Ballast; it goes on", self._name, exc_info=error)
            return spread(DEFECT_S)
