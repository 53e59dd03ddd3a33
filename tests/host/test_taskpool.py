"""Turns of many tasks in a few threads."""

import threading
import time
from collections.abc import Callable
from itertools import count

from controller.host import taskpool as module
from controller.host.taskpool import APART_S, AT_ONCE, HANGS_S, IDLE, Task, TaskPool
from lab.daemons import until


def threads() -> int:
    return sum(thread.name == "ballast-task" for thread in threading.enumerate())


class Turns:
    """Counts its turns; the `answers` are what they return."""

    def __init__(self, *answers: float | None) -> None:
        self.answers = list(answers)
        self.at: list[float] = []

    def __call__(self) -> float | None:
        self.at.append(time.monotonic())
        return self.answers.pop(0)


def begun(taskpool: TaskPool, turn: Callable[[], float | None]) -> Task:
    task = taskpool.task(turn)
    taskpool.start(task)
    return task


def test_a_task_has_its_next_turn_after_the_seconds_it_asked_for():
    turns = Turns(0.2, None)
    assert begun(TaskPool(), turns).ended.wait(10)
    assert 0.2 <= turns.at[1] - turns.at[0] < 5


def test_a_task_is_not_late_because_another_one_waits_longer():
    taskpool, early = TaskPool(), Turns(0.1, 0.1, None)
    later = begun(taskpool, Turns(60.0, None))
    until(lambda: not later.running, 10, "it rests")
    assert begun(taskpool, early).ended.wait(5)
    later.wake()
    assert later.ended.wait(10)


def test_a_task_that_is_woken_has_its_turn_now():
    task = begun(TaskPool(), Turns(60.0, None))
    until(lambda: task.due > 0, 10, "it has had a turn, and rests")
    task.wake()
    assert task.ended.wait(10)


def test_a_task_that_is_woken_during_its_turn_has_another_one_at_once():
    going_on, woken = threading.Event(), count()

    def turn() -> float | None:
        if next(woken):
            return None
        assert going_on.wait(10)
        return 60.0

    task = begun(TaskPool(), turn)
    until(lambda: task.running, 10, "it runs")
    task.wake()
    going_on.set()
    assert task.ended.wait(10)


def test_a_task_that_is_woken_without_end_has_a_turn_now_and_then():
    taskpool, turns, began = TaskPool(), [], time.monotonic()

    def turn() -> float | None:
        turns.append(time.monotonic())
        task.wake()
        return None if len(turns) == 6 else 60.0

    task = taskpool.task(turn)
    taskpool.start(task)
    until(lambda: task.ended.wait(0) or task.wake(), 10, "it has ended")
    assert all(turn - began > 0.99 * number * APART_S for number, turn in enumerate(turns))
    assert turns[-1] - turns[0] < 10 * 5 * APART_S


def test_turns_that_hang_keep_no_other_waiting_but_for_a_moment():
    taskpool, gate = TaskPool(), threading.Event()
    hanging = [begun(taskpool, lambda: gate.wait(20) and None) for _ in range(3 * AT_ONCE)]
    assert begun(taskpool, Turns(None)).ended.wait(10 * HANGS_S)
    gate.set()
    assert all(task.ended.wait(10) for task in hanging)


def test_many_that_are_due_at_once_take_their_turns_in_a_few_threads(monkeypatch):
    monkeypatch.setattr(module, "HANGS_S", 10.0)
    taskpool, most, lock, running = TaskPool(), [], threading.Lock(), []

    def turn() -> float | None:
        with lock:
            running.append(None)
            most.append((len(running), threads()))
        time.sleep(0.005)
        with lock:
            running.pop()
        return None

    tasks = [begun(taskpool, turn) for _ in range(50)]
    assert all(task.ended.wait(10) for task in tasks)
    assert max(at_once for at_once, _ in most) <= AT_ONCE
    assert max(number for _, number in most) <= AT_ONCE + IDLE + 1


def test_threads_that_have_nothing_to_do_end():
    before, gate, taskpool = threads(), threading.Event(), TaskPool()
    resting = begun(taskpool, Turns(60.0, None))
    hanging = [begun(taskpool, lambda: gate.wait(20) and None) for _ in range(10)]
    gate.set()
    assert all(task.ended.wait(10) for task in hanging)
    until(lambda: threads() <= before + IDLE, 10, "as many are left as wait for turns")
    resting.wake()
    assert resting.ended.wait(10)
    until(lambda: threads() <= before, 10, "all have ended")


def test_a_task_that_has_ended_is_not_woken():
    turns = Turns(None)
    task = begun(TaskPool(), turns)
    assert task.ended.wait(10)
    task.wake()
    assert len(turns.at) == 1
