"""Sizes, times and names as people read them."""

import pytest

from controller.observe.text import change, display_name, mib, reason_with_advice, seconds, stays, troubles_of

MIB = 2**20


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, "-"),
        (-3.0, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (125.0, "2m05s"),
        (3599.0, "59m59s"),
        (3600.0, "1h00m"),
        (9300.0, "2h35m"),
        (100 * 3600.0, "100h00m"),
    ],
)
def test_spans_of_time(span, text):
    assert seconds(span) == text


@pytest.mark.parametrize(("size", "text"), [(None, "-"), (0, "0 MiB"), (1.6 * MIB, "2 MiB"), (2**40, "1048576 MiB")])
def test_sizes(size, text):
    assert mib(size) == text


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (513, "512 MiB -> 513 MiB (+1 MiB)"),
        (511, "512 MiB -> 511 MiB (-1 MiB)"),
        (512.9, "stays at 513 MiB"),
        (511.1, "stays at 511 MiB"),
    ],
)
def test_a_change_of_less_than_a_mebibyte_is_none(after, text):
    assert change(512 * MIB, after * MIB) == text
    assert stays(512 * MIB, after * MIB) is text.startswith("stays")


@pytest.mark.parametrize(
    ("namespace", "machine", "shown"),
    [("shop", "web", "shop/web"), (None, "web", "n"), ("shop", None, "n"), ("", "", "n")],
)
def test_a_machine_of_kubevirt_has_its_namespace_before_its_name(namespace, machine, shown):
    assert display_name({"name": "n", "namespace": namespace, "virtual_machine": machine}) == shown
    assert display_name({"name": "n"}) == "n"


@pytest.mark.parametrize(("advice", "text"), [("", "it is paused"), ("resume it", "it is paused: resume it")])
def test_advice_follows_the_reason(advice, text):
    assert reason_with_advice({"reason_text": "it is paused", "advice": advice}) == text


def test_what_is_wrong_is_told_connections_first():
    connections = [
        {"uri": "a", "connected": True, "error": "slow"},
        {"uri": "b", "connected": False, "error": "no socket"},
        {"uri": "c", "connected": False, "error": ""},
    ]
    state = {"connections": connections, "outage": "no answer", "problems": ["p: wrong"], "warnings": ["w"]}
    told = ["no socket", "c: not connected", "policies as last known: no answer", "policy refused: p: wrong", "w"]
    assert troubles_of(state) == told
    assert troubles_of({"connections": connections[:1], "outage": "", "problems": [], "warnings": []}) == []
