"""Searching for the least that serves."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_traces import MAXIMUM, trace

from controller.api.documents import load
from controller.replay.backtest import ReplayRun, Setting, TraceSource, base_mib
from controller.replay.controllers import make
from controller.replay.pool import Pool
from controller.replay.run import replay
from controller.replay.run import serves as is_served
from controller.replay.score import ReplayFigures
from controller.replay.sweep import ENOUGH, Search, bounds, least, plan, run_all, trials
from controller.replay.world import SimulatedHost

POLICY = "apiVersion: ballast.dev/v1alpha1\nkind: MemoryPolicy\nmetadata: {name: all}\n"


def searched(serves: Callable[[int], bool], low: int, high: int, serves_high: bool) -> tuple[int | None, list[int]]:
    """What is found, and what was tried for it."""
    tried: list[int] = []
    course = least(int, low, high, serves_high)
    try:
        number = next(course)
        while True:
            tried.append(number)
            number = course.send(serves(number))
    except StopIteration as end:
        return end.value, tried


@given(st.data())
def test_the_least_that_serves_is_found_in_few_tries(data: st.DataObject) -> None:
    low = data.draw(st.integers(0, 1000))
    high = data.draw(st.integers(low + 1, 2000))
    needed = data.draw(st.integers(low + 1, high))
    known = data.draw(st.booleans())

    found, tried = searched(lambda number: number >= needed, low, high, known)

    assert found == needed
    assert len(tried) <= trials(low, high, known)


@pytest.mark.parametrize("most", [1, 300])
def test_there_is_none_when_the_most_does_not_serve(most: int) -> None:
    assert searched(lambda _: False, 0, most, False) == (None, [most])


def source() -> TraceSource:
    """Two domains; the peak of both together is 1500 MiB."""
    busy = trace(a=[500.0] * 40 + [1000.0] * 20, b=[500.0] * 60, maximum=4000)
    return TraceSource("trace.csv", "trace", busy)


def one_search(controller: str = "static") -> Search:
    (policy,) = load(POLICY, "policy.yaml").policies
    return plan([source()], [controller], Setting(policy))[0]


def run(percent: float, harm: float, controller: str = "static", path: str = "trace.csv") -> ReplayRun:
    made = source()
    figures = ReplayFigures(harm, 0.0, 0.0, harm, 0.0, 0.0)
    return ReplayRun(
        TraceSource(path, "trace", made.trace), percent / 100 * base_mib(made.trace), controller, figures, None
    )


class TestBounds:
    """What replays that were made anyway tell a search."""

    def test_nothing_known_every_size_up_to_everybodys_maximum_is_possible(self) -> None:
        assert bounds(one_search(), []) == (0, 534, False)

    def test_a_host_that_served_is_the_most_and_one_that_did_not_the_least(self) -> None:
        runs = [run(110, 0.01), run(125, 0.0011), run(150, 0.001), run(175, 0.0)]

        assert bounds(one_search(), runs) == (125, 150, True)

    def test_a_size_between_two_percents_tells_of_those_around_it(self) -> None:
        assert bounds(one_search(), [run(110.5, 0.01), run(149.5, 0.0)]) == (110, 150, True)

    def test_a_host_that_did_not_serve_tells_nothing_when_a_smaller_one_did(self) -> None:
        assert bounds(one_search(), [run(110, 0.0), run(150, 0.01)]) == (0, 110, True)

    def test_other_controllers_and_traces_tell_nothing(self) -> None:
        runs = [run(110, 0.01, controller="mom"), run(150, 0.0, path="other.csv")]

        assert bounds(one_search(), runs) == (0, 534, False)


class ProgressCount:
    """Counts what is announced and what has ended."""

    def __init__(self) -> None:
        self.announced = self.ended = 0

    def more(self, count: int) -> None:
        self.announced += count

    def done(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("known", [[], [run(110, 0.5), run(150, 0.0)]], ids=["alone", "after replays"])
def test_a_search_finds_the_size_from_which_replays_harm_little_and_announces_its_replays(
    known: list[ReplayRun],
) -> None:
    watcher = ProgressCount()

    with Pool(1) as pool:
        (need,) = run_all([one_search()], known, pool, watcher)

    trace_, setting = source().trace, one_search().setting

    def harm(percent: int) -> float:
        return replay(trace_, make("static", setting.policy), percent / 100 * base_mib(trace_)).figures.harm

    assert need.percent is not None
    assert harm(need.percent) <= ENOUGH < harm(need.percent - 1)
    assert watcher.announced - 1 <= watcher.ended <= watcher.announced
    assert watcher.announced == (11 if not known else 6)


@pytest.mark.parametrize("name", ["static", "max", "mom", "proxmox", "qmemman", "probe", "virtui", "clairvoyant"])
@pytest.mark.parametrize("host", [700.0, 1200.0, 1500.0, 2500.0])
@pytest.mark.parametrize("autodeflate", [False, True])
def test_a_replay_that_ends_early_says_what_the_whole_one_says(name: str, host: float, autodeflate: bool) -> None:
    demand = trace(
        a=[500.0, 900.0] * 30, b=[300.0] * 20 + [1000.0] * 20 + [20.0] * 20, c=[10.0] * 30, maximum=MAXIMUM / 4
    )
    setting = one_search(name).setting
    harm = replay(demand, make(name, setting.policy), host, autodeflate).figures.harm

    for enough in (0.0, 0.5 * harm, 0.999 * harm, harm, 1.001 * harm, 0.001):
        assert is_served(demand, make(name, setting.policy), host, enough, autodeflate) == (harm <= enough)


def test_a_replay_ends_as_soon_as_too_much_is_missing() -> None:
    class Idle:
        """Never looks."""

        hears = False
        feels = False
        world: SimulatedHost

        def start(self, world: SimulatedHost) -> None:
            self.world = world

        def next_look(self) -> float:
            return float("inf")

        def act(self, world: SimulatedHost) -> None:
            raise AssertionError(world)

    idle = Idle()
    demand = trace(a=[1000.0] * 1001)

    assert not is_served(demand, idle, 500, 0.1)
    assert 195 <= idle.world.now <= 205
