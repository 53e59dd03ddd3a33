"""Values in libvirt's XML: read strictly, and shown short, for whoever may define guests writes them."""

from xml.etree import ElementTree

from controller.api.problems import shown

Element = ElementTree.Element

LONGEST_NUMBER = 20
"""Digits: as many as 2^64 - 1 has, which libvirt counts with."""
_MOST = 2**63
"""Bytes, with libvirt's sign (`virMemoryMaxValue`): only one that is false tells more, and no order can be of more."""

_PREFIXES = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


class XmlError(ValueError):
    """Text that is no domain XML; the message, one short line, names the element and the value."""


def whole(text: str, of: str) -> int:
    """A number without sign, `of` being what it counts. Raises XmlError."""
    if not (text.isascii() and text.isdigit()):
        raise XmlError(f"{shown(text)} is not a whole number of {of}")
    if len(text) > LONGEST_NUMBER:
        raise XmlError(f"{shown(text)} has {len(text)} digits, more than {LONGEST_NUMBER}")
    return int(text)


def size(text: str, unit: str) -> int:
    """Bytes of a scaled integer (https://libvirt.org/formatdomain.html#memory-allocation). Raises XmlError."""
    scale = _scale(unit)
    number = whole(text, unit) * scale
    if number >= _MOST:
        raise XmlError(f"{shown(text)} {unit} are 2^63 bytes or more")
    return number


def size_at(root: Element, path: str) -> int:
    """Bytes that the element at `path` tells, in KiB where it names no unit. Raises XmlError."""
    element = root.find(path)
    if element is None:
        raise XmlError(f"<{path}> is missing")
    try:
        return size((element.text or "").strip(), element.get("unit", "KiB"))
    except XmlError as error:
        raise XmlError(f"<{path}>: {error}") from error


def _scale(unit: str) -> int:
    lowered = unit.lower()
    if lowered in {"b", "byte", "bytes"}:
        return 1
    prefix, suffix = lowered[:1], lowered[1:]
    base = {"": 1024, "ib": 1024, "b": 1000}.get(suffix)
    if prefix not in _PREFIXES or base is None:
        raise XmlError(f"{shown(unit)} is not a unit of memory")
    return int(base ** _PREFIXES[prefix])
