"""Whether an answer is a Ballast's: whatever listens at its address may answer anything, of any size."""

from collections.abc import Callable, Mapping
from typing import Any

MOST = 2.0**63
"""No size or time is larger, and none is less than 0."""

Check = Callable[[Any], bool]


def is_state(data: Any) -> bool:
    """Whether it is a `/state` document that can be drawn."""
    return _is_about_a_node(data) and _holds(data, _STATE) and all(_holds(each, _DOMAIN) for each in data["domains"])


def is_explanation(data: Any) -> bool:
    """Whether it is an `/explain` document that can be drawn."""
    return _is_about_a_node(data) and _holds(data, _EXPLANATION)


def _is_about_a_node(data: Any) -> bool:
    return _holds(data, {"node": _node, "domains": _list_of(lambda each: isinstance(each, dict))})


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _maybe_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= MOST  # not so NaN


def _maybe_number(value: Any) -> bool:
    return value is None or _number(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(shape: Mapping[str, Check]) -> Check:
    return lambda value: _holds(value, shape)


def _holds(value: Any, shape: Mapping[str, Check]) -> bool:
    return isinstance(value, dict) and all(name in value and check(value[name]) for name, check in shape.items())


_SIZES = ("demand", "forecast", "upper", "allocation", "target", "minimum", "maximum")
_ACTION: Mapping[str, Check] = {
    "age_s": _number,
    **dict.fromkeys(("from", "to"), _maybe_number),
    **dict.fromkeys(("reason", "reason_text"), _text),
}
_DOMAIN: Mapping[str, Check] = {
    **dict.fromkeys(("key", "name", "uuid", "reason", "reason_text", "advice"), _text),
    **dict.fromkeys(("policy", "mode"), _maybe_text),
    **dict.fromkeys((*_SIZES, "interval_s"), _maybe_number),
    "reallocations": _number,
    **dict.fromkeys(("stable", "pressure"), _flag),
    "last_action": lambda value: value is None or _holds(value, _ACTION),
}
_FIGURES = dict.fromkeys(
    (
        *("total", "host_use", "budget", "allocated", "spare", "domains", "stable_domains"),
        *("looks_total", "fixed_looks_total", "reallocations_total"),
    ),
    _maybe_number,
)
_CONNECTION: Mapping[str, Check] = {"uri": _text, "connected": _flag, "error": _text}
_STATE: Mapping[str, Check] = {
    "connections": _list_of(_dict_of(_CONNECTION)),
    "problems": _list_of(_text),
    "warnings": _list_of(_text),
    "outage": _maybe_text,
}
_LINES = ("demand", "forecast", "allocation")
_TRAIL = {"step_s": _number, **dict.fromkeys(_LINES, _list_of(_maybe_number))}
_DECISION = {
    "age_s": _number,
    **dict.fromkeys(("outcome", "reason", "error"), _text),
    **dict.fromkeys(("allocation", "target"), _maybe_number),
    "sentences": lambda value: _list_of(_text)(value) and bool(value),
}
_EXPLANATION: Mapping[str, Check] = {
    "domains": _list_of(
        _dict_of(
            {
                "domain": _dict_of(_DOMAIN),
                "standing": _list_of(_text),
                "trail": _dict_of(_TRAIL),
                "decisions": _list_of(_dict_of(_DECISION)),
            }
        )
    ),
    "near": _list_of(_text),
    "more": _number,
}


def _node(value: Any) -> bool:
    """Before the first step it has a name only."""
    return _holds(value, {"name": _text}) and ("budget" not in value or _holds(value, _FIGURES | {"pressure": _flag}))
