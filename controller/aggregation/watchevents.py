"""What can be heard of the API server's objects: by kind, in the order in which it happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Raw = Mapping[str, Any]
"""An object of the API server, from JSON."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Some of the objects that are there."""

    kind: str
    objects: tuple[Raw, ...]
    server_time: str
    """The API server's clock, RFC 3339; empty when it did not say."""


@dataclass(frozen=True, slots=True)
class ListComplete:
    """That was all of them: whatever is not named is gone."""

    kind: str
    names: frozenset[str]
    """`NAMESPACE/NAME` of what is in a namespace."""


@dataclass(frozen=True, slots=True)
class Modified:
    """An object was made or changed."""

    kind: str
    object: Raw


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object is gone."""

    kind: str
    name: str
    """Likewise."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """From here on nothing can be heard."""

    kind: str


@dataclass(frozen=True, slots=True)
class Reconnected:
    """Nothing could be heard for so many seconds; now it can again."""

    kind: str
    outage_s: float


WatchEvent = Listed | ListComplete | Modified | Deleted | Disconnected | Reconnected
