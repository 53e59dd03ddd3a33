"""What a domain's XML says about its memory: pure, text in, facts out, an obstacle where the text is bad."""

from dataclasses import dataclass, replace
from xml.etree import ElementTree

from controller.api.wishes import NAMESPACE, Wishes, parse_wishes
from controller.engine.inventory import DomainFacts
from controller.engine.reasons import Reason

Element = ElementTree.Element

LONGEST_XML = 4 * 2**20
"""Characters; libvirt's own protocol carries no longer string (VIR_NET_MESSAGE_STRING_MAX)."""

PINNING = {
    "hostdev": frozenset({"pci", "mdev"}),
    "interface": frozenset({"hostdev", "vdpa"}),
    "disk": frozenset({"nvme", "vhostvdpa"}),
}
"""Devices, by `type`, that QEMU drives through VFIO or vDPA, which pins all guest memory; USB and SCSI do not."""

_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


@dataclass(frozen=True, slots=True)
class Description:
    """A domain's XML, as far as memory is concerned."""

    facts: DomainFacts
    current: int
    """`<currentMemory>` in bytes: of a running domain the balloon's size, of a definition its wish."""
    error: str = ""
    """Why the XML could not be understood; `facts.obstacle` is then UNREADABLE."""


class XmlError(ValueError):
    """Text that is no domain XML; the message names the element and the value."""


def describe(xml: str, key: str, uuid: str, name: str, incarnation: int) -> Description:
    """Read a running domain's XML. `facts.definition` is its `<currentMemory>`, for want of a better one."""
    try:
        root = _parse(xml)
        return _describe(root, DomainFacts(key, uuid, name, incarnation, _memory(root, "memory"), 0))
    except XmlError as error:
        facts = DomainFacts(key, uuid, name, incarnation, 0, 0, statistics_period=0, obstacle=Reason.UNREADABLE)
        return Description(facts, 0, str(error))


def current_memory(xml: str) -> int:
    """`<currentMemory>` of a definition in bytes. Raises XmlError."""
    return _current(_parse(xml))


def size(text: str, unit: str) -> int:
    """Bytes of a scaled integer (https://libvirt.org/formatdomain.html#memory-allocation). Raises XmlError."""
    if not (text.isascii() and text.isdigit()):
        raise XmlError(f"{text!r} is not a whole number of {unit}")
    return int(text) * _scale(unit)


def _scale(unit: str) -> int:
    lowered = unit.lower()
    if lowered in {"b", "byte", "bytes"}:
        return 1
    prefix, suffix = lowered[:1], lowered[1:]
    base = {"": 1024, "ib": 1024, "b": 1000}.get(suffix)
    if not prefix or prefix not in _PREFIXES or base is None:
        raise XmlError(f"{unit!r} is not a unit of memory")
    return int(base ** _PREFIXES[prefix])


def _parse(xml: str) -> Element:
    if len(xml) > LONGEST_XML:
        raise XmlError(f"the XML has {len(xml)} characters, more than {LONGEST_XML}")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise XmlError("the XML declares a document type, which libvirt never writes")
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - no document type, so no entities to expand
    except (ElementTree.ParseError, ValueError) as error:
        raise XmlError(f"the XML is not well-formed: {error}") from error
    if root.tag != "domain":
        raise XmlError(f"the XML describes a <{root.tag}>, not a <domain>")
    return root


def _memory(root: Element, tag: str) -> int:
    element = root.find(tag)
    if element is None:
        raise XmlError(f"<{tag}> is missing")
    try:
        return size((element.text or "").strip(), element.get("unit", "KiB"))
    except XmlError as error:
        raise XmlError(f"<{tag}>: {error}") from error


def _current(root: Element) -> int:
    return _memory(root, "memory" if root.find("currentMemory") is None else "currentMemory")


def _describe(root: Element, facts: DomainFacts) -> Description:
    balloon = root.find("devices/memballoon")
    current = _current(root)
    complete = replace(
        facts,
        definition=current,
        autodeflate=balloon is not None and balloon.get("autodeflate") == "on",
        resident=root.find(_HUGE_PAGES) is None and root.find(_CONFIDENTIAL) is None,
        obstacle=_obstacle(root, balloon),
        wishes=_wishes(root),
        statistics_period=_period(balloon),
    )
    return Description(complete, current)


_HUGE_PAGES, _CONFIDENTIAL = "memoryBacking/hugepages", "launchSecurity"


def _obstacle(root: Element, balloon: Element | None) -> Reason:
    if balloon is None or not balloon.get("model", "").startswith("virtio"):
        return Reason.NO_BALLOON
    if root.find(_HUGE_PAGES) is not None:
        return Reason.HUGE_PAGES
    if root.find("memoryBacking/locked") is not None:
        return Reason.LOCKED_MEMORY
    if root.find(_CONFIDENTIAL) is not None:
        return Reason.CONFIDENTIAL
    return Reason.HOST_DEVICES if _pinned_by_device(root) else Reason.NONE


def _pinned_by_device(root: Element) -> bool:
    return any(
        element.get("type") in types for tag, types in PINNING.items() for element in root.iterfind(f"devices/{tag}")
    )


def _period(balloon: Element | None) -> int:
    stats = None if balloon is None else balloon.find("stats")
    text = "0" if stats is None else stats.get("period", "0")
    if not (text.isascii() and text.isdigit()):
        raise XmlError(f"<memballoon>: <stats period={text!r}> is not a whole number of seconds")
    return int(text)


_KNOWN_WISHES = ("optOut", "weight", "minimum", "maximum")
_LABEL_REMEDY = 'write <ballast:label name="..." value="..."/>, each name once'


def _wishes(root: Element) -> Wishes:
    element = root.find(f"metadata/{{{NAMESPACE}}}memory")
    if element is None:
        return Wishes()
    unknown = sorted(set(element.attrib) - set(_KNOWN_WISHES))
    if unknown:
        return Wishes(error=f"<memory> has no {unknown[0]!r}; it knows {', '.join(_KNOWN_WISHES)}")
    labels: dict[str, str] = {}
    for child in element:
        name, value = child.get("name"), child.get("value")
        if child.tag != f"{{{NAMESPACE}}}label" or not name or value is None or name in labels:
            return Wishes(error=f"{_shown(child)} is not a label; {_LABEL_REMEDY}")
        labels[name] = value
    opt_out, weight, minimum, maximum = (element.get(attribute) for attribute in _KNOWN_WISHES)
    return parse_wishes(opt_out, weight, minimum, maximum, labels)


def _shown(element: Element) -> str:
    attributes = "".join(f' {name}="{value}"' for name, value in element.attrib.items())
    return f"<{element.tag.rpartition('}')[2]}{attributes}/>"
