"""Runs the turns of many tasks in a few threads: a turn that hangs keeps its thread, and no other task waits."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

AT_ONCE = 4
"""Turns at a time: each lists domains in a millisecond, and at the start of a node 110 of them are due at once."""

HANGS_S = 0.2
"""A turn that takes longer waits for a libvirt: it does not count as one of AT_ONCE any more."""

APART_S = 0.1
"""Between the beginnings of two turns of one task at least, however often it is woken: wakes come in bursts, and a
false libvirt tells some without end."""

IDLE = 2
"""Threads that stay without a turn: one takes the next, the other waits for the one after it."""


class Task:
    """Work that is done in turns."""

    def __init__(self, turn: Callable[[], float | None], wake: Callable[["Task"], None]) -> None:
        self.turn = turn
        self.due = 0.0
        """Monotonic seconds from which on it may have its next turn."""
        self.began = -math.inf
        """Monotonic seconds; of the newest turn."""
        self.running = False
        self.woken = False
        """It was woken while it ran."""
        self.ended = threading.Event()
        """Set before it is started, and after its last turn."""
        self.ended.set()
        self._wake = wake

    def wake(self) -> None:
        """Have its next turn now, or after the present one; APART_S after the last one began. From any thread."""
        self._wake(self)


class TaskPool:
    """Runs tasks in daemon threads, of which there are IDLE and one for each turn that runs. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: set[Task] = set()
        self._idle = 0
        """Threads that run no turn."""
        self._until = math.inf
        """Monotonic seconds until which one of them waits; the others wait only for news."""

    def task(self, turn: Callable[[], float | None]) -> Task:
        """One to be started: `turn` may have it woken from its first moment on. It must not raise."""
        return Task(turn, self._wake)

    def start(self, task: Task) -> None:
        """Call its turn now, and again after the seconds that returns or when woken; None was the last one."""
        with self._changed:
            task.ended.clear()
            self._tasks.add(task)
            self._call()

    def _wake(self, task: Task) -> None:
        with self._changed:
            if task.running:
                task.woken = True
            elif task in self._tasks:
                task.due = task.began + APART_S
                self._call()

    def _call(self) -> None:
        """Somebody is to see to what is due; the lock is held."""
        if self._idle:
            self._changed.notify()
            return
        with suppress(RuntimeError):  # out of threads: who runs a turn sees to it afterwards
            threading.Thread(target=self._work, name="ballast-task", daemon=True).start()
            self._idle += 1

    def _work(self) -> None:
        while (task := self._take()) is not None:
            self._put(task, task.turn())

    def _take(self) -> Task | None:
        """Wait for a turn; None when this thread is not needed any more."""
        with self._changed:
            while self._tasks and self._idle <= IDLE:
                task, seconds = self._next()
                if task is not None:
                    task.running, task.woken, task.began = True, False, time.monotonic()
                    self._idle -= 1
                    self._call()
                    return task
                self._wait(seconds)
            self._idle -= 1
            self._changed.notify()  # what this one was called for, another one sees to
            return None

    def _put(self, task: Task, seconds: float | None) -> None:
        """A turn has ended."""
        with self._changed:
            self._idle += 1
            task.running = False
            if seconds is not None:
                task.due = task.began + APART_S if task.woken else time.monotonic() + seconds
                return
            self._tasks.discard(task)
            task.ended.set()
            if not self._tasks:
                self._changed.notify_all()

    def _next(self) -> tuple[Task | None, float | None]:
        """The task whose turn it is; otherwise the seconds until one may be, None: until there is news."""
        first = min((task for task in self._tasks if not task.running), key=lambda task: task.due, default=None)
        if first is None:
            return None, None
        now = time.monotonic()
        if first.due > now:
            return None, first.due - now
        swift = [task.began for task in self._tasks if task.running and now - task.began < HANGS_S]
        if len(swift) >= AT_ONCE:
            return None, min(swift) + HANGS_S - now
        return first, None

    def _wait(self, seconds: float | None) -> None:
        due = math.inf if seconds is None else time.monotonic() + seconds
        if due >= self._until:
            self._changed.wait()
            return
        self._until = due
        self._changed.wait(seconds)
        if self._until == due:
            self._until = math.inf
