"""What lab guests boot: Debian's cloud kernel and an initramfs of busybox, virtio drivers and the agent.

`python -m lab.image` builds it (once; the result is keyed by all it is made from) and prints its folder.
"""

import hashlib
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cache import CACHE, cached
from lab.command import run
from lab.debian import unpack, update_lists
from lab.errors import LabError, exit_code

FOLDER = CACHE / "guest"
SOURCES = Path(__file__).parent / "initramfs"
KERNEL_PACKAGE = "linux-image-cloud-amd64"
"""Debian's kernel for virtual machines: virtio and 8250 serial ports, little else."""
MODULES = (
    "virtio_ring",
    "virtio",
    "failover",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_balloon",
    "virtio_blk",
    "virtio_mem",
)
"""In the order they must be loaded: each needs only those before it."""
BUSYBOX = Path("/bin/busybox")


@dataclass(frozen=True, slots=True)
class Image:
    """Kernel and initramfs of a lab guest."""

    kernel: Path
    initramfs: Path


def image() -> Image:
    """The image of this version of the lab.

    Raises LabError when it was not built yet.
    """
    folder = FOLDER / _key()
    if not folder.is_dir():
        raise LabError(f"guest image: {folder} does not exist; run ./hack/setup, which builds it")
    return Image(folder / "vmlinuz", folder / "initramfs")


def build() -> Path:
    """Build the image unless it is there already; safe to call from several processes at once.

    Raises LabError when a tool or package is missing.
    """
    if platform.machine() != "x86_64":
        raise LabError(f"machine {platform.machine()}: guests need x86_64; here only ./hack/test fast works")
    return cached(FOLDER / _key(), _build)


def _key() -> str:
    digest = hashlib.sha256(" ".join(MODULES).encode())
    for source in [Path(__file__), *sorted(SOURCES.iterdir())]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _build(result: Path) -> None:
    print("[3/4] guest kernel and initramfs", file=sys.stderr)
    scratch = result.parent
    kernel = _unpack_kernel(scratch)
    run("gcc", "-static", "-Os", "-Wall", "-Wextra", "-o", str(scratch / "agent"), str(SOURCES / "agent.c"))
    result.mkdir()
    shutil.copy(next(kernel.glob("boot/vmlinuz-*")), result / "vmlinuz")
    archive = _Cpio()
    archive.folder("bin")
    archive.folder("modules")
    archive.file("bin/busybox", BUSYBOX.read_bytes())
    archive.file("init", (SOURCES / "init").read_bytes())
    archive.file("agent", (scratch / "agent").read_bytes())
    archive.file("modules/order", " ".join(MODULES).encode())
    for module in MODULES:
        archive.file(f"modules/{module}.ko", next(kernel.glob(f"lib/modules/*/kernel/**/{module}.ko")).read_bytes())
    (result / "initramfs").write_bytes(archive.end())
    for path in (result, *result.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _unpack_kernel(scratch: Path) -> Path:
    """Download today's kernel package without installing it; needs no root."""
    update_lists()
    depends = run("apt-cache", "depends", "--important", KERNEL_PACKAGE)
    packages = [word for word in depends.split() if word.startswith("linux-image-") and word != KERNEL_PACKAGE]
    if not packages:
        raise LabError(f"package {KERNEL_PACKAGE}: not known to apt; run `apt-get update` on Debian 12 or newer")
    return unpack(packages[0], scratch)


class _Cpio:
    """A `newc` archive, the kernel's initramfs format (early-userspace/buffer-format in its documents)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._entries = 0

    def folder(self, name: str) -> None:
        self._entry(name, 0o040755, b"")

    def file(self, name: str, content: bytes) -> None:
        self._entry(name, 0o100755, content)

    def end(self) -> bytes:
        self._entry("TRAILER!!!", 0, b"")
        return bytes(self._data)

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        self._entries += 1
        path = name.encode() + b"\0"
        fields = (self._entries, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        self._data += b"070701" + b"".join(b"%08x" % value for value in fields) + path
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: print(build())))
