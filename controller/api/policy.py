"""The `MemoryPolicy` resource: what a user asks of Ballast, with every default.

An empty spec is a safe policy. Attributes are the fields in snake_case; quantities are bytes. The models take what
the API server takes by the CRDs, and nothing else; `null` counts as absent, but in selectors: there it is refused.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from math import ceil
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from controller.api.problems import InvalidValueError
from controller.api.quantity import format_quantity, parse_quantity

MEBIBYTE = 2**20
"""Bytes."""

ApiVersion = Literal["ballast.dev/v1alpha1"]
Mode = Literal["Observe", "Enforce", "Pause"]
ModelType = Literal["WLS", "OLS", "Ridge", "Lasso", "LastValue"]
Spare = Literal["Reclaim", "Share"]
Release = Literal["Restore", "Keep"]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]

OBJECT_META = frozenset(
    {
        *("name", "generateName", "namespace", "labels", "annotations", "uid", "generation"),
        *(
            "creationTimestamp",
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ),
        *("ownerReferences", "finalizers", "managedFields"),
    }
)
"""Fields of Kubernetes' ObjectMeta: what may stand in `metadata`."""


def _shaped(pattern: str, message: str, remedy: str) -> AfterValidator:
    """Text that matches the pattern from end to end."""
    shape = re.compile(pattern)

    def check(value: str) -> str:
        if not shape.fullmatch(value):
            raise InvalidValueError(value, message, remedy)
        return value

    return AfterValidator(check)


def _instant(value: object) -> object:
    """RFC 3339 text to a point in time; the API server writes no other form."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        remedy = "leave it out: the API server sets it, such as 2026-01-31T12:00:00Z"
        raise InvalidValueError(value, "not a time", remedy) from None


_LABEL_PART = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
"""Kubernetes bounds a name as a whole, not its parts."""
_SUBDOMAIN = rf"{_DNS_PART}(?:\.{_DNS_PART})*"
_HEX = "[0-9a-f]"

Quantity = Annotated[
    int, BeforeValidator(parse_quantity), PlainSerializer(format_quantity, return_type=str, when_used="json")
]
"""Bytes. Read from a Kubernetes quantity or an integer; written to JSON as a quantity."""
Name = Annotated[
    str,
    Field(min_length=1, max_length=253),
    _shaped(
        _SUBDOMAIN,
        "not a name that Kubernetes takes",
        "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends, such as my-policy",
    ),
]
Glob = Annotated[str, Field(min_length=1, max_length=253)]
Uuid = Annotated[
    str,
    _shaped(
        rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
        "not a UUID in canonical form",
        "use 36 lower-case characters, as `virsh domuuid DOMAIN` prints them",
    ),
]
LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=317),
    _shaped(
        rf"(?:(?=[^/]{{1,253}}/){_SUBDOMAIN}/)?{_LABEL_PART}",
        "not a label key that Kubernetes takes",
        "use 1 to 63 letters, digits, '-', '_' and '.', with or without a DNS name and '/' before them",
    ),
]
LabelValue = Annotated[
    str,
    _shaped(
        rf"(?:{_LABEL_PART})?",
        "not a label value that Kubernetes takes",
        "use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    ),
]
Percent = Annotated[int, Field(ge=0, le=100)]
PositivePercent = Annotated[int, Field(ge=1, le=100)]
Points = Annotated[int, Field(ge=3, le=32)]
"""Three points are the fewest with a scatter around a line; more than 32 outlive any trend."""
Interval = Annotated[int, Field(ge=1, le=3600)]
"""Seconds."""

_ITEMS = 64
"""Bound of every list and map, so that the schema's CEL rules stay within the API server's cost limit."""


def _not_null(value: object) -> object:
    """What narrows is there or not: null, as from a template, would select more than whoever wrote it meant."""
    if value is None:
        raise InvalidValueError("", "null, which narrows nothing", "give it entries, or remove it")
    return value


def _with_entries(value: object) -> object:
    """Neither is an empty list or map a selector. What counts is what was written, whether it can be read or not."""
    if isinstance(value, list | tuple | Mapping) and not value:
        raise InvalidValueError("", "without entries", "give it at least one, or remove it")
    return _not_null(value)


_SELECTOR, _ENTRIES = BeforeValidator(_not_null), BeforeValidator(_with_entries)
_LIST = Field(strict=False, max_length=_ITEMS)
Globs = Annotated[tuple[Glob, ...], _LIST, _ENTRIES]


class Part(BaseModel):
    """Settings of every model of the contract: strict, frozen, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = {field.alias for field in cls.model_fields.values() if not {_SELECTOR, _ENTRIES} & {*field.metadata}}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class Metadata(Part):
    """The parts of ObjectMeta that Ballast reads; the others are let pass."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    creation_timestamp: Annotated[AwareDatetime | None, BeforeValidator(_instant)] = None
    labels: dict[LabelKey, LabelValue] = {}
    annotations: dict[str, str] = {}
    uid: str = ""
    generation: int = 0


class Expression(Part):
    """One requirement of a Kubernetes label selector."""

    key: LabelKey
    operator: Operator
    values: Annotated[tuple[LabelValue, ...], Field(strict=False, max_length=_ITEMS, validate_default=True)] = ()

    @field_validator("values")
    @classmethod
    def _fit_the_operator(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        operator = info.data.get("operator")
        if operator in ("In", "NotIn") and not values:
            message = f"operator {operator} compares with values, but there are none"
            raise InvalidValueError("", message, "list at least one value")
        if operator in ("Exists", "DoesNotExist") and values:
            message = f"operator {operator} takes no values"
            raise InvalidValueError("", message, "remove the values, or use In or NotIn")
        return values


class LabelSelector(Part):
    """As Kubernetes has it: every label and every expression must hold; without any it selects everything."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=_ITEMS), _ENTRIES] = {}
    match_expressions: Annotated[tuple[Expression, ...], _LIST, _ENTRIES] = ()


class NodeSelector(LabelSelector):
    """Nodes a policy is for. Without entries every node; otherwise all kinds of entries must match."""

    names: Globs = ()


class DomainSelector(LabelSelector):
    """Domains a policy is for. Without entries every domain; otherwise all kinds of entries must match."""

    names: Globs = ()
    uuids: Annotated[tuple[Uuid, ...], _LIST, _ENTRIES] = ()


class Selectors(Part):
    """Virtual machines of pods that a policy is for; all kinds must match, and no domain outside of a pod does."""

    all: bool = False
    """Selecting every one of them is meant; `Enforce` does not go without."""
    namespace_selector: Annotated[LabelSelector | None, _SELECTOR] = None
    virtual_machine_instance_selector: Annotated[LabelSelector | None, _SELECTOR] = None

    @property
    def narrow(self) -> bool:
        """True when there are label selectors, and none of them is empty."""
        written = [each for each in (self.namespace_selector, self.virtual_machine_instance_selector) if each]
        return bool(written) and LabelSelector() not in written


MOST_NODES = 1000
"""That a rollout can ask for as a number; their names do not all go into a status."""
_SHARE = re.compile("(100|[1-9][0-9]?)%")


def _some_nodes(value: object) -> object:
    """A number of nodes, or a share of them, as Kubernetes writes `maxUnavailable`."""
    number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_NODES
    if number or (isinstance(value, str) and _SHARE.fullmatch(value)):
        return value
    message = f"neither a number of nodes, 1 to {MOST_NODES}, nor a share of them, 1% to 100%"
    raise InvalidValueError(value if isinstance(value, int | float | str) else "", message, 'write 2 or "10%"')


SomeNodes = Annotated[
    int | str,
    BeforeValidator(_some_nodes),
    WithJsonSchema({"minimum": 1, "maximum": MOST_NODES, "pattern": _SHARE.pattern, "maxLength": 4}),
]


class Rollout(Part):
    """How many nodes enforce a policy for now. Who counts the nodes of a cluster chooses them."""

    maximum_nodes: SomeNodes

    def most(self, nodes: int) -> int:
        """Nodes that may enforce, of so many; at least one."""
        asked = self.maximum_nodes
        return asked if isinstance(asked, int) else ceil(nodes * int(asked.removesuffix("%")) / 100) or 1


class ModelParameters(Part):
    """Parameters of one forecast model. The first line of the class's docstring says in the CRD what the model is."""

    kind: ClassVar[ModelType]
    """The model's name, which is also that of its class in `controller/forecast`."""
    decision_points: Annotated[Points, Field(description="Number of previous samples that the model uses.")] = 12


class WLSParameters(ModelParameters):
    """Weighted least squares: a line that weighs recent samples more."""

    kind = "WLS"
    half_life_looks: Annotated[
        int, Field(ge=1, le=32, description="Looks after which a sample has half of its weight in a line.")
    ] = 1


class OLSParameters(ModelParameters):
    """Ordinary least squares: a line that weighs all samples the same."""

    kind = "OLS"


class RidgeParameters(ModelParameters):
    """Least squares with an L2 penalty: a line pulled towards flat."""

    kind = "Ridge"
    penalty_points: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="Weight of the penalty, as a number of samples without change; it flattens the line.",
        ),
    ] = 4


class LassoParameters(ModelParameters):
    """Least squares with an L1 penalty: a line that stays flat unless demand correlates with time."""

    kind = "Lasso"
    penalty_percent: Annotated[
        Percent, Field(description="Below this correlation of demand and time the line is flat.")
    ] = 30


class LastValueParameters(ModelParameters):
    """No line: the newest sample is the forecast."""

    kind = "LastValue"
    decision_points: Annotated[Points, Field(description="Number of samples that give the scatter.")] = 12


class ForecastModel(Part):
    """Which model forecasts demand, with its parameters in the block of that name; no other block may be there."""

    type: ModelType = "WLS"
    upper_percentile: Annotated[int, Field(ge=50, le=99)] = Field(
        default=95, description="The percentile of the forecast that decisions use."
    )
    wls: WLSParameters | None = None
    ols: OLSParameters | None = None
    ridge: RidgeParameters | None = None
    lasso: LassoParameters | None = None
    last_value: LastValueParameters | None = None

    @field_validator("*")
    @classmethod
    def _of_the_type(cls, block: object, info: ValidationInfo) -> object:
        chosen = info.data.get("type")
        if isinstance(block, ModelParameters) and chosen not in (None, block.kind):
            message = f"only counts with type {block.kind}, but type is {chosen}"
            raise InvalidValueError("", message, f"remove it, or set type: {block.kind}")
        return block

    @property
    def chosen(self) -> Part:
        """The block of parameters of the chosen type; empty where policies cannot choose the model (yet)."""
        name = next((name for name, block in BLOCKS.items() if block.kind == self.type), None)
        if name is None:
            return Part()
        block: Part | None = getattr(self, name)
        return BLOCKS[name]() if block is None else block

    def turned(self, kind: str) -> "ForecastModel":
        """The same with another type, so without the parameters of the present one."""
        kept = {name: getattr(self, name) for name in self.model_fields_set - BLOCKS.keys()}
        return ForecastModel.model_construct(**{**kept, "type": kind})


BLOCKS: dict[str, type[ModelParameters]] = {
    name: each
    for name, field in ForecastModel.model_fields.items()
    for each in get_args(field.annotation)
    if isinstance(each, type) and issubclass(each, ModelParameters)
}
"""The fields of `ForecastModel` that hold parameters. A model is the class of its `kind` in
`controller/forecast`, in a file with the name of the field."""


def _ordered(maximum: int, minimum: str, info: ValidationInfo, text: Callable[[int], str]) -> int:
    """A maximum that is not below its minimum; a minimum that was refused itself is not held against it."""
    least = info.data.get(minimum)
    if least is not None and maximum < least:
        name = to_camel(minimum)
        raise InvalidValueError(
            text(maximum),
            f"less than {name}, which is {text(least)}",
            f"use {text(least)} or more, or set {name} to {text(maximum)} or less",
        )
    return maximum


class Threshold(Part):
    """The dead band: the larger of a part of the allocation and a quantity."""

    percent: Percent = Field(
        default=10,
        description="Dead band, of the allocation. The larger of the two applies. Under `Reclaim` a domain that has "
        "used up half of its headroom grows by the threshold all the same.",
    )
    quantity: Quantity = Field(default=32 * MEBIBYTE, description="Dead band, absolute.")


class Headroom(Part):
    """Added to the upper forecast: the larger of a part of it and a quantity."""

    percent: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=10, description="Added to the upper forecast, as a percentage of it. The larger of the two applies."
    )
    quantity: Quantity = Field(default=32 * MEBIBYTE, description="Added to the upper forecast, absolute.")


class Limits(Part):
    """What a domain gets at least and at most; percents are of the domain's maximum."""

    minimum: Quantity = Field(default=64 * MEBIBYTE, description="Smallest allocation. The larger of the two applies.")
    minimum_percent: Percent = Field(
        default=0, description="Smallest allocation, of the domain's maximum (its definition's `<memory>`)."
    )
    maximum: Quantity | None = Field(default=None, description="Largest allocation. The smaller of the two applies.")
    maximum_percent: PositivePercent = Field(
        default=100, validate_default=True, description="Largest allocation, of the domain's maximum."
    )

    @field_validator("maximum")
    @classmethod
    def _maximum_above_minimum(cls, maximum: int | None, info: ValidationInfo) -> int | None:
        return None if maximum is None else _ordered(maximum, "minimum", info, format_quantity)

    @field_validator("maximum_percent")
    @classmethod
    def _maximum_percent_above_minimum(cls, maximum: int, info: ValidationInfo) -> int:
        return _ordered(maximum, "minimum_percent", info, str)


class Shrink(Part):
    """How slow shrinking is."""

    stabilization_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        default=120, description="Stabilisation window: a domain shrinks once it has wanted less for this long."
    )


class Monitoring(Part):
    """How often domains are looked at."""

    minimum_interval_seconds: Interval = Field(default=1, description="Shortest time between two looks at a domain.")
    maximum_interval_seconds: Interval = Field(
        default=60, validate_default=True, description="Longest time between two looks at a domain."
    )

    @field_validator("maximum_interval_seconds")
    @classmethod
    def _maximum_above_minimum(cls, maximum: int, info: ValidationInfo) -> int:
        return _ordered(maximum, "minimum_interval_seconds", info, str)


class Stability(Part):
    """When a domain counts as stable."""

    window_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        default=300, description="Window in which reallocations are counted."
    )
    maximum_reallocations: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=2, description="A domain with more of them is unstable."
    )
    maximum_change_percent: PositivePercent = Field(
        default=5,
        description="A domain whose demand changes by more of its allocation between two looks is unstable, too.",
    )


RESERVE, RESERVE_PERCENT = 512 * MEBIBYTE, 5
"""Kept free for a node where nobody says how much."""


class Budget(Part):
    """What a node keeps for itself: its own setting, which policies may narrow. The most careful of each counts."""

    reserve: Quantity | None = Field(
        default=None,
        description="Kept free for the node; 512Mi if neither the node nor a policy says. The larger of the two "
        "applies.",
    )
    reserve_percent: Annotated[int | None, Field(ge=0, le=90)] = Field(
        default=None, description="Kept free for the node, of its memory; 5 if neither the node nor a policy says."
    )
    maximum: Quantity | None = Field(default=None, description="Upper limit for all domains together.")


class Advanced(Part):
    """Settings of the mechanism; whoever does not know it leaves them out."""

    model: ForecastModel = ForecastModel()
    threshold: Threshold = Threshold()
    shrink: Shrink = Shrink()
    monitoring: Monitoring = Monitoring()
    stability: Stability = Stability()


class Spec(Part):
    """Everything the user owns."""

    mode: Mode = "Observe"
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    node_selector: Annotated[NodeSelector, _SELECTOR] = NodeSelector()
    domain_selector: Annotated[DomainSelector, _SELECTOR] = DomainSelector()
    selectors: Annotated[Selectors | None, _SELECTOR] = None
    rollout: Annotated[Rollout | None, _SELECTOR] = None
    headroom: Headroom = Headroom()
    limits: Limits = Limits()
    weight: Annotated[int, Field(ge=1, le=10000)] = 100
    spare: Spare = "Share"
    budget: Budget = Budget()
    release: Release = "Restore"
    advanced: Advanced = Advanced()

    @field_validator("node_selector", "domain_selector")
    @classmethod
    def _enforces_on_what_is_named(cls, selector: LabelSelector, info: ValidationInfo) -> LabelSelector:
        if info.data.get("mode") == "Enforce" and selector == type(selector)():
            message = "empty, so that it would select everything for Enforce"
            raise InvalidValueError("", message, "give it entries, or remove it if everything is meant")
        return selector

    @field_validator("selectors")
    @classmethod
    def _enforces_on_all_if_it_says_so(cls, selectors: Selectors | None, info: ValidationInfo) -> Selectors | None:
        wide = selectors is not None and not selectors.narrow and not selectors.all
        if info.data.get("mode") == "Enforce" and wide:
            message = "an empty selector, or none, would select everything for Enforce"
            raise InvalidValueError("", message, "give each entries, or set all: true if everything is meant")
        return selectors


class MemoryPolicy(Part):
    """One `MemoryPolicy`. A `status` in the input is let pass: it is Ballast's own to write."""

    api_version: ApiVersion
    kind: Literal["MemoryPolicy"]
    metadata: Metadata
    spec: Spec = Spec()

    @model_validator(mode="before")
    @classmethod
    def _without_status(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if key != "status"}

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name
