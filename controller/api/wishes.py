"""What a domain asks for itself, in its libvirt metadata element.

<ballast:memory xmlns:ballast="https://ballast.dev/libvirt/v1alpha1" optOut="yes" weight="200" minimum="512Mi" maximum="2Gi">
  <ballast:label name="tier" value="db"/>
</ballast:memory>
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = "https://ballast.dev/libvirt/v1alpha1"
"""XML namespace of the metadata element."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Wishes narrow what a policy allows and never widen it, except `weight`, which replaces the policy's."""

    opt_out: bool = False
    weight: int | None = None
    minimum: int | None = None
    """Bytes."""
    maximum: int | None = None
    """Bytes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Matched by a policy's `domainSelector.labels`."""
    error: str = ""
    """Why the element could not be understood; such a domain is left alone."""
