"""Memory devices of a domain: which of them the balloon holds, and what the others add. Pure, element in, sizes out.

libvirt counts every memory device into `<memory>` and `balloon.maximum`. QEMU's balloon (get_current_ram_size) holds
the memory that a domain starts with and its DIMMs, and nothing else: orders, balloon events and `balloon.current` leave
NVDIMM, virtio-pmem and sgx-epc out. Of virtio-mem `balloon.current` has what the guest has plugged in (seen with
libvirt 9.0), while orders and events leave it out.
"""

from typing import NamedTuple

from controller.api.problems import shown
from controller.host.xml_values import Element, XmlError, size_at

SMALL_PAGE = 4096
"""Bytes of the pages that a balloon can give back one by one."""

_IN_BALLOON = frozenset({"dimm"})
_OFF_THE_HOST = frozenset({"sgx-epc"})
"""Taken from memory that the host's kernel does not count."""
_FILES = frozenset({"nvdimm", "virtio-pmem"})
"""Images of a storage: they are files of the host, or storage itself."""


class MemoryDevices(NamedTuple):
    """All of a domain's. Bytes."""

    outside: int = 0
    """Counted in `<memory>` and `balloon.maximum`, and not the balloon's."""
    plugged: int = 0
    """Of that, what `balloon.current` has all the same."""
    held: int = 0
    """Of that, host memory that is the guest's."""
    resizable: bool = False
    """Some of it comes and goes by another driver of the guest than the balloon's."""
    huge: bool = False
    """A device in the balloon is backed by huge pages."""


def memory_devices(root: Element) -> MemoryDevices:
    """What `<memory>` devices of a running domain come to. Raises XmlError."""
    return _sum([_read(element) for element in root.iterfind("devices/memory")])


def _sum(devices: list[MemoryDevices]) -> MemoryDevices:
    return MemoryDevices(
        sum(each.outside for each in devices),
        sum(each.plugged for each in devices),
        sum(each.held for each in devices),
        any(each.resizable for each in devices),
        any(each.huge for each in devices),
    )


def _read(element: Element) -> MemoryDevices:
    model = element.get("model", "")
    if model in _IN_BALLOON:
        return MemoryDevices(huge=_huge(element))
    size = _size(element, "target/size")
    if model in _OFF_THE_HOST:
        return MemoryDevices(size)
    if model in _FILES:
        return MemoryDevices(size, held=0 if _is_storage(element) else size)
    plugged = size if element.find("target/current") is None else _size(element, "target/current")
    return MemoryDevices(size, plugged, plugged, resizable=True)


def _size(element: Element, path: str) -> int:
    try:
        return size_at(element, path)
    except XmlError as error:
        raise XmlError(f"<memory model={shown(element.get('model', ''))}>: {error}") from error


def _is_storage(element: Element) -> bool:
    return element.find("source/pmem") is not None or element.findtext("source/path", "").startswith("/dev/dax")


def _huge(element: Element) -> bool:
    return element.find("source/pagesize") is not None and _size(element, "source/pagesize") > SMALL_PAGE
