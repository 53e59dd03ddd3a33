"""Numbers of endpoint, page and log that the documents tell: whoever changes one changes the other."""

from itertools import pairwise

import pytest

from controller.observe import clients
from controller.observe.decisionhistory import DECISIONS
from controller.observe.explain import EXPLAINED, NAMED, NEAR, OTHERS, TOGETHER_S
from controller.observe.loopcounters import CALL_BUCKETS_S, STEP_BUCKETS_S
from controller.observe.sparkline import HEIGHT, WIDTH
from controller.observe.statusstore import SILENCE_S
from controller.observe.timeseries import POINTS, STEP_S
from controller.observe.webconfig import CHECKS

KIB = 1024
QUARTER_OF_AN_HOUR = 900


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "SECURITY.md",
            f"A request has {clients.REQUEST_LIMIT / KIB:g} KiB and {clients.REQUEST_TIMEOUT_S:g} s, its answer "
            f"{clients.REQUEST_TIMEOUT_S:g} s more",
        ),
        (
            "SECURITY.md",
            f"Of {clients.IDLE_CLIENTS} clients that have not asked yet, and of {clients.TAKEN_ANSWERS} that take an "
            "answer, the first gives way to the next",
        ),
        ("SECURITY.md", f"{clients.QUEUED_REQUESTS} requests wait for the {clients.THREADS} threads that make answers"),
        ("SECURITY.md", f"while {('no', 'one', 'two', 'three')[CHECKS]} are checked"),
        ("controller/README.md", f"Memory given in the {TOGETHER_S:g} s before"),
        ("controller/README.md", f"twelve a domain, and a point of the chart every {STEP_S:g} s"),
        ("manifests/monitoring/README.md", f"more than {SILENCE_S:g} s ago means that it hangs"),
    ],
)
def test_a_number_of_the_code_is_the_one_that_is_told(page, path, sentence):
    assert sentence in page(path)


def test_twelve_decisions_and_a_quarter_of_an_hour_are_remembered_and_few_names_told():
    assert (DECISIONS, NAMED, NEAR, EXPLAINED, OTHERS) == (12, 3, 5, 5, 50)
    assert POINTS * STEP_S == QUARTER_OF_AN_HOUR


def test_charts_have_the_shape_that_the_style_sheet_gives_them():
    assert (WIDTH, HEIGHT) == (140, 34)


@pytest.mark.parametrize(("buckets", "first", "last"), [(STEP_BUCKETS_S, 0.0005, 1.0), (CALL_BUCKETS_S, 0.001, 5.0)])
def test_buckets_are_even_from_the_shortest_to_the_longest(buckets, first, last):
    assert (buckets[0], buckets[-1]) == (first, last)
    assert {round(after / before, 6) for before, after in pairwise(buckets)} == {2.0, 2.5}
