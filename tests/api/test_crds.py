"""The CRDs say what the models say, field by field. Whether they act alike is shown on a real API server."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from controller.api.nodestate import NodeMemoryState, NodeStatus
from controller.api.policy import BLOCKS, Advanced, ForecastModel, MemoryPolicy, Part, Spec
from controller.api.policystatus import PolicyStatus
from generating import spec

CRDS = Path(__file__).parents[2] / "crds"
BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "maxItems", "maxProperties", "enum")

Schema = dict[str, Any]


@cache
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


def test_crd_and_page_are_as_generated() -> None:
    assert {path: path.read_text() for path in spec.files()} == spec.files()  # run ./hack/generate


def is_quantity(node: Schema) -> bool:
    return "x-kubernetes-int-or-string" in node and "x-kubernetes-validations" in node


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


def test_the_defaults_are_those_of_the_model_without_what_is_stored_only_if_it_is_given() -> None:
    unstored = {"node_selector", "domain_selector", "budget", "advanced"}
    stored = Spec().model_dump(mode="json", by_alias=True, exclude_none=True, exclude=unstored)
    assert defaulted({}, SPEC[""]) == stored


@pytest.mark.parametrize("name", Advanced.model_fields)
def test_what_is_advanced_has_the_defaults_of_the_model_where_a_policy_has_it(name: str) -> None:
    assert defaulted({}, SPEC[".advanced"]) == {}
    block: Part = getattr(Advanced(), name)
    assert defaulted({}, SPEC[f".advanced.{name}"]) == block.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_block_of_a_model_has_the_defaults_of_the_model(name: str) -> None:
    path = f".advanced.model.{to_camel(name)}"
    chosen = ForecastModel(type=BLOCKS[name].kind).chosen
    assert defaulted({}, SPEC[path]) == chosen.model_dump(mode="json", by_alias=True)


EXPRESSIONS = {path for path in SPEC if path.endswith(".matchExpressions[]")}
SELECTORS = {path for path in SPEC if path.endswith("elector") or path == ".selectors"}


def test_what_selects_refuses_what_it_does_not_know_and_null_since_dropping_them_would_select_more() -> None:
    """To `has`, null is as good as nothing; to `size`, everything that was kept is there."""
    keeping = {path for path, node in SPEC.items() if "x-kubernetes-preserve-unknown-fields" in node}
    assert keeping == {"", ".advanced", *SELECTORS, *EXPRESSIONS}
    for path in keeping:
        properties = SPEC[path]["properties"]
        known = ", ".join(f"has(self.{name})" for name in properties)
        rule = SPEC[path]["x-kubernetes-validations"][0]
        assert (path, rule["rule"]) == (path, f"size(dyn(self)) == [{known}].filter(there, there).size()")
        if path not in EXPRESSIONS:
            dropped = {name for name, node in properties.items() if not {"default", "nullable"} & node.keys()}
            assert dropped == {"": {"budget", "advanced"}, ".advanced": {*properties}}.get(path, set())
        assert {*re.findall(r"\w+", rule["message"])} >= ({*properties} if path else {"kubectl", "explain"})


def test_lists_and_maps_that_select_have_entries() -> None:
    for path in SELECTORS:
        for name, node in SPEC[path]["properties"].items():
            if node["type"] == "array" or "additionalProperties" in node:
                assert (path, name, node.get("minItems", node.get("minProperties"))) == (path, name, 1)


def test_label_selectors_are_all_of_one_kind() -> None:
    for kind in ("matchLabels", "matchExpressions"):
        found = [
            {key: value for key, value in SPEC[f"{path}.{kind}"].items() if key != "description"}
            for path in SELECTORS - {".selectors"}
        ]
        assert (len(found), found) == (4, found[:1] * 4)


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
            case "boolean":
                pass
            case "integer":
                assert {"format", "minimum", "maximum"} <= node.keys(), path
                assert max(-node["minimum"], node["maximum"]) < 2**53, path  # what JSON keeps exact everywhere
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


def test_memory_in_a_status_is_a_quantity_in_whole_mebibytes() -> None:
    names = {"total", "budget", "allocated", "demand", "short", "reclaimable", "shortfall", "allocation"}
    sizes = {path: node for path, node in ALL.items() if ".status." in path and path.rpartition(".")[2] in names}
    assert len(sizes) == 11
    for path, node in sizes.items():
        assert (path, node["type"], node.get("pattern")) == (path, "string", "^[0-9]{1,16}Mi$")
    assert [path for path in ALL if "bytes" in path.lower()] == []


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
