"""What tests on real parts share: the lab on the path, the mark, and no skipping.

A real test that cannot run fails with the remedy: ./hack/setup makes it possible.
"""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REAL = [TESTS / "real", TESTS / "cluster"]
"""Folders whose tests are all marked `real`."""

sys.path.insert(0, str(TESTS.parent / "hack"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in REAL):
            item.add_marker(pytest.mark.real)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A real test that is skipped has not been passed."""
    report = yield
    if report.skipped and item.get_closest_marker("real") is not None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; real tests must run: ./hack/setup makes that possible"
    return report
