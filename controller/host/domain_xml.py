"""What a domain's XML says about its memory: pure, text in, facts out, an obstacle where the text is bad."""

from dataclasses import dataclass, replace
from xml.etree import ElementTree

from controller.api.problems import shown
from controller.api.wishes import NAMESPACE, Wishes, parse_wishes
from controller.engine.inventory import DomainFacts
from controller.engine.reasons import Reason
from controller.host.actuators import BALLOON, Actuator, actuated
from controller.host.command_line import CommandLine, command_line
from controller.host.memory_devices import MemoryDevices, memory_devices
from controller.host.xml_values import Element, XmlError, size_at, whole

LONGEST_XML = 4 * 2**20
"""Characters; libvirt's own protocol carries no longer string (VIR_NET_MESSAGE_STRING_MAX)."""

LONGEST_NAME = 255
"""Characters of a name that anybody is shown. QEMU's guests have none longer: libvirt names files after them."""

MOST_LABELS, LONGEST_LABEL = 64, 253
"""Of a domain's wishes, and the characters of a name or a value: a policy's selector cannot ask for more."""

PINNING = {
    "hostdev": frozenset({"pci", "mdev"}),
    "interface": frozenset({"hostdev", "vdpa"}),
    "disk": frozenset({"nvme", "vhostvdpa"}),
}
"""Devices, by `type`, that QEMU drives through VFIO or vDPA, which pins all guest memory; USB and SCSI do not.

The type may be that of an element within: of an image below the disk's, of the copy that is made of it.
"""


@dataclass(frozen=True, slots=True)
class Description:
    """A domain's XML, as far as memory is concerned."""

    facts: DomainFacts
    actuator: Actuator = BALLOON
    error: str = ""
    """Why the XML could not be understood; `facts.obstacle` is then UNREADABLE."""


def describe(xml: str, key: str, uuid: str, name: str, incarnation: int) -> Description:
    """Read a running domain's XML. `facts.definition` is its `<currentMemory>`, for want of a better one."""
    shown_name = shown_as(name)
    try:
        root = _parse(xml)
        return _describe(root, DomainFacts(key, uuid, shown_name, incarnation, size_at(root, "memory"), 0))
    except XmlError as error:
        facts = DomainFacts(key, uuid, shown_name, incarnation, 0, 0, statistics_period=0, obstacle=Reason.UNREADABLE)
        return Description(facts, error=str(error))


def shown_as(name: str) -> str:
    """A domain's name, cut where it is longer than any of QEMU's guests can have."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def current_memory(xml: str) -> int:
    """`<currentMemory>` of a definition in bytes. Raises XmlError."""
    return _current(_parse(xml))


def _parse(xml: str) -> Element:
    if len(xml) > LONGEST_XML:
        raise XmlError(f"the XML has {len(xml)} characters, more than {LONGEST_XML}")
    if "<!DOCTYPE" in xml:
        raise XmlError("the XML declares a document type, which libvirt never writes")
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - no document type, so no entities to expand
    except (ElementTree.ParseError, ValueError) as error:
        raise XmlError(f"the XML is not well-formed: {error}") from error
    if root.tag != "domain":
        raise XmlError(f"the XML describes a <{shown(root.tag)[1:-1]}>, not a <domain>")
    return root


def _current(root: Element) -> int:
    return size_at(root, "memory" if root.find("currentMemory") is None else "currentMemory")


def _describe(root: Element, facts: DomainFacts) -> Description:
    balloon = root.find("devices/memballoon")
    devices, given = memory_devices(root), command_line(root)
    if devices.outside > facts.maximum:
        raise XmlError(f"<memory>: {facts.maximum} bytes are less than those of its devices, {devices.outside}")
    maximum = facts.maximum - devices.outside
    huge = _on_huge_pages(root, devices)
    complete = replace(
        facts,
        maximum=maximum,
        definition=min(max(_current(root) - devices.plugged, 0), maximum),
        autodeflate=given.autodeflate or (balloon is not None and balloon.get("autodeflate") == "on"),
        resident=given.resident and not huge and root.find(_CONFIDENTIAL) is None,
        in_file=not huge and _is_in_file(root),
        plugged=devices.plugged,
        devices=devices.held,
        obstacle=_obstacle(root, balloon, devices, given),
        wishes=_wishes(root),
        statistics_period=_period(balloon),
    )
    return Description(*actuated(root, complete))


_CONFIDENTIAL = "launchSecurity"
_ACCESS = {"memoryBacking/access": "mode", "cpu/numa/cell": "memAccess", "devices/memory[@model='dimm']": "access"}
"""Where it says how QEMU maps guest memory, and in which attribute."""


def _is_in_file(root: Element) -> bool:
    """What QEMU shares is pages of a file, whatever its source; what it maps privately becomes its own when written.

    Shared is what says so, and memfd where it does not say otherwise.
    """
    source, access = root.find("memoryBacking/source"), root.find("memoryBacking/access")
    memfd = source is not None and source.get("type") == "memfd" and (access is None or access.get("mode") != "private")
    return memfd or any(each.get(how) == "shared" for path, how in _ACCESS.items() for each in root.iterfind(path))


def _on_huge_pages(root: Element, devices: MemoryDevices) -> bool:
    return devices.huge or root.find("memoryBacking/hugepages") is not None


def _obstacle(root: Element, balloon: Element | None, devices: MemoryDevices, given: CommandLine) -> Reason:
    """The first thing that keeps the balloon from giving memory back, or its size from telling what the guest has."""
    cases = (
        (balloon is None or not balloon.get("model", "").startswith("virtio"), Reason.NO_BALLOON),
        (_on_huge_pages(root, devices), Reason.HUGE_PAGES),
        (root.find("memoryBacking/locked") is not None, Reason.LOCKED_MEMORY),
        (root.find(_CONFIDENTIAL) is not None, Reason.CONFIDENTIAL),
        (_pinned_by_device(root), Reason.HOST_DEVICES),
        (devices.resizable, Reason.MEMORY_DEVICES),
    )
    return next((reason for applies, reason in cases if applies), given.obstacle)


def _pinned_by_device(root: Element) -> bool:
    return any(
        element.get("type") in types and element.tag != "address"  # an address is the guest's bus
        for tag, types in PINNING.items()
        for device in root.iterfind(f"devices/{tag}")
        for element in device.iter()
    )


def _period(balloon: Element | None) -> int:
    stats = None if balloon is None else balloon.find("stats")
    try:
        return 0 if stats is None else whole(stats.get("period", "0"), "seconds")
    except XmlError as error:
        raise XmlError(f"<memballoon>: <stats period>: {error}") from error


_KNOWN_WISHES = ("optOut", "weight", "minimum", "maximum")
_LABEL_REMEDY = 'write <ballast:label name="..." value="..."/>, each name once'


def _wishes(root: Element) -> Wishes:
    element = root.find(f"metadata/{{{NAMESPACE}}}memory")
    if element is None:
        return Wishes()
    unknown = sorted(set(element.attrib) - set(_KNOWN_WISHES))
    if unknown:
        return Wishes(error=f"<memory> has no {shown(unknown[0])}; it knows {', '.join(_KNOWN_WISHES)}")
    if len(element) > MOST_LABELS:
        return Wishes(error=f"<memory> has {len(element)} labels; keep to {MOST_LABELS}")
    labels: dict[str, str] = {}
    for child in element:
        name, value = child.get("name"), child.get("value")
        if child.tag != f"{{{NAMESPACE}}}label" or not name or value is None or name in labels:
            return Wishes(error=f"{_outline(child)} is not a label; {_LABEL_REMEDY}")
        if max(len(name), len(value)) > LONGEST_LABEL:
            return Wishes(error=f"label {shown(name)}: too long; keep names and values to {LONGEST_LABEL} characters")
        labels[name] = value
    opt_out, weight, minimum, maximum = (element.get(attribute) for attribute in _KNOWN_WISHES)
    return parse_wishes(opt_out, weight, minimum, maximum, labels)


def _outline(element: Element) -> str:
    """The element on one short line, without what is in it."""
    attributes = "".join(f" {shown(name)[1:-1]}={shown(value)}" for name, value in list(element.attrib.items())[:2])
    return f"<{shown(element.tag.rpartition('}')[2])[1:-1]}{attributes}/>"
