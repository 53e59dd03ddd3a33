"""What an answer has to be made of before anybody uses it: servers, and proxies before them, can send anything.

What passes has the parts of an object that everybody here relies on. What is in its spec is judged where it is read.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from controller.api.nodestate import Timestamp
from controller.api.problems import shown
from controller.cluster.errors import invalid
from controller.cluster.resources import Object

LEVELS = 64
"""Of lists and mappings in each other; the objects that are read here have about twenty."""
_Version = Annotated[str, Field(pattern=r"^[0-9]{0,20}$")]
"""A resourceVersion: a number that grows with every write, as every API server of Kubernetes gives it."""
_Text = Annotated[str, Field(max_length=4096)]
MOST_TEXTS = 100_000
"""More than fit into the largest object of an API server. What is wrong with each takes 1 KB to say."""


def _few(told: Any) -> Any:
    if isinstance(told, dict) and len(told) > MOST_TEXTS:
        raise ValueError(f"more than {MOST_TEXTS} of them")
    return told


_Texts = Annotated[dict[str, str], BeforeValidator(_few)]


class _ShapePart(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _ManagedField(_ShapePart):
    """One of `managedFields`."""

    time: Timestamp | None = None


class _Metadata(_ShapePart):
    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[str, Field(max_length=63)] = ""
    uid: _Text = ""
    resourceVersion: _Version = ""  # noqa: N815 - as the API server spells it
    generation: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    labels: _Texts | None = None
    annotations: _Texts | None = None
    managedFields: Annotated[list[_ManagedField], Field(fail_fast=True)] | None = None  # noqa: N815 - as above


class _Shape(_ShapePart):
    metadata: _Metadata
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class _Point(_ShapePart):
    resourceVersion: Annotated[_Version, Field(min_length=1)]  # noqa: N815 - as above


class _Bookmark(_ShapePart):
    metadata: _Point


class _ListMetadata(_Point):
    continue_: Annotated[str, Field(alias="continue")] = ""


class _List(_ShapePart):
    kind: _Text
    metadata: _ListMetadata
    items: list[dict[str, Any]] | None


def sound(told: object) -> Object:
    """The object as it came, which has what is needed. Raises ApiError."""
    if _is_deep(told):
        raise invalid(f"an object of more than {LEVELS} levels")
    return _checked(_Shape, told)


def all_sound(told: Iterable[object]) -> list[Object]:
    """The same of every one. Raises ApiError."""
    return [sound(each) for each in told]


def version_of(told: object) -> str:
    """The resourceVersion of an object that need not have more, such as a bookmark. Raises ApiError."""
    version: str = _checked(_Bookmark, told)["metadata"]["resourceVersion"]
    return version


def sound_list(told: object, kind: str) -> Object:
    """A list of this kind, whose items are objects of any form: what says nothing is no empty list. Raises ApiError."""
    checked = _checked(_List, told)
    of_kind(checked, f"{kind}List", f"{_METADATA_ONLY}List")
    return checked


def object_of(told: Object, kind: str, name: str = "") -> Object:
    """The object as it came, which is one of this kind, and of this name if one is given. Raises ApiError."""
    of_kind(told, kind, _METADATA_ONLY)
    metadata = told.get("metadata")
    found = metadata.get("name") if isinstance(metadata, dict) else None
    if name and found != name:
        raise invalid(f"metadata.name: {shown(str(found))}: {kind} {name} was asked for")
    return told


def of_kind(told: Object, *kinds: str) -> None:
    """Raises ApiError for an answer to another question."""
    if told.get("kind") not in kinds:
        raise invalid(f"kind: {shown(str(told.get('kind')))}: {kinds[0]} was asked for")


_METADATA_ONLY = "PartialObjectMetadata"
"""The kind of objects of which the metadata alone was asked for."""


def _is_deep(told: object) -> bool:
    """It has more than LEVELS levels: whatever walks it, or compares it, may find no end."""
    level = [told]
    for _ in range(LEVELS):
        level = [inner for each in level for inner in _parts(each)]
        if not level:
            return False
    return True


def _parts(told: object) -> Iterable[object]:
    if isinstance(told, dict):
        return told.values()
    return told if isinstance(told, list) else ()


def _checked(shape: type[BaseModel], told: Any) -> Object:
    try:
        shape.model_validate(told)
    except ValidationError as errors:
        error = errors.errors(include_url=False)[0]
        field = ".".join(map(str, error["loc"])) or "the object"
        value = error["input"] if isinstance(error["input"], str | int | float) else type(error["input"]).__name__
        raise invalid(f"{field}: {shown(str(value))}: {error['msg'].lower()}") from errors
    checked: Object = told
    return checked
