"""What a domain's XML hands to QEMU past libvirt (`qemu:commandline`, `qemu:override`), as far as memory is concerned.

libvirt knows nothing of what it passes on, so its own elements do not tell. Text is matched, not parsed: QEMU takes the
same as `driver=vfio-pci`, `vfio-pci,host=...` and JSON. In doubt a domain is left alone.
"""

import re
from dataclasses import dataclass

from controller.engine.reasons import Reason
from controller.host.xml_values import Element

NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
"""https://libvirt.org/drvqemu.html#pass-through-of-arbitrary-qemu-commands"""

LONGEST = 2**17
"""Characters that are searched: of one argument the kernel takes no more (MAX_ARG_STRLEN), and as many take 0.1 s."""

_START, _END = r"""(?:^|[\s,="':.-])""", r"""(?=$|[\s,="':.-])"""
_ON = r"""(?:["']?\s*[=:]\s*["']?(?!off|no|false|n\b|0)\w|(?=,|$))"""
"""A setting that is given and not switched off; one without a value is on."""

_GIVEN = r"""["']?\s*[=:]"""

_SIGNS: tuple[tuple[Reason, str], ...] = (
    (Reason.HOST_DEVICES, rf"{_START}(?:vfio|xen-pci-passthrough|vhost-vdpa|pvrdma){_END}|nvme://"),
    (Reason.HOST_DEVICES, rf"""^(?=.*\bdriver{_GIVEN}\s*["']?nvme\b).*\bdevice{_GIVEN}"""),  # QEMU's own driver
    (Reason.LOCKED_MEMORY, rf"mem-lock{_ON}"),
    (Reason.LOCKED_MEMORY, r"^-{1,2}realtime$(?!\n\S*mlock=(?:off|no|false))"),
    (Reason.CONFIDENTIAL, r"(?:sev|sev-snp|tdx|pef|s390-pv)-guest\b|confidential-guest-support|memory-encryption"),
    (Reason.MEMORY_DEVICES, rf"{_START}virtio-mem{_END}"),
    (Reason.HUGE_PAGES, rf"hugetlb{_ON}|hugetlbsize|huge-?pages|hugetlbfs"),
    (Reason.COMMAND_LINE, rf"memory-backend|\b(?:mem-path|memdev){_GIVEN}|\bprealloc{_ON}"),
    (Reason.COMMAND_LINE, r"^-{1,2}(?-i:mem-path|mem-prealloc|readconfig|m)$"),  # -M is the machine
)
"""What a domain is to be left alone for, and what shows it; the first counts."""

_PATTERNS = tuple((reason, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for reason, pattern in _SIGNS)
_DEFLATES = re.compile(rf"\bdeflate-on-oom{_ON}", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What QEMU is told past libvirt."""

    obstacle: Reason = Reason.NONE
    resident: bool = True
    """Nothing speaks against it that the kernel counts the guest's memory as QEMU's."""
    autodeflate: bool = False


def command_line(root: Element) -> CommandLine:
    """Read both elements of a domain."""
    arguments = [each.get("value", "") for each in root.iterfind(f"{{{NAMESPACE}}}commandline/{{{NAMESPACE}}}arg")]
    properties = root.iterfind(f"{{{NAMESPACE}}}override//{{{NAMESPACE}}}property")
    arguments += [f"{each.get('name')}={each.get('value')}" for each in properties]
    if not arguments:
        return CommandLine()
    text = "\n".join(arguments)
    if len(text) > LONGEST:
        return CommandLine(Reason.COMMAND_LINE, resident=False)
    found = [reason for reason, pattern in _PATTERNS if pattern.search(text)]
    obscure = {Reason.HUGE_PAGES, Reason.COMMAND_LINE, Reason.CONFIDENTIAL} & set(found)
    return CommandLine(found[0] if found else Reason.NONE, not obscure, _DEFLATES.search(text) is not None)
