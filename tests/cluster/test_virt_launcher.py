"""The lab's virt-launcher pods are laid out as KubeVirt's: what a node sees of them, and how they end."""

from collections.abc import Iterator
from contextlib import closing

import libvirt
import pytest

from lab.daemons import until
from lab.kubernetes import virtlauncher
from lab.kubernetes.node import Node
from lab.kubernetes.virtlauncher import USER, VirtLauncher, VirtualMachine

PATIENCE_S = 60.0


@pytest.fixture
def launcher(node: Node) -> Iterator[VirtLauncher]:
    """A pod with its guest, on a node that runs virtual machines."""
    virtlauncher.install(node)
    node.plane.kubectl("label", "node", node.name, "kubevirt.io/schedulable=true", "--overwrite")
    node.plane.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    with VirtLauncher(node, VirtualMachine("web-1", limit=600)) as launcher:
        yield launcher.wait_up()


def test_the_node_finds_the_guest_by_the_socket_in_the_pods_folder(launcher):
    socket = launcher.folder / "volumes/kubernetes.io~empty-dir/libvirt-runtime/virtqemud-sock"
    assert socket.is_socket()
    assert (socket.stat().st_uid, socket.stat().st_mode & 0o777) == (USER, 0o700)
    with closing(launcher.connect()) as connection:
        (domain,) = connection.listAllDomains()
        assert domain.name() == "default_web-1"
        assert "<memballoon model='virtio-non-transitional' freePageReporting='on'>" in domain.XMLDesc()
        assert "<stats period='10'/>" in domain.XMLDesc()


def test_only_the_user_of_the_launcher_and_the_group_root_get_as_far_as_the_socket(launcher):
    pods = launcher.folder.parent
    for folder in (pods, launcher.folder):
        assert (folder.stat().st_uid, folder.stat().st_gid, folder.stat().st_mode & 0o777) == (0, 0, 0o750)


def test_a_killed_pod_takes_its_guest_along_and_is_gone_when_deleted(launcher):
    guest = launcher.guest()
    guest.wait_booted()
    launcher.kill()
    until(lambda: launcher.processes("qemu-system-x86_64") == [], PATIENCE_S, "end of the guest")
    with pytest.raises(libvirt.libvirtError):
        launcher.connect()
    guest.close()
    launcher.delete()
    until(lambda: not launcher.folder.exists(), PATIENCE_S, "end of its folder")
