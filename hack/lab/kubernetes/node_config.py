"""The files that containerd and kubelet of a node are configured with."""

import json
import sys
from pathlib import Path

from lab.kubernetes import cni_plugin, pause

CNI_LOOPBACK = Path("/usr/lib/cni/loopback")
"""containerd sets up each pod's loopback with it; Debian's package containernetworking-plugins."""
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What kubelet wants the whole machine to have; it is shown files that say so, and changes nothing."""


def write(folder: Path, *, node: str, service: tuple[str, int], cgroup: str, ca: Path) -> None:
    """Write all of them into `folder`: containerd.toml, kubelet.json, cni/, cni-plugins/, sysctl/.

    `node` is the node's address, `service` the API server's and port; the relay for pods listens at `relay(folder)`.
    """
    _write_cni(folder, service)
    for key, value in SYSCTLS.items():
        file = folder / "sysctl" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    (folder / "containerd.toml").write_text(_containerd(folder, node))
    (folder / "kubelet.json").write_text(json.dumps(_kubelet(node, cgroup, ca), indent=2))


def relay(folder: Path) -> Path:
    """The Unix socket through which the CNI plugin gives orders to the relay."""
    return folder / "relay.sock"


def _write_cni(folder: Path, service: tuple[str, int]) -> None:
    plugins = folder / "cni-plugins"
    plugins.mkdir()
    (plugins / CNI_LOOPBACK.name).symlink_to(CNI_LOOPBACK)
    (plugins / "lab").write_text(f"#!/bin/sh\nexec {sys.executable} -IS {cni_plugin.__file__}\n")
    (plugins / "lab").chmod(0o755)
    plugin = {"type": "lab", "relay": str(relay(folder)), "address": service[0], "port": service[1]}
    network = {"cniVersion": cni_plugin.VERSION, "name": "lab", "plugins": [plugin]}
    (folder / "cni").mkdir()
    (folder / "cni" / "lab.conflist").write_text(json.dumps(network))


def _containerd(folder: Path, address: str) -> str:
    """Lowering a process's oom_score_adj needs CAP_SYS_RESOURCE, which a lab may lack: restricted."""
    return f"""\
version = 2
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause.NAME}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "{address}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/cni-plugins"
conf_dir = "{folder}/cni"
"""


def _kubelet(address: str, cgroup: str, ca: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "healthzBindAddress": address,
        "authentication": {"x509": {"clientCAFile": str(ca)}},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],  # needs cgroups of the whole machine
        "localStorageCapacityIsolation": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "clusterDNS": [address],  # where nobody answers: names outside the machine mean nothing here
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # The machine's disk may be as full as it likes, and images cannot be pulled again.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
    }
