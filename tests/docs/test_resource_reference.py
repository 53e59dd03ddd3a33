"""`crds/README.md` says what models, CRDs and the code of conditions and events say, nothing more or less."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
import yaml
from doc_pages import ROOT, read, table
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from controller.aggregation.conditions import conditions
from controller.aggregation.contribution import NodeProblem, PolicyCounts
from controller.aggregation.rollup import Policy, PolicySummary
from controller.api.documents import load
from controller.api.policy import MOST_NODES, Expression, LabelSelector, Metadata, NodeSelector, Spec
from controller.api.quantity import format_quantity, parse_quantity
from controller.cluster.findings import findings
from controller.cluster.report import Context, report
from controller.engine.guest_pressure import PressureLevel
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading
from controller.engine.state import State
from controller.engine.step import align

PAGE = read("crds/README.md")
Schema = dict[str, Any]


class TestSpec:
    """Fields, values and defaults are those of the pydantic models, which are those of the CRD (`tests/api`)."""

    def test_it_has_every_field_in_order_with_what_it_takes_and_its_default(self):
        documented = [tuple(row[:3]) for row in table(PAGE, "Field")]
        assert documented == list(fields(Spec, ""))

    def test_every_field_has_a_meaning(self):
        assert all(row[3].endswith(".") for row in table(PAGE, "Field"))


def fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, str, str]]:
    """(field, what it takes, default) of all leaves below the model, as the page writes them.

    What a label selector has is written once.
    """
    for info in model.model_fields.values():
        name = f"{path}{info.alias}"
        part = _part(info.annotation)
        if part is None or part is LabelSelector or (part is Expression and path != "nodeSelector."):
            yield f"`{name}`", _takes(info), _default(info)
        elif get_origin(info.annotation) is tuple:
            yield f"`{name}`", _takes(info), _default(info)
            yield from fields(part, f"{name}[].")
        else:
            yield from fields(part, f"{name}.")


def _part(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((each for each in candidates if inspect.isclass(each) and issubclass(each, BaseModel)), None)


def _takes(info: FieldInfo) -> str:
    kind = get_origin(info.annotation) or info.annotation
    if kind is Literal:
        return _one_of(get_args(info.annotation))
    if _is_quantity(info):
        return "quantity"
    if info.annotation == int | str:
        return f"integer, 1 to {MOST_NODES}, or percentage, `1%` to `100%`"
    if kind in (tuple, dict):
        most = next(each.max_length for each in info.metadata if isinstance(each, annotated_types.MaxLen))
        return f"{'list' if kind is tuple else 'map'}, at most {most}"
    if int in (kind, *get_args(info.annotation)):
        least = next(each.ge for each in info.metadata if isinstance(each, annotated_types.Ge))
        most = next(each.le for each in info.metadata if isinstance(each, annotated_types.Le))
        return f"integer, {least} to {most}"
    return "label selector" if _part(info.annotation) is LabelSelector else {str: "text", bool: "boolean"}[kind]


def _one_of(choices: Any) -> str:
    *others, last = (f"`{choice}`" for choice in choices)
    return f"{', '.join(others)} or {last}"


def _is_quantity(info: FieldInfo) -> bool:
    inside = [each for each in get_args(info.annotation) if get_origin(each) is Annotated]
    metadata = [*info.metadata, *(item for each in inside for item in get_args(each)[1:])]
    optional = get_origin(info.annotation) in (Union, UnionType)
    parses = any(isinstance(each, BeforeValidator) and each.func is parse_quantity for each in metadata)
    return parses and (optional or info.annotation is int)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default in (None, (), {}):
        return "none"
    return f"`{format_quantity(info.default) if _is_quantity(info) else _written(info.default)}`"


def _written(value: object) -> str:
    """As YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def status(kind: str) -> Schema:
    """The schema of a CRD's status."""
    crd = yaml.safe_load((ROOT / "crds" / f"{kind}.ballast.dev.yaml").read_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def described(schema: Schema, path: str = "") -> Iterator[list[str]]:
    """Rows of all fields below, as the page writes them."""
    for name, inner in schema.get("properties", {}).items():
        yield [f"`{path}{name}`", _type(inner), " ".join(inner["description"].split())]
        yield from described(inner, f"{path}{name}.")
        yield from described(inner.get("items", {}), f"{path}{name}[].")


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return _one_of(schema["enum"])
    if schema["type"] == "array":
        return f"list, at most {schema['maxItems']}"
    if schema["type"] == "string":
        return "time" if schema.get("format") == "date-time" else "text"
    kind: str = schema["type"]
    return kind


@pytest.mark.parametrize(("heading", "kind"), [("Status field", "memorypolicies"), ("State field", "nodememorystates")])
def test_a_status_is_listed_as_its_crd_describes_it(heading, kind):
    assert table(PAGE, heading) == list(described(status(kind)))


def test_every_trouble_of_a_node_is_listed_the_worst_first():
    assert [row[0] for row in table(PAGE, "Node's trouble")] == [f"`{each.value}`" for each in NodeProblem]


class TestConditions:
    """All that sums can come to, and what the API server fills in before there are any."""

    def test_every_status_and_reason_of_every_condition_is_listed_once(self):
        listed = [tuple(cell.strip("`") for cell in row[:3]) for row in table(PAGE, "Condition")]
        assert sorted(listed) == sorted(possible())

    def test_types_are_listed_in_the_order_of_the_status(self):
        order = [verdict.type for verdict in conditions(summary(PolicyCounts(), ""))]
        assert list(dict.fromkeys(row[0].strip("`") for row in table(PAGE, "Condition"))) == order

    def test_whatever_is_wrong_has_a_remedy_where_it_comes_first(self):
        wrong = {"Ready": "False", "Stable": "False", "Degraded": "True", "Conflicted": "True"}
        told = set()
        for *names, when, remedy in table(PAGE, "Condition"):
            kind, value, reason = (name.strip("`") for name in names)
            if wrong[kind] == value:
                assert remedy or (reason in told and when == "As for `Ready`."), (kind, reason)
                told.add(reason)


COUNTS = (
    *("nodes", "unknown_nodes", "unreadable_nodes", "pending_nodes", "domains", "stable_domains"),
    *("conflicted_domains", "overridden_domains", "stuck_domains", "unmet_domains", "shortfall_mebibytes"),
    "left_out_nodes",
)
"""Of a sum, those that conditions are judged by."""


def possible() -> set[tuple[str, str, str]]:
    """(type, status, reason) of everything there can be."""
    first = status("memorypolicies")["default"]["conditions"]
    sums = [
        verdict
        for numbers in product((0, 1), repeat=len(COUNTS))
        for problem in ("", "broken")
        for verdict in conditions(summary(PolicyCounts(**dict(zip(COUNTS, numbers, strict=True))), problem))
    ]
    return {(each["type"], each["status"], each["reason"]) for each in first} | {
        (each.type, each.status, each.reason) for each in sums
    }


def summary(figures: PolicyCounts, problem: str) -> PolicySummary:
    return PolicySummary(Policy("all", "uid", 1, None if problem else NodeSelector(), problem), figures, ())


def test_every_condition_of_a_node_is_listed():
    seen = troubled(Reason.STUCK, pressure=True)
    in_force = {"all": Metadata(name="all")}
    told = report(
        seen, Context("node", "uid", in_force, {}, {}, "guests need more", "all pauses"), "2026-01-31T12:00:00Z"
    )
    listed = [tuple(cell.strip("`") for cell in row[:2]) for row in table(PAGE, "State condition")]
    assert listed == [(each["type"], each["reason"]) for each in told["status"]["conditions"]]


def test_every_event_of_a_node_is_listed_with_how_long_it_waits():
    listed = [(row[0].strip("`"), row[1]) for row in table(PAGE, "Node event")]
    silent, stuck = troubled(Reason.NO_STATISTICS), troubled(Reason.STUCK, pressure=True)
    lacking = [troubled(Reason.AT_MAXIMUM), troubled(Reason.LIMITS).having(minimums_fit=False)]
    told = [*findings(stuck, ["qemu:///system: gone"], ["two want db"], "guests need more")]
    told += [finding for state in (silent, *lacking) for finding in findings(state, [], [])]
    assert sorted(listed) == sorted((each.reason, f"{each.hold_s:.0f} s") for each in told)


def troubled(reason: Reason, *, pressure: bool = False) -> State:
    """A node with one domain for which this reason holds."""
    policy = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}"
    facts = [DomainFacts("k", "u", "db", 1, 2**30, 2**30)]
    inventory = assign(facts, load(policy, "test").policies, NodeIdentity("node")).inventory
    state = align(State.initial(), inventory, 0.0)
    state.reason[:] = reason
    state.observation.allocation[:] = inventory.minimum / 2
    state.pressure.level[:] = PressureLevel.SHORT if pressure else PressureLevel.NONE
    return replace(state, host=replace(state.host, reading=HostReading(2.0**34, 2.0**30, pressure=pressure)))
