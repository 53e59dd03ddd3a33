"""What a domain asks for itself, in its libvirt metadata element.

<ballast:memory xmlns:ballast="https://ballast.dev/libvirt/v1alpha1" optOut="yes" weight="200"
                minimum="512Mi" maximum="2Gi">
  <ballast:label name="tier" value="db"/>
</ballast:memory>
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controller.api.printable import LONGEST_PART, bounded
from controller.api.problems import InvalidValueError
from controller.api.quantity import parse_quantity

NAMESPACE = "https://ballast.dev/libvirt/v1alpha1"
"""XML namespace of the metadata element."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Sizes narrow what a policy allows and never widen it; `weight` replaces the policy's; labels choose it."""

    opt_out: bool = False
    weight: int | None = None
    minimum: int | None = None
    """Bytes."""
    maximum: int | None = None
    """Bytes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Matched by a policy's `domainSelector.labels`."""
    error: str = ""
    """Why the element could not be understood, cut to what can be read; such a domain is left alone."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", bounded(self.error, LONGEST_PART))


_ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
_HEAVIEST = 10_000
"""Bound of a policy's weight too."""


def parse_wishes(
    opt_out: str | None,
    weight: str | None,
    minimum: str | None,
    maximum: str | None,
    labels: Mapping[str, str],
) -> Wishes:
    """Wishes from the element's attributes as written; None where an attribute is absent.

    Never raises: what cannot be understood stays at its default, and `error` names field, value
    and remedy of each.
    """
    errors: list[str] = []

    def read(name: str, text: str | None, parse: Callable[[str], int]) -> int | None:
        try:
            return None if text is None else parse(text)
        except InvalidValueError as error:
            errors.append(f"{name} {error}")
            return None

    lower, upper = read("minimum", minimum, parse_quantity), read("maximum", maximum, parse_quantity)
    if lower is not None and upper is not None and upper < lower:
        error = InvalidValueError(maximum, f"less than minimum {minimum}", "raise it or lower minimum")
        errors.append(f"maximum {error}")
    return Wishes(
        opt_out=bool(read("optOut", opt_out, _answer)),
        weight=read("weight", weight, _weight),
        minimum=lower,
        maximum=upper,
        labels=dict(labels),
        error=". ".join(errors),
    )


def _answer(text: str) -> bool:
    if text not in _ANSWERS:
        raise InvalidValueError(text, "neither yes nor no", "use yes, no, true or false")
    return _ANSWERS[text]


def _weight(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= _HEAVIEST:
        raise InvalidValueError(text, "not a weight", f"use an integer from 1 to {_HEAVIEST}")
    return int(text)
