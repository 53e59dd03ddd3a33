"""What can be heard of the API server's objects: by kind, in the order in which it happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Raw = Mapping[str, Any]
"""An object of the API server, from JSON."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Some of the objects that are there."""

    kind: str
    objects: tuple[Raw, ...]
    server_time: str
    """The API server's clock, RFC 3339; empty when it did not say."""


@dataclass(frozen=True, slots=True)
class Complete:
    """That was all of them: whatever is not named is gone."""

    kind: str
    names: frozenset[str]
    """`NAMESPACE/NAME` of what is in a namespace."""


@dataclass(frozen=True, slots=True)
class Changed:
    """An object was made or changed."""

    kind: str
    object: Raw


@dataclass(frozen=True, slots=True)
class Removed:
    """An object is gone."""

    kind: str
    name: str
    """Likewise."""


@dataclass(frozen=True, slots=True)
class Lost:
    """From here on nothing can be heard."""

    kind: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Nothing could be heard for so many seconds; now it can again."""

    kind: str
    deaf_s: float


News = Seen | Complete | Changed | Removed | Lost | Resumed
