"""Pods as KubeVirt's virt-launcher makes them: each with a libvirt of its own, and one guest.

Labels, annotations, volumes, environment, user and the balloon are virt-launcher's; names of what nobody outside asks
for are not. Debian has no virtqemud: libvirtd's socket is renamed to virtqemud's, which clients cannot tell apart.
Guests are emulated: /dev/kvm would need a device plugin.
"""

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import libvirt

from lab import image as boot
from lab.cache import CACHE, cached
from lab.daemons import until
from lab.errors import LabError
from lab.guest import SLOW_MIB, Guest, GuestSpec, definition, hurry
from lab.kubernetes.elf import shared_libraries
from lab.kubernetes.node import LabNode
from lab.kubernetes.oci import Layer, write_archive
from lab.libvirtd import LIBVIRTD_CONF, QEMU_CONF
from lab.reaper import CGROUPS

NAME = "ballast.dev/lab/virt-launcher:1"
SCRIPT = Path(__file__).parent / "virtlauncher.sh"
USER = 107
"""KubeVirt's user `qemu`."""
SOCKET = "virtqemud-sock"
URI = f"qemu+unix:///session?socket=/var/run/libvirt/{SOCKET}"
"""Of libvirt, inside the pod."""
LIBVIRT, QEMU = "libvirtd", "qemu-system-x86_64"
"""Programs that run in it."""
START_S = 300
"""Deadline from a pod's creation until its guest runs; 5 s on an idle machine."""
END_S = 180
"""Deadline for a pod to be gone."""
ASK_S = 1.0
"""A guest's agent has for an answer, until it is asked again."""
GRACE_S = 5
"""A pod has between SIGTERM and SIGKILL; its guest ends at once."""
OVERHEAD_MIB = 256
"""KubeVirt adds to a guest's memory for libvirt and QEMU; emulation needs more than what it reckons, 200 to 250."""
MIB = 2**20
PRIVATE = "/var/run/kubevirt-private"
VOLUMES = {"private": PRIVATE, "libvirt-runtime": "/var/run/libvirt"}
"""The emptyDir volumes of virt-launcher that matter here, and where they are mounted."""
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
PROGRAMS = {
    Path("/bin/busybox"): "/bin/busybox",
    Path("/usr/sbin/libvirtd"): "/usr/sbin/libvirtd",
    Path("/usr/bin/virsh"): "/usr/bin/virsh",
    Path("/usr/bin/qemu-system-x86_64"): "/usr/bin/qemu-system-x86_64",
    LIBRARIES / "libvirt/connection-driver/libvirt_driver_qemu.so": "",
    LIBRARIES / "qemu/accel-tcg-x86_64.so": "",
    LIBRARIES / "qemu/accel-tcg-i386.so": "",
}
"""What runs in the pod, and where it is there; empty: where it is here."""
DATA = (Path("/usr/share/libvirt/cpu_map"), Path("/usr/share/qemu"), Path("/usr/share/seabios"))
"""What those read."""
APPLETS = ("sh", "mkdir", "cp", "cat", "sleep", "mv", "pidof", "kill", "ls", "ln", "rm")
USERS = f"root:x:0:0:root:/:/bin/sh\nqemu:x:{USER}:{USER}:qemu:{PRIVATE}:/bin/sh\n"
BOOT = boot.Image(Path("/boot/vmlinuz"), Path("/boot/initramfs"))
"""What guests boot, in the pod."""


def install(node: LabNode) -> None:
    """Make the image of virt-launcher's pods known to `node`.

    Raises LabError when the guest's image was not built yet.
    """
    digest = hashlib.sha256(SCRIPT.read_bytes() + Path(__file__).read_bytes())
    digest.update(str(boot.image().kernel).encode())
    node.import_image(cached(CACHE / "images" / f"virt-launcher-{digest.hexdigest()[:16]}.tar", _build))


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """A VirtualMachineInstance, as far as its pod tells. Sizes in MiB."""

    name: str
    namespace: str = "default"
    memory: int = 256
    """The guest's."""
    request: int | None = None
    """The pod's memory request, overhead included; None is the guest's memory and the overhead."""
    limit: int | None = None
    """The pod's memory limit; None is no limit."""
    guaranteed: bool = False
    """CPU and memory are what is requested and no more, as with dedicated CPUs; takes `limit`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    period: int = 10
    """Seconds between statistics: KubeVirt's default."""
    target: bool = False
    """Its guest is to come by migration."""

    @property
    def spec(self) -> GuestSpec:
        """Its guest, as KubeVirt defines it."""
        return GuestSpec(
            f"{self.namespace}_{self.name}",
            maximum=self.memory,
            balloon_model="virtio-non-transitional",
            free_page_reporting=True,
            stats_period=self.period,
        )


class VirtLauncher:
    """A virt-launcher pod on `node`, created; leaving the `with` block deletes it."""

    def __init__(self, node: LabNode, machine: VirtualMachine) -> None:
        self.machine = machine
        self.name = f"virt-launcher-{machine.name}-{'fghij' if machine.target else 'abcde'}"
        self._node = node
        self._kubectl = node.plane.kubectl
        made = self._kubectl("create", "-f", "-", "-o", "json", input=json.dumps(pod(machine, self.name)))
        self.uid: str = json.loads(made)["metadata"]["uid"]
        self._short: Path = node.plane.root / self.uid[:8]
        """A path to the pod's volumes that leaves room for a socket's name."""
        self._short.symlink_to(self.folder / "volumes" / "kubernetes.io~empty-dir")

    @property
    def folder(self) -> Path:
        """The pod's, of the kubelet."""
        return self._node.folder / "var/lib/kubelet/pods" / self.uid

    @property
    def sockets(self) -> Path:
        """The folder of libvirt's sockets, by a short path."""
        return self._short / "libvirt-runtime"

    @property
    def uri(self) -> str:
        """libvirt's, for processes of the machine."""
        return f"qemu+unix:///session?socket={self.sockets}/{SOCKET}"

    def connect(self) -> libvirt.virConnect:
        """A new connection; the caller closes it. Raises libvirt.libvirtError while its libvirt is not up."""
        return libvirt.open(self.uri)

    def wait_up(self) -> Self:
        """Wait until its libvirt answers, and its guest runs unless that is to come."""
        until(self._up, START_S, f"pod {self.name} up")
        return self

    def guest(self) -> "PodGuest":
        """Its guest, ready; whoever asks closes it."""
        return PodGuest(self.wait_up())

    def processes(self, program: str) -> list[int]:
        """Process ids of `program` in this pod."""
        return list(_processes(program, self.uid))

    def kill(self) -> None:
        """SIGKILL to all that runs in it, as the OOM killer of its cgroup would."""
        for program in ("sh", LIBVIRT, QEMU):
            self.signal(program, signal.SIGKILL)

    def signal(self, program: str, number: signal.Signals) -> None:
        """To all processes of `program` in this pod."""
        for pid in self.processes(program):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def migrate(self, target: "VirtLauncher") -> None:
        """Migrate its guest to the pod `target`, live and slowly until `hurry`; returns when it is there.

        Its libvirt has the socket of the target's, where KubeVirt has proxies. Raises libvirt.libvirtError.
        """
        os.link(target.sockets / SOCKET, self.sockets.with_name("private") / SOCKET)
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_TUNNELLED
        with closing(self.connect()) as connection:
            (domain,) = connection.listAllDomains()
            uri = f"qemu+unix:///session?socket={PRIVATE}/{SOCKET}"
            try:
                domain.migrateToURI3(uri, {libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: SLOW_MIB}, flags)
            except libvirt.libvirtError:
                if connection.isAlive():
                    raise
                # The pod has ended with its guest, before its libvirt had answered.

    def hurry(self) -> None:
        """Its guest, on its way, goes as fast as it can from now on."""
        with closing(self.connect()) as connection:
            (domain,) = connection.listAllDomains()
            hurry(domain)

    def evict(self) -> None:
        """Have it evicted, by the API of that name, and wait until it is gone."""
        head = {"apiVersion": "policy/v1", "kind": "Eviction"}
        metadata = {"name": self.name, "namespace": self.machine.namespace}
        path = f"/api/v1/namespaces/{self.machine.namespace}/pods/{self.name}/eviction"
        self._kubectl("create", "--raw", path, "-f", "-", input=json.dumps(head | {"metadata": metadata}))
        self._wait_gone()

    def memory_limit(self) -> int:
        """Bytes that its cgroup may have, by the kernel's word. Raises IndexError when its guest does not run."""
        lines = Path(f"/proc/{self.processes(QEMU)[0]}/cgroup").read_text().splitlines()
        groups = {name: group.lstrip("/") for _, name, group in (line.split(":", 2) for line in lines)}
        if "memory" in groups:
            return int((CGROUPS / "memory" / groups["memory"]).with_name("memory.limit_in_bytes").read_text())
        return int((CGROUPS / groups[""]).with_name("memory.max").read_text())

    def delete(self) -> None:
        """Delete it, and wait until it is gone."""
        self._kubectl("delete", "pod", "-n", self.machine.namespace, self.name, "--ignore-not-found", "--wait=false")
        self._wait_gone()
        self._short.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.delete()

    def _up(self) -> bool:
        with suppress(libvirt.libvirtError), closing(self.connect()) as connection:
            domains = connection.listAllDomains()  # names a guest before its QEMU is there
            return self.machine.target or any(domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING for domain in domains)
        return False  # no socket yet

    def _wait_gone(self) -> None:
        gone = ("wait", "--for=delete", f"pod/{self.name}", "-n", self.machine.namespace, f"--timeout={END_S}s")
        self._kubectl(*gone)


class PodGuest(Guest):
    """The guest of a virt-launcher pod."""

    def __init__(self, launcher: VirtLauncher) -> None:
        folder = launcher.sockets.with_name("private")
        self._take(launcher, launcher.machine.spec, folder)

    def wait_booted(self) -> None:
        """Wait until the agent answers: it may have said `ready` before anybody listened, and is asked."""
        until(self._answers, START_S, f"boot of guest {self.spec.name}")

    def _answers(self) -> bool:
        mark = self._agent.order("evidence")
        with suppress(LabError):
            self._agent.wait(lambda _event: True, ASK_S, "an answer", mark)
        return bool(self.events())


def pod(machine: VirtualMachine, name: str) -> dict[str, Any]:
    """The Pod of `machine`."""
    memory = f"{machine.memory + OVERHEAD_MIB if machine.request is None else machine.request}Mi"
    resources: dict[str, dict[str, str]] = {"requests": {"cpu": "10m", "memory": memory}}
    if machine.limit is not None:
        resources["limits"] = {"memory": f"{machine.limit}Mi"}
    if machine.guaranteed:
        resources["requests"] = resources["limits"] = resources["limits"] | {"cpu": "100m"}
    guest = "" if machine.target else definition(machine.spec, BOOT, Path(PRIVATE), "qemu")
    environment = {
        "XDG_CACHE_HOME": PRIVATE,
        "XDG_CONFIG_HOME": PRIVATE,
        "XDG_DATA_HOME": PRIVATE,
        "XDG_RUNTIME_DIR": "/var/run",
        "HOME": PRIVATE,
        "LC_ALL": "C",
        "DOMAIN": guest,
    }
    compute = {
        "name": "compute",
        "image": NAME,
        "command": ["/bin/sh", "/virtlauncher.sh", URI],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in VOLUMES.items()],
    }
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [compute],
        "hostname": machine.name,
        "nodeSelector": {"kubevirt.io/schedulable": "true"},
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
        "terminationGracePeriodSeconds": GRACE_S,
        "volumes": [{"name": volume, "emptyDir": {}} for volume in VOLUMES],
    }
    metadata = {
        "name": name,
        "namespace": machine.namespace,
        "labels": {**machine.labels, "kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": machine.name},
        "annotations": {**machine.annotations, "kubevirt.io/domain": machine.name},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _processes(program: str, pod: str) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone since the listing
            if (process / "comm").read_text().strip() == program[:15] and pod in (process / "cgroup").read_text():
                yield int(process.name)


def _build(result: Path) -> None:
    layer = Layer(result.with_name("layer"))
    programs = {source: target or str(source) for source, target in PROGRAMS.items()}
    for library in shared_libraries(programs):
        layer.add(library, str(library))
    for source, target in programs.items():
        layer.add(source, target)
    for folder in DATA:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            layer.add(file, str(file))
    for applet in APPLETS:
        layer.link(f"/bin/{applet}", Path("/bin/busybox"))
    layer.add(SCRIPT, "/virtlauncher.sh")
    layer.add(boot.image().kernel, str(BOOT.kernel))
    layer.add(boot.image().initramfs, str(BOOT.initramfs))
    layer.write("/etc/passwd", USERS)
    layer.write("/etc/group", f"root:x:0:\nqemu:x:{USER}:\n")
    layer.write("/etc/libvirt/qemu.conf", QEMU_CONF)
    layer.write("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF.partition("host_uuid")[0])
    layer.folder("/var/run")
    layer.folder("/tmp", 0o1777)  # noqa: S108 - the image's
    layer.close()
    config = {"Env": ["PATH=/usr/sbin:/usr/bin:/bin"], "User": f"{USER}:{USER}", "WorkingDir": "/"}
    write_archive(result, NAME, [layer.path], config)
