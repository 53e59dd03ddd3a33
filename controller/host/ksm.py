"""Memory that the kernel merged: in use once, counted in several processes.

https://docs.kernel.org/admin-guide/mm/ksm.html
"""

import mmap
from pathlib import Path


def merged(sys: Path) -> float:
    """Bytes that KSM saves, from `kernel/mm/ksm/pages_sharing` below `sys`; 0 on a kernel without KSM.

    Pages that it merged with the kernel's zero page (`use_zero_pages`) are in no process' resident memory.
    """
    try:
        text = (sys / "kernel/mm/ksm/pages_sharing").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0.0
    return float(int(text) * mmap.PAGESIZE) if text.isdecimal() and len(text) <= 16 else 0.0
