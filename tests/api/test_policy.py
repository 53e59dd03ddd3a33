"""The MemoryPolicy model: defaults, what is accepted, and the way back to YAML."""

import re
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from controller.api.documents import load
from controller.api.policy import BLOCKS, DomainSelector, ForecastModel, MemoryPolicy, NodeSelector, Part

MI = 2**20

DEFAULTS = """
mode: Observe
priority: 0
headroom: {percent: 10, quantity: 32Mi}
limits: {minimum: 64Mi, minimumPercent: 0, maximumPercent: 100}
weight: 100
spare: Share
budget: {}
release: Restore
advanced:
  model: {type: WLS, upperPercentile: 95}
  threshold: {percent: 10, quantity: 32Mi}
  shrink: {stabilizationSeconds: 120}
  monitoring: {minimumIntervalSeconds: 1, maximumIntervalSeconds: 60}
  stability: {windowSeconds: 300, maximumReallocations: 2, maximumChangePercent: 5}
"""


def policy(spec: object = None, **metadata: object) -> MemoryPolicy:
    return MemoryPolicy.model_validate(
        {
            "apiVersion": "ballast.dev/v1alpha1",
            "kind": "MemoryPolicy",
            "metadata": {"name": "example", **metadata},
            "spec": spec,
        }
    )


def test_an_empty_spec_is_every_default() -> None:
    spec = policy({}).spec
    written = spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"node_selector", "domain_selector"}
    )
    assert written == yaml.safe_load(DEFAULTS)
    assert (spec.node_selector, spec.domain_selector, spec.selectors) == (NodeSelector(), DomainSelector(), None)


def test_the_defaults_written_out_are_the_empty_spec() -> None:
    assert policy(yaml.safe_load(DEFAULTS)) == policy({}) == policy(None)


def test_null_counts_as_absent() -> None:
    assert policy({"limits": {"minimum": None}, "mode": None, "advanced": {"model": None}}) == policy({})
    assert policy({"advanced": None}) == policy({})


def test_an_unknown_field_is_refused_whatever_it_holds() -> None:
    with pytest.raises(ValidationError, match="wieght"):
        policy({"wieght": None})


LABELS = {"matchLabels": {"tier": "db"}}
SELECTS_EVERYTHING = "would select everything for Enforce"


@pytest.mark.parametrize("selector", ["nodeSelector", "domainSelector", "selectors.namespaceSelector"])
@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (None, "null, which narrows nothing"),
        ({"matchLabels": None}, "null, which narrows nothing"),
        ({"matchExpressions": None}, "null, which narrows nothing"),
        ({"matchLabels": {"tier": None}}, "valid string"),
        ({"matchLabels": {}}, "without entries"),
        ({"matchExpressions": []}, "without entries"),
        (LABELS | {"matchExpressions": []}, "without entries"),
        (LABELS | {"matchExpressions": None}, "null, which narrows nothing"),
        (LABELS | {"matchLabel": {"a": "b"}}, "Extra inputs are not permitted"),
        ({"tier": "db"}, "Extra inputs are not permitted"),
    ],
)
def test_what_would_select_more_than_was_written_is_refused(selector: str, entries: object, told: str) -> None:
    spec = entries
    for name in reversed(selector.split(".")):
        spec = {name: spec}
    with pytest.raises(ValidationError, match=told):
        policy(spec)


@pytest.mark.parametrize("selector", ["nodeSelector", "domainSelector"])
def test_an_empty_selector_is_refused_where_it_enforces(selector: str) -> None:
    assert policy({selector: {}}) == policy({})
    with pytest.raises(ValidationError, match=SELECTS_EVERYTHING):
        policy({"mode": "Enforce", selector: {}})


def test_a_policy_without_selectors_enforces_on_everything() -> None:
    assert policy({"mode": "Enforce", "budget": {"reserve": "0", "reservePercent": 0}}).spec.mode == "Enforce"


@pytest.mark.parametrize(
    ("selectors", "narrow"),
    [
        ({}, False),
        ({"all": False}, False),
        ({"namespaceSelector": {}}, False),
        ({"namespaceSelector": LABELS, "virtualMachineInstanceSelector": {}}, False),
        ({"namespaceSelector": {}, "virtualMachineInstanceSelector": LABELS}, False),
        ({"namespaceSelector": LABELS}, True),
        ({"virtualMachineInstanceSelector": LABELS}, True),
        ({"namespaceSelector": LABELS, "virtualMachineInstanceSelector": LABELS}, True),
    ],
)
def test_all_virtual_machines_of_pods_are_enforced_on_if_the_policy_says_so(selectors: object, narrow: bool) -> None:
    assert policy({"selectors": selectors}).spec.selectors is not None
    with nullcontext() if narrow else pytest.raises(ValidationError, match=SELECTS_EVERYTHING):
        policy({"mode": "Enforce", "selectors": selectors})
    assert policy({"mode": "Enforce", "selectors": {**selectors, "all": True}}).spec.mode == "Enforce"  # type: ignore[dict-item]


@pytest.mark.parametrize("written", [None, "yes", 1])
def test_all_is_said_with_true(written: object) -> None:
    with pytest.raises(ValidationError, match="selectors"):
        policy({"mode": "Enforce", "selectors": {"all": written}})


class TestModel:
    """A union: `type`, and the block of parameters of that name."""

    @pytest.mark.parametrize("name", BLOCKS)
    @pytest.mark.parametrize("kind", [block.kind for block in BLOCKS.values()])
    def test_a_block_is_refused_unless_it_is_that_of_the_type(self, kind: str, name: str) -> None:
        own = BLOCKS[name].kind
        with nullcontext() if own == kind else pytest.raises(ValidationError, match=f"only counts with type {own}"):
            policy({"advanced": {"model": {"type": kind, to_camel(name): {"decisionPoints": 5}}}})

    def test_the_block_counts_with_the_defaults_of_what_it_leaves_out(self) -> None:
        model = policy({"advanced": {"model": {"type": "Ridge", "ridge": {"penaltyPoints": 9}}}}).spec.advanced.model
        assert model.chosen.model_dump() == {"decision_points": 12, "penalty_points": 9}

    def test_a_block_that_is_null_is_absent(self) -> None:
        assert policy({"advanced": {"model": {"type": "OLS", "wls": None}}}) == policy(
            {"advanced": {"model": {"type": "OLS"}}}
        )

    def test_a_block_is_told_with_the_type_that_it_belongs_to_where_none_is_written(self) -> None:
        with pytest.raises(
            ValidationError, match="only counts with type OLS, but type is WLS; remove it, or set type: OLS"
        ):
            policy({"advanced": {"model": {"ols": {}}}})

    def test_turned_to_another_type_it_has_that_ones_defaults_and_keeps_the_rest(self) -> None:
        model = policy(
            {"advanced": {"model": {"upperPercentile": 80, "wls": {"decisionPoints": 5}}}}
        ).spec.advanced.model
        assert model.turned("Ridge") == ForecastModel(type="Ridge", upperPercentile=80)


@pytest.mark.parametrize(("length", "taken"), [(253, True), (254, False)])
def test_the_dns_name_of_a_label_key_is_bounded(length: int, taken: bool) -> None:
    with nullcontext() if taken else pytest.raises(ValidationError, match="matchLabels"):
        policy({"nodeSelector": {"matchLabels": {f"{'x' * length}/tier": ""}}})


@pytest.mark.parametrize("labels", [{"_": "a"}, {"a": "-"}, {"a": "b" * 64}])
def test_labels_are_those_that_kubernetes_takes(labels: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"metadata\.labels"):
        policy(labels=labels)


def test_quantities_become_bytes() -> None:
    limits = policy({"limits": {"minimum": "256Mi", "maximum": 2**30}}).spec.limits
    assert (limits.minimum, limits.maximum) == (256 * MI, 1024 * MI)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        policy().spec.weight = 5  # type: ignore[misc]  # that it is refused is what is tested


def test_a_status_is_let_pass() -> None:
    data = policy().model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert MemoryPolicy.model_validate({**data, "status": {"anything": [1.5]}}) == policy()


def test_object_metadata_is_read_or_let_pass() -> None:
    read = policy(
        creationTimestamp="2026-01-31T12:00:00Z",
        labels={"a": "b"},
        annotations={"c": "d"},
        uid="u",
        generation=3,
        resourceVersion="77",
        managedFields=[{"manager": "kubectl"}],
    )
    assert read.name == "example"
    assert read.metadata.model_dump() == {
        "name": "example",
        "creation_timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "uid": "u",
        "generation": 3,
    }


@pytest.mark.parametrize("name", ["a", "a.b-c.d", "9", "x" * 253, ".".join(["x" * 62] * 4)])
def test_names_are_subdomains(name: str) -> None:
    assert policy(name=name).name == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", ".a", "ä", "a\n", "x" * 254, "x." * 127])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        policy(name=name)


def _models(model: type[Part]) -> list[type[Part]]:
    inner = [field.annotation for field in model.model_fields.values()]
    parts = [part for part in inner if isinstance(part, type) and issubclass(part, Part)]
    return [model, *(found for part in parts for found in _models(part))]


def test_no_field_takes_a_float() -> None:
    annotations = [str(field) for model in _models(MemoryPolicy) for field in model.model_fields.values()]
    assert not [text for text in annotations if re.search(r"\bfloat\b", text)]


labels = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,5}[A-Za-z0-9])?", fullmatch=True)
globs = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=12)
quantities = st.one_of(
    st.integers(2**26, 2**62),
    st.integers(2**20, 2**26).map(lambda size: f"{size / 1000:.3f}k"),
    st.builds("{}{}".format, st.integers(2, 4), st.sampled_from(["000Ki", "Mi", "Gi", "000k", "M", "e8"])),
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def ordered(low: str, high: str, values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    """A minimum and a maximum that is not below it."""
    return st.tuples(values, values).map(lambda pair: {low: min(pair), high: max(pair)})


expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        labels,
        st.sampled_from(["In", "NotIn"]),
        st.lists(labels, min_size=1, max_size=3),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        labels,
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
of_labels: dict[str, st.SearchStrategy[Any]] = {
    "matchLabels": st.dictionaries(labels, labels, max_size=3, min_size=1),
    "matchExpressions": st.lists(expressions, max_size=3, min_size=1),
}
specs = some(
    mode=st.just("Observe"),
    priority=st.integers(-1000, 1000),
    nodeSelector=some(
        names=st.lists(globs, max_size=3, min_size=1),
        **of_labels,
    ),
    domainSelector=some(
        names=st.lists(globs, max_size=3, min_size=1),
        uuids=st.lists(st.uuids().map(str), max_size=3, min_size=1),
        **of_labels,
    ),
    selectors=some(
        all=st.booleans(), namespaceSelector=some(**of_labels), virtualMachineInstanceSelector=some(**of_labels)
    ),
    headroom=some(percent=st.integers(0, 1000), quantity=quantities),
    limits=st.one_of(
        ordered("minimum", "maximum", st.integers(2**26, 2**62)),
        ordered("minimumPercent", "maximumPercent", st.integers(1, 100)),
    ),
    budget=some(reserve=quantities, reservePercent=st.integers(0, 90), maximum=quantities),
    release=st.sampled_from(["Restore", "Keep"]),
    advanced=some(
        model=st.one_of(
            some(upperPercentile=st.integers(50, 99), wls=some(halfLifeLooks=st.integers(1, 32))),
            st.just({"type": "OLS"}),
            st.builds(lambda percent: {"type": "Lasso", "lasso": {"penaltyPercent": percent}}, st.integers(0, 100)),
        ),
        threshold=some(percent=st.integers(0, 100), quantity=quantities),
        monitoring=ordered("minimumIntervalSeconds", "maximumIntervalSeconds", st.integers(1, 3600)),
    ),
)


class Quoting(yaml.SafeDumper):
    """Quotes all text: PyYAML on its own leaves words plain that kubectl takes for booleans and numbers."""


def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


Quoting.add_representer(str, quoted)


@given(specs, st.datetimes(timezones=st.just(UTC)))
def test_a_valid_policy_survives_the_way_through_yaml(spec: Any, created: datetime) -> None:
    original = policy(spec, creationTimestamp=created)
    text = yaml.dump(original.model_dump(mode="json", by_alias=True, exclude_unset=True), Dumper=Quoting)
    loaded = load(text, "policy.yaml")
    assert loaded.problems == ()
    assert loaded.policies == (original,)
