"""Policies with one thing in them that is out of the ordinary: nothing else can hide what the two sides make of it."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from random_policies import (
    ANYTHING,
    BLOCKS,
    GLOBS,
    KEYS,
    LABELS,
    NODE_COUNTS,
    QUANTITIES,
    SPEC,
    SUFFIXES,
    UUIDS,
    WRONG_SUFFIXES,
    part_of,
)

SIZES = [*QUANTITIES, *(f"1{suffix}" for suffix in (*SUFFIXES, *WRONG_SUFFIXES))]
OF_TWO_TYPES: dict[str, list[Any]] = {
    **dict.fromkeys(("quantity", "reserve", "minimum", "maximum"), SIZES),
    "maximumNodes": [*NODE_COUNTS],
}
"""Values of the fields that take a number or text."""
FRACTIONS = [f"1.{digits:0{places}}Mi" for places in (1, 2, 5) for digits in range(0, 10**places, 1 + 10**places // 99)]
"""Few of them are whole bytes."""
EXPRESSIONS = [
    {"key": "tier", "operator": operator, **values}
    for operator, values in product(
        ("In", "NotIn", "Exists", "DoesNotExist", "in", "Gt"), ({}, {"values": None}, {"values": []}, {"values": ["a"]})
    )
]
ORDERS = [
    (("limits",), "minimum", "maximum", ("1Gi", "1024Mi", "1073741825", 2**30 - 1, "0", "4Ei", "1.5Gi", "1G")),
    (("limits",), "minimumPercent", "maximumPercent", (0, 1, 5, 6, 99, 100)),
    (("advanced", "monitoring"), "minimumIntervalSeconds", "maximumIntervalSeconds", (1, 59, 60, 61, 3600)),
]
"""Part, minimum, maximum, and values that are tried as each of them, also where the other has its default."""


VMI = "virtualMachineInstanceSelector"
NARROW = {"matchLabels": {"tier": "db"}}
EMPTY = (None, {}, {"matchLabels": None}, {"matchLabels": {}}, {"matchExpressions": []})
SELECTING = [
    *({name: value} for name in ("nodeSelector", "domainSelector") for value in (*EMPTY, NARROW)),
    *({name: {**NARROW, "names": value}} for name in ("nodeSelector", "domainSelector") for value in (None, [], ["a"])),
    *(
        {"selectors": dict(zip(("namespaceSelector", VMI, "all"), values, strict=True))}
        for values in product((*EMPTY, NARROW), (*EMPTY, NARROW), (None, False, True))
    ),
    *({"selectors": {name: value}} for name in ("namespaceSelector", VMI) for value in (*EMPTY, NARROW)),
]
"""What selects everything, or might be thought to."""


def single_faults() -> Iterator[dict[str, Any]]:
    """Every such policy; a few thousand."""
    for path, value in _places(SPEC, ()):
        yield _policy(path, value)
    for part, minimum, maximum, values in ORDERS:
        for low, high in product((*values, None), repeat=2):
            yield _policy(part, {minimum: low, maximum: high})
    for mode, selecting in product(("Observe", "Enforce"), SELECTING):
        yield _policy((), {"mode": mode, **selecting})
    for kind, (name, value) in product((None, *BLOCKS.values()), product(BLOCKS, (None, {}, {"decisionPoints": 3}))):
        yield _policy(("advanced", "model"), {"type": kind, name: value})
    for fraction in FRACTIONS:
        yield _policy(("headroom", "quantity"), fraction)


def _places(schema: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """(path below the spec, value)."""
    yield from ((path, value) for value in (*ANYTHING, {"extra": 1}, {"extra": None}))
    for name, inner in schema["properties"].items():
        place = (*path, name)
        part = part_of(inner)
        if part is not None:
            yield from _places(part, place)
        else:
            yield from ((place, value) for value in (*ANYTHING, *_values(name, inner)))


def _values(name: str, schema: dict[str, Any]) -> list[Any]:
    if name in OF_TWO_TYPES:
        return OF_TWO_TYPES[name]
    match schema:
        case {"type": "boolean"}:
            return ["true"]
        case {"enum": values}:
            return [*values, values[0].lower(), f"{values[0]} "]
        case {"minimum": least, "maximum": most} | {"anyOf": [{"minimum": least, "maximum": most}, {"type": "null"}]}:
            return [least - 1, least, most, most + 1, most - 0.5]
        case {"type": "array", "maxItems": most}:
            items = _items(name)
            return [*([item] for item in (*items, *ANYTHING)), *([items[0]] * length for length in (most, most + 1))]
        case {"maxProperties": most}:
            full = {f"key-{index}": "a" for index in range(most)}
            pairs = [*({key: "a"} for key in KEYS), *({"a": value} for value in (*LABELS, *ANYTHING))]
            return [*pairs, full, {**full, "one-more": "a"}]
        case _:
            raise AssertionError(f"no values for {name}: {schema}")


def _items(name: str) -> list[Any]:
    match name:
        case "matchExpressions":
            keys = [{"key": key, "operator": "Exists"} for key in (*KEYS, *ANYTHING)]
            values = [{"key": "tier", "operator": "In", "values": [value]} for value in (*LABELS, *ANYTHING)]
            many = [{"key": "tier", "operator": "In", "values": ["a"] * length} for length in (64, 65)]
            return [*EXPRESSIONS[3:], *EXPRESSIONS[:3], *keys, *values, *many, {"key": "tier"}, {"operator": "Exists"}]
        case "uuids":
            return list(UUIDS)
        case _:
            return list(GLOBS)


def _policy(path: tuple[str, ...], value: object) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "a"}, "spec": value}
