"""What every stage builds its table with."""

import ast
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from stages import plain

from controller.engine.allocation import Exposure
from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import Held, HostState
from controller.engine.inventory import DomainFacts, NodeBudget
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.polling import Polling
from controller.engine.snapshot import HostReading
from controller.engine.state import State, Totals
from controller.engine.tables import Bools, Floats, Frozen, Ints, Table, column


@dataclass(frozen=True)
class Sizes(Table):
    size: Floats = column(1.0)
    count: Ints = column(0)
    known: Bools = column(False)


@pytest.mark.parametrize(
    ("where", "size", "count", "known"),
    [
        ([False, False], [1.0, 1.0], [0, 0], [False, False]),
        ([False, True], [1.0, 6.0], [0, 3], [False, True]),
        ([True, True], [5.0, 6.0], [3, 3], [True, True]),
    ],
)
def test_values_are_put_where_they_belong_and_nowhere_else(
    where: list[bool], size: list[float], count: list[int], known: list[bool]
) -> None:
    before = Sizes.blank(2)
    after = before.put(np.array(where), size=np.array([5.0, 6.0]), count=3, known=True)
    assert (after.size.tolist(), after.count.tolist(), after.known.tolist()) == (size, count, known)
    assert [after.size.dtype, after.count.dtype, after.known.dtype] == [np.float64, np.int64, np.bool_]
    assert plain(before) == plain(Sizes.blank(2))


BEGINS_OTHERWISE = {"width": 1.0, "exhausted_at": np.inf}
"""Bounds are as wide as the model has them, and nobody is foreseen to run out."""


TABLES: tuple[type[Table], ...] = (
    *(Observation, GuestPressure, Balloon, BalloonEffect, Growth, Estimate, Exposure, Polling),
)


@pytest.mark.parametrize("kind", TABLES)
def test_of_a_new_domain_nothing_is_known_nothing_has_happened_and_nothing_is_awaited(kind: type[Table]) -> None:
    blank = {name: values[0] for name, values in vars(kind.blank(1)).items()}
    others = {name: value for name, value in blank.items() if value != 0 and not np.isnan(value) and value != -np.inf}
    assert others == {name: value for name, value in BEGINS_OTHERWISE.items() if name in blank}


def test_of_a_new_host_nothing_is_known() -> None:
    host = HostState()
    assert (host.reading.total, host.reading.available) == (0, 0)
    assert [host.own_use, host.own_forecast, host.devices, host.budget, host.lendable, host.backoff] == [0] * 6
    assert (host.lends_at, host.updated) == (-np.inf, -np.inf)
    assert host.history.count.tolist() == [0]


def test_what_a_host_does_not_tell_is_nothing() -> None:
    told = HostReading(4.0, 3.0)
    assert [told.swap_used, told.pressure, told.mark, told.merged, told.shared] == [0, False, 0, 0, 0]
    assert Held(1.0, 2.0) == (1, 2, 0, 0, 0)
    assert NodeBudget(1.0, 0.0).maximum == np.inf


def test_nothing_is_counted_before_the_first_step() -> None:
    assert {value for name, value in vars(Totals()).items() if name not in {"at", "accuracy"}} == {0}
    assert np.isnan(Totals().at)


def test_a_domain_is_an_ordinary_one_unless_its_definition_says_otherwise() -> None:
    facts = DomainFacts(key="key", uuid="uuid", name="name", incarnation=1, maximum=2, definition=3)
    assert (facts.autodeflate, facts.resident, facts.in_file) == (False, True, False)
    assert (facts.reset_at, facts.started_at, facts.statistics_period) == (0, 0, 1)
    assert (facts.devices, facts.plugged) == (0, 0)


def test_one_value_put_into_all_rows_becomes_a_column() -> None:
    after = Sizes.blank(2).put(np.array([True, True]), size=7.0, count=np.array([1, 2]))
    assert (after.size.tolist(), after.count.tolist()) == ([7.0, 7.0], [1, 2])


WRITERS: dict[type[Frozen], str] = {
    **{kind: kind.__module__.split(".")[-1] for kind in (*TABLES, HostState)},
    **{Balloon: "balloon", State: "step", Totals: "step"},
}
CONTROLLER = Path(__file__).parents[2] / "controller"
IMAGINED = ("step", {"allocation"})
"""Under Observe sizes are imagined, in a table that is not kept."""


def test_what_stands_in_a_table_comes_from_one_module() -> None:
    columns = {kind: {each.name for each in fields(kind)} for kind in WRITERS}
    strangers = []
    for path in (each for part in ("engine", "loop") for each in (CONTROLLER / part).glob("*.py")):
        calls = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Call)]
        writes = [
            each for each in calls if isinstance(each.func, ast.Attribute) and each.func.attr in ("put", "having")
        ]
        for written in ({each.arg for each in call.keywords if each.arg} for call in writes):
            writers = {writer for kind, writer in WRITERS.items() if written <= columns[kind]}
            if written and writers and path.stem not in writers and (path.stem, written) != IMAGINED:
                strangers.append((path.stem, written))
    assert strangers == []
