"""The CRDs say what the models say, field by field. Whether they act alike is shown on a real API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api.nodestate import NodeMemoryState, NodeStatus
from controller.api.policy import MemoryPolicy, Part, Spec
from controller.api.policystatus import PolicyStatus

CRDS = Path(__file__).parents[2] / "crds"
BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "maxItems", "maxProperties", "enum")

Schema = dict[str, Any]


def crd(name: str) -> Schema:
    document: Schema = yaml.safe_load((CRDS / f"{name}.ballast.dev.yaml").read_text())
    return document


def schema(name: str) -> Schema:
    root: Schema = crd(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema below, with its path such as `.spec.nodeSelector.names[]`."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def plain(schema: Schema, definitions: Schema) -> Schema:
    """Pydantic's JSON schema without references, constants and nulls, so that it compares to a CRD's."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]] | {k: v for k, v in schema.items() if k != "$ref"}
    if "anyOf" in schema:
        (schema,) = (each for each in schema["anyOf"] if each != {"type": "null"})
        return plain(schema, definitions)
    result = {key: schema[key] for key in ("type", "required", *BOUNDS) if key in schema}
    if "properties" in schema:
        result["properties"] = {name: plain(inner, definitions) for name, inner in schema["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            result[inner] = plain(schema[inner], definitions)
    return result


def of_model(model: type[Part], mode: Any = "validation") -> dict[str, Schema]:
    generated = model.model_json_schema(mode=mode)
    return dict(nodes(plain(generated, generated.get("$defs", {}))))


def of_crd(name: str, part: str) -> dict[str, Schema]:
    return dict(nodes(schema(name)["properties"][part]))


SPEC = of_crd("memorypolicies", "spec")
ALL = {f"{name}{path}": node for name in ("memorypolicies", "nodememorystates") for path, node in nodes(schema(name))}


def is_quantity(node: Schema) -> bool:
    return bool(node.get("x-kubernetes-int-or-string"))


@pytest.mark.parametrize(
    ("name", "part", "model", "mode"),
    [
        ("memorypolicies", "spec", Spec, "validation"),
        ("memorypolicies", "status", PolicyStatus, "validation"),
        ("nodememorystates", "status", NodeStatus, "serialization"),
    ],
)
def test_the_fields_are_those_of_the_model(name: str, part: str, model: type[Part], mode: str) -> None:
    assert set(of_crd(name, part)) == set(of_model(model, mode))


@pytest.mark.parametrize(
    ("name", "part", "model"),
    [
        ("memorypolicies", "spec", Spec),
        ("memorypolicies", "status", PolicyStatus),
        ("nodememorystates", "status", NodeStatus),
    ],
)
def test_types_and_bounds_are_those_of_the_model(name: str, part: str, model: type[Part]) -> None:
    described = of_crd(name, part)
    for path, expected in of_model(model).items():
        if is_quantity(described[path]):
            continue
        for key in ("type", *BOUNDS):
            if key in expected:
                assert (path, key, described[path].get(key)) == (path, key, expected[key])


def test_a_policy_is_bounded_where_the_model_is_and_nowhere_else() -> None:
    both = ("minimum", "maximum", "minLength", "maxItems", "maxProperties", "enum")
    for path, expected in of_model(Spec).items():
        if not is_quantity(SPEC[path]):
            assert (path, [SPEC[path].get(key) for key in both]) == (path, [expected.get(key) for key in both])


def test_what_the_spec_requires_is_what_the_model_requires() -> None:
    for path, expected in of_model(Spec).items():
        assert (path, SPEC[path].get("required", [])) == (path, expected.get("required", []))


def test_the_defaults_are_those_of_the_model() -> None:
    assert defaulted({}, SPEC[""]) == Spec().model_dump(mode="json", by_alias=True, exclude_none=True)


def defaulted(value: Any, schema: Schema) -> Any:
    """What the API server makes of an object: defaults are filled in from the outside inwards."""
    if not isinstance(value, dict):
        return value
    filled = {name: inner["default"] for name, inner in schema.get("properties", {}).items() if "default" in inner}
    return {name: defaulted(each, schema["properties"][name]) for name, each in (filled | value).items()}


def test_a_state_needs_no_more_than_its_model_writes() -> None:
    written = of_model(NodeStatus)
    for path, node in of_crd("nodememorystates", "status").items():
        assert set(node.get("required", [])) <= set(written.get(path, {}).get("required", []))


def test_everything_is_explained() -> None:
    fields = {path for path, node in ALL.items() if not path.endswith(("[]", "{}", ".metadata"))}
    assert {path for path in fields if not ALL[path].get("description", "").endswith(".")} == set()


def test_everything_is_bounded_so_that_rules_have_a_cost() -> None:
    for path, node in ALL.items():
        match node.get("type"):
            case "string":
                fixed = "enum" in node or path.endswith((".apiVersion", ".kind"))
                assert fixed or "maxLength" in node, path
            case "array":
                assert {"maxItems", "x-kubernetes-list-type"} <= node.keys(), path
            case "object" if "additionalProperties" in node:
                assert {"maxProperties", "x-kubernetes-map-type"} <= node.keys(), path
            case "integer":
                assert {"format", "minimum"} <= node.keys(), path
            case None:
                assert {"x-kubernetes-int-or-string", "maxLength", "pattern"} <= node.keys(), path


def test_quantities_are_all_of_one_kind() -> None:
    rules = [
        (node["pattern"], node["maxLength"], node["x-kubernetes-validations"])
        for node in ALL.values()
        if is_quantity(node)
    ]
    assert len(rules) == 6
    assert rules == rules[:1] * 6


def test_every_rule_says_what_to_do() -> None:
    rules = [rule for node in ALL.values() for rule in node.get("x-kubernetes-validations", [])]
    assert rules
    for rule in rules:
        assert "; " in (rule.get("message") or rule["messageExpression"])


@pytest.mark.parametrize(
    ("name", "kind", "short"),
    [("memorypolicies", MemoryPolicy, "mpol"), ("nodememorystates", NodeMemoryState, "nms")],
)
def test_names_are_the_models(name: str, kind: type[Part], short: str) -> None:
    spec = crd(name)["spec"]
    assert (spec["scope"], spec["names"]["plural"], spec["names"]["kind"]) == ("Cluster", name, kind.__name__)
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == ([short], ["ballast"])


@pytest.mark.parametrize("name", ["memorypolicies", "nodememorystates"])
def test_a_status_is_written_apart_from_the_rest(name: str) -> None:
    assert crd(name)["spec"]["versions"][0]["subresources"] == {"status": {}}


def test_items_of_lists_have_no_defaults_since_tools_that_compare_lists_as_a_whole_would_see_a_difference() -> None:
    assert [path for path, node in ALL.items() if "[]." in path and "default" in node] == []
