"""What a domain asks for itself: in its libvirt metadata element, and in the annotations of the pod it runs in.

<ballast:memory xmlns:ballast="https://ballast.dev/libvirt/v1alpha1" optOut="yes" weight="200"
                minimum="512Mi" maximum="2Gi">
  <ballast:label name="tier" value="db"/>
</ballast:memory>

annotations: {ballast.dev/mode: "Off", ballast.dev/min-memory: 512Mi, ballast.dev/weight: "50"}
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from controller.api.printable import LONGEST_PART, bounded
from controller.api.problems import InvalidValueError, shown
from controller.api.quantity import parse_quantity

_Read = TypeVar("_Read")

NAMESPACE = "https://ballast.dev/libvirt/v1alpha1"
"""XML namespace of the metadata element."""
PREFIX = "ballast.dev/"
"""Of the annotations."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Sizes narrow what a policy allows and never widen it; `weight` replaces the policy's; labels choose it."""

    opt_out: bool = False
    observe: bool = False
    """Whatever the policy does to others, to this domain it is to be said only."""
    weight: int | None = None
    heaviest: int | None = None
    """The weight is at most this."""
    minimum: int | None = None
    """Bytes."""
    maximum: int | None = None
    """Bytes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Matched by a policy's `domainSelector`."""
    error: str = ""
    """Why they could not be understood, cut to what can be read; such a domain is left alone."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", bounded(self.error, LONGEST_PART))

    def narrowed(self, annotations: Mapping[str, str]) -> "Wishes":
        """These, and what the annotations of the domain's pod ask for.

        A pod's owner is no administrator: what is asked for there only narrows, the weight too. What cannot be
        understood is in `error`, an annotation of ours that does not exist as well: a misspelt `Off` is no consent.
        """
        asked = addressed(annotations)
        if not asked:
            return self
        errors = [self.error] if self.error else []
        errors += [_unknown(name) for name in sorted(asked.keys() - _ANNOTATIONS)]
        read = _Reader(asked, errors)
        mode, least = read(_MODE, _mode), read(_LEAST, parse_quantity)
        return replace(
            self,
            opt_out=self.opt_out or mode == "Off",
            observe=mode == "Observe",
            heaviest=read(_HEAVIEST_ASKED, _weight),
            minimum=max((size for size in (self.minimum, least) if size is not None), default=None),
            error=". ".join(errors),
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads texts by name; each that cannot be understood leaves an error that names it, its value and a remedy."""

    texts: Mapping[str, str | None]
    errors: list[str]

    def __call__(self, name: str, parse: Callable[[str], _Read]) -> _Read | None:
        text = self.texts.get(name)
        try:
            return None if text is None else parse(text)
        except InvalidValueError as error:
            self.errors.append(f"{name} {error}")
            return None


_MODE, _LEAST, _HEAVIEST_ASKED = (f"{PREFIX}{name}" for name in ("mode", "min-memory", "weight"))
_ANNOTATIONS = frozenset({_MODE, _LEAST, _HEAVIEST_ASKED})
_MODES = ("Off", "Observe")

_ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
_HEAVIEST = 10_000
"""Bound of a policy's weight too."""


def addressed(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those that are meant for Ballast, by their whole name: Kubernetes takes capital letters there, too."""
    return {name: text for name, text in annotations.items() if name.lower().startswith(PREFIX)}


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
    texts = {"optOut": opt_out, "weight": weight, "minimum": minimum, "maximum": maximum}
    read = _Reader(texts, errors)
    lower, upper = read("minimum", parse_quantity), read("maximum", parse_quantity)
    if lower is not None and upper is not None and upper < lower:
        error = InvalidValueError(maximum, f"less than minimum {minimum}", "raise it or lower minimum")
        errors.append(f"maximum {error}")
    return Wishes(
        opt_out=bool(read("optOut", _answer)),
        weight=read("weight", _weight),
        minimum=lower,
        maximum=upper,
        labels=dict(labels),
        error=". ".join(errors),
    )


def _answer(text: str) -> bool:
    if text not in _ANSWERS:
        raise InvalidValueError(text, "neither yes nor no", "use yes, no, true or false")
    return _ANSWERS[text]


def _mode(text: str) -> str:
    if text not in _MODES:
        raise InvalidValueError(text, "not what an owner can ask for", "use Off or Observe; only a policy enforces")
    return text


def _unknown(name: str) -> str:
    return f"annotation {shown(name)}: unknown; known are {', '.join(sorted(_ANNOTATIONS))}"


def _weight(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= _HEAVIEST:
        raise InvalidValueError(text, "not a weight", f"use an integer from 1 to {_HEAVIEST}")
    return int(text)
