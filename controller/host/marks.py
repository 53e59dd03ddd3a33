"""Ballast's mark in a live domain's metadata: the statistics period that it has set.

    <b:statistics xmlns:b="https://ballast.dev/libvirt/v1alpha1/statistics" period="1"/>

It goes where the period goes: through a save and restore, a migration, a restart of libvirtd or of Ballast. Both end
with the domain; its definition is not touched.
"""

from typing import Any
from xml.etree import ElementTree

import libvirt

from controller.api.wishes import NAMESPACE

MARK_NAMESPACE = f"{NAMESPACE}/statistics"
"""libvirt keeps one metadata element of a namespace."""

_PREFIX = "ballast-statistics"
_DIGITS = 9
"""That a period has at most: libvirt takes no larger numbers."""


def marked(xml: str) -> int:
    """Seconds of the period that Ballast has set, by a live domain's XML that is known to be good; 0 if it set none."""
    if MARK_NAMESPACE not in xml:
        return 0
    element = ElementTree.fromstring(xml).find(f"metadata/{{{MARK_NAMESPACE}}}statistics")  # noqa: S314 - it is good
    text = "" if element is None else element.get("period", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0


def mark(domain: Any, seconds: int) -> None:
    """Mark a live libvirt.virDomain; 0 takes the mark away. Raises libvirtError."""
    element, prefix = (f"<statistics period='{seconds}'/>", _PREFIX) if seconds else (None, None)
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, prefix, MARK_NAMESPACE, live)
