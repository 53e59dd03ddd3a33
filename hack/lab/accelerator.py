"""Which CPU acceleration lab guests use: KVM where a probe guest really boots on it, else emulation (TCG).

That /dev/kvm opens proves nothing: on a virtual machine without nested virtualisation guests hang on it.
"""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.cache import cached
from lab.image import FOLDER, Image, image

PROBE_S = 10
"""A guest boots to its agent in 1 s on KVM; one that needs longer is no faster than emulation."""


@functools.cache
def domain_type() -> str:
    """`kvm` or `qemu`, the libvirt domain type to use; remembered until the machine boots anew."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "qemu"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return cached(FOLDER / f"accelerator-{boot}", _probe).read_text()


def _probe(result: Path) -> None:
    print(f"checking whether guests boot on KVM ({PROBE_S} s, once)", file=sys.stderr)
    result.write_text("kvm" if _boots_on_kvm(image()) else "qemu")


def _boots_on_kvm(boot: Image) -> bool:
    """Boot on KVM without a disk; the agent says `ready` on the second serial port."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "agent"
        command = [
            *("qemu-system-x86_64", "-machine", "q35,accel=kvm", "-cpu", "max", "-m", "256", "-nodefaults"),
            *("-kernel", str(boot.kernel), "-initrd", str(boot.initramfs), "-append", "console=ttyS0 quiet"),
            *("-display", "none", "-serial", "null", "-serial", f"file:{answers}"),
        ]
        probe = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            probe.wait(PROBE_S)
        except subprocess.TimeoutExpired:
            return answers.exists() and b"ready" in answers.read_bytes()
        finally:
            probe.kill()
            probe.wait()
        return False
