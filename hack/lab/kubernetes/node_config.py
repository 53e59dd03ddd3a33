"""The files that containerd and kubelet of a node are configured with."""

import json
from pathlib import Path

from lab.kubernetes import pause

CNI_LOOPBACK = Path("/usr/lib/cni/loopback")
"""containerd sets up each pod's loopback with it; Debian's package containernetworking-plugins."""
CNI_PLUGIN = """\
#!/bin/sh
# The network of a pod without the host's: none but its own loopback.
case "$CNI_COMMAND" in
ADD) echo '{"cniVersion": "0.4.0", "interfaces": [{"name": "'"$CNI_IFNAME"'", "sandbox": "'"$CNI_NETNS"'"}],
            "ips": [{"version": "4", "address": "127.0.0.1/8", "interface": 0}]}' ;;
VERSION) echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.4.0"]}' ;;
esac
"""
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What kubelet wants the whole machine to have; it is shown files that say so, and changes nothing."""


def write(folder: Path, *, address: str, cgroup: str, ca: Path) -> None:
    """Write all of them into `folder`: containerd.toml, kubelet.json, cni/, cni-plugins/, sysctl/."""
    plugins = folder / "cni-plugins"
    plugins.mkdir()
    (plugins / "own-loopback").write_text(CNI_PLUGIN)
    (plugins / "own-loopback").chmod(0o755)
    (plugins / CNI_LOOPBACK.name).symlink_to(CNI_LOOPBACK)
    network = {"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "own-loopback"}]}
    (folder / "cni").mkdir()
    (folder / "cni" / "lab.conflist").write_text(json.dumps(network))
    for key, value in SYSCTLS.items():
        file = folder / "sysctl" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    (folder / "containerd.toml").write_text(_containerd(folder, address))
    (folder / "kubelet.json").write_text(json.dumps(_kubelet(address, cgroup, ca), indent=2))


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
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # The machine's disk may be as full as it likes, and images cannot be pulled again.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
    }
