"""Real guests for tests: one private libvirtd a session, guests that end with their test.

Every test in this folder is marked `real`; where the lab cannot run it fails with the remedy, never skips.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "hack"))

from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd

StartGuests = Callable[..., list[Guest]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def private_libvirtd() -> Iterator[PrivateLibvirtd]:
    """A libvirtd that leaves the machine's own alone; its `uri` is what `--connect` takes."""
    with PrivateLibvirtd() as daemon:
        yield daemon


@pytest.fixture
def start_guests(private_libvirtd: PrivateLibvirtd) -> Iterator[StartGuests]:
    """`start_guests(GuestSpec(...), ...)` boots them side by side and returns them ready, in order."""
    with ExitStack() as stack:

        def start(*specs: GuestSpec) -> list[Guest]:
            guests = [stack.enter_context(Guest(private_libvirtd, spec)) for spec in specs]
            return [guest.wait_ready() for guest in guests]

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A real test that is skipped has not been passed."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; real tests must run: ./hack/setup makes that possible"
    return report
