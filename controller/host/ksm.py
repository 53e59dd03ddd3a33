"""Memory that the kernel merged: in use once, counted in several processes.

https://docs.kernel.org/admin-guide/mm/ksm.html
"""

import mmap
from pathlib import Path


def merged(sys: Path) -> float:
    """Bytes that KSM saves, from `kernel/mm/ksm/pages_sharing` below `sys`; 0 on a kernel without KSM."""
    try:
        text = (sys / "kernel/mm/ksm/pages_sharing").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return float(int(text) * mmap.PAGESIZE)
