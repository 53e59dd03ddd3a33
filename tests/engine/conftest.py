"""Behaviour that the engine does not show yet."""

import pytest

AWAITED = {
    "each jump moves several guests": [
        "test_guests_that_jump_are_not_moved_to_and_fro",
    ],
}
"""By what is wrong, the tests that fail for it; without their parameters where they fail for all. One that passes is to
be taken off this list: the run fails until it is.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    causes = {test: cause for cause, tests in AWAITED.items() for test in tests}
    for item in items:
        cause = causes.get(item.name) or causes.get(item.name.partition("[")[0])
        if cause and item.nodeid.startswith("tests/engine/test_"):
            item.add_marker(pytest.mark.xfail(strict=True, reason=cause))
