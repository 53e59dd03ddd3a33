"""Searching for the least that serves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.replay.sweep import least


@given(st.data())
def test_the_least_that_serves_is_found_in_few_tries(data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 1000))
    needed = data.draw(st.integers(1, most))
    tried: list[int] = []

    def serves(percent: int) -> bool:
        tried.append(percent)
        return percent >= needed

    assert least(serves, most) == needed
    assert len(tried) <= most.bit_length() + 1


@pytest.mark.parametrize("most", [1, 300])
def test_there_is_none_when_the_most_does_not_serve(most: int) -> None:
    assert least(lambda _: False, most) is None
