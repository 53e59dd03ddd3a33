"""A real node: containerd and kubelet.

Both live in a mount namespace of their own in which /run, /var/lib and /var/log are folders of the lab: every path is
the usual one, nothing of the machine's is touched, and what they mount goes with the last of them. The node's address
is on the control plane's loopback network. A pod has the host's network, or its own loopback with nobody there but
itself and the API server: no interfaces, no routes, no packet filter.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.command import run
from lab.daemons import listens
from lab.kubernetes import node_config, pause, relay
from lab.kubernetes.binaries import binary
from lab.kubernetes.controlplane import SERVICE_PORT, ControlPlane
from lab.reaper import CGROUPS

START_S = 120
"""Deadline for each program to answer; half a second on an idle machine."""
READY_S = 120
"""Deadline for the node to be Ready; one second on an idle machine."""
KUBELET_PORT = 10250
GROUP = "system:nodes"
"""Of kubelets."""
OWN = ("run", "var/lib", "var/log")
"""What a node does not share with the machine."""
ENTER = """\
folder=$1; shift
for own in run var/lib var/log; do mount --bind "$folder/$own" "/$own"; done
for key in $(cd "$folder/sysctl" && find . -type f); do mount --bind "$folder/sysctl/$key" "/proc/sys/$key"; done
while [ "$1" != -- ]; do mkdir -p "$1"; mount --bind "$2" "$1"; shift 2; done
shift
export XDG_RUNTIME_DIR=/run
exec "$@"
"""
"""For sh(1) in a new mount namespace. Arguments: the node's folder; pairs of mount point and what to mount there; `--`
and the command."""


class LabNode:
    """A node of `plane`, Ready when it is made; it ends with the control plane, which needs its scheduler for pods.

    `number` tells the nodes of one control plane apart, 1 to 99. `mounts` are folders of the machine, by the paths
    below /run, /var/lib or /var/log at which the node has them. Raises LabError when a program is missing or does not
    get ready.
    """

    def __init__(
        self, plane: ControlPlane, name: str, *, number: int = 1, mounts: Mapping[str, Path] | None = None
    ) -> None:
        self.name = name
        self.address = f"{plane.network}.{100 + number}"
        self.plane = plane
        self.folder = plane.root / "nodes" / name
        self._prepare()
        self._start_relay()
        self._start_containerd(mounts or {})
        self.import_image(pause.archive())
        self._register()
        self._start_kubelet()

    def import_image(self, archive: Path) -> None:
        """Make the image in `archive` (OCI layout) known to the node's pods."""
        run("ctr", f"--address={self._socket}", "--namespace=k8s.io", "images", "import", str(archive))

    @property
    def _socket(self) -> Path:
        return self.folder / "run" / "containerd" / "containerd.sock"

    def _prepare(self) -> None:
        for own in OWN:
            (self.folder / own).mkdir(parents=True)
        cgroup = Path(self.plane.root.name, self.name)
        for hierarchy in [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else CGROUPS.glob("*/"):
            (hierarchy / cgroup).mkdir(parents=True)
        service = (self.plane.address, SERVICE_PORT)
        node_config.write(self.folder, node=self.address, service=service, cgroup=f"/{cgroup}", ca=self.plane.ca)

    def _start_relay(self) -> None:
        orders = node_config.relay(self.folder)
        command = [sys.executable, "-IS", relay.__file__, str(orders), self.plane.address, str(SERVICE_PORT)]
        self._start("relay", command, lambda: listens(str(orders)))

    def _start_containerd(self, mounts: Mapping[str, Path]) -> None:
        pairs = [str(part) for pair in mounts.items() for part in pair]
        enter = ["unshare", "--mount", "--propagation=slave", "sh", "-ec", ENTER, "sh", str(self.folder), *pairs, "--"]
        command = [*enter, "containerd", f"--config={self.folder / 'containerd.toml'}"]
        self._containerd = self._start("containerd", command, lambda: listens(str(self._socket)))

    def _register(self) -> None:
        """Make the Node before kubelet does: it takes no address of the loopback range, but keeps one it finds, as long
        as it believes that a cloud provider gave it."""
        metadata = {"name": self.name, "labels": {"ballast.dev/libvirt": "true"}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        self.plane.kubectl("create", "--filename=-", input=json.dumps(node))
        addresses = [{"type": "InternalIP", "address": self.address}, {"type": "Hostname", "address": self.name}]
        patch = json.dumps({"status": {"addresses": addresses}})
        self.plane.kubectl("patch", "node", self.name, "--subresource=status", f"--patch={patch}")

    def _start_kubelet(self) -> None:
        kubelet = [
            str(binary("kubelet")),
            f"--config={self.folder / 'kubelet.json'}",
            f"--kubeconfig={self.plane.write_kubeconfig(f'system:node:{self.name}', GROUP)}",
            f"--hostname-override={self.name}",
            "--cloud-provider=external",
        ]
        enter = ["nsenter", f"--mount=/proc/{self._containerd}/ns/mnt"]
        self._start("kubelet", [*enter, *kubelet], lambda: listens((self.address, KUBELET_PORT)))
        self.plane.kubectl("wait", "--for=condition=Ready", f"node/{self.name}", f"--timeout={READY_S}s")

    def _start(self, program: str, command: list[str], condition: Callable[[], bool]) -> int:
        """Start a daemon, return its process id as soon as `condition` holds."""
        log = self.folder / f"{program}.log"
        pid = self.plane.daemons.start(command, log)
        self.plane.daemons.wait(pid, log, condition, START_S)
        return pid
