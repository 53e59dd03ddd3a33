"""The lab's virt-launcher pods are laid out as KubeVirt's: what a node sees of them, and what its agent does there."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime

import libvirt
import pytest
from installation import PATIENCE_S
from virtualization import MEMORY_MIB, PROMISED_MIB, ROOMY, STEP_MIB, InstalledNearKubevirt, grow

from controller.host.connection import BACKOFF_LONGEST_S
from lab.daemons import until
from lab.kubernetes.node import LabNode
from lab.kubernetes.virtlauncher import SOCKET, USER, VirtLauncher, VirtualMachine

TOLD = r"Normal +\w+ +\S+ +ballast\.dev/agent +\d+ MiB -> \d+ MiB .* \(MemoryPolicy web\)"
"""An event, as `kubectl describe` shows it; the newest, once it is the turn of its machine."""


@pytest.fixture
def launcher(virtualized: LabNode) -> Iterator[VirtLauncher]:
    """A pod with its guest."""
    with VirtLauncher(virtualized, VirtualMachine("web-1", limit=600)) as launcher:
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


def connected(site: InstalledNearKubevirt, launcher: VirtLauncher) -> float:
    """Seconds since the epoch; the look follows at once. The kubelet may have the log later than that."""
    lines: list[str] = []

    def told() -> bool:
        lines[:] = [line for line in site.log().splitlines() if f"default/{launcher.name}: connected" in line]
        return bool(lines)

    until(told, PATIENCE_S, "connected, says the log")
    return datetime.fromisoformat(lines[0].split()[0][:26] + "+00:00").timestamp()


@pytest.fixture
def instance(virtualized: LabNode) -> Iterator[Callable[[VirtLauncher], None]]:
    """Makes the VirtualMachineInstance of a pod, and its owner.

    It is a stand-in, an object of KubeVirt's group, kind and name without KubeVirt, which cannot be had here.
    """
    kubectl, plural = virtualized.plane.kubectl, "virtualmachineinstances"
    kind = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.kubevirt.io"},
        "spec": {
            "group": "kubevirt.io",
            "scope": "Namespaced",
            "names": {"kind": kind["kind"], "plural": plural, "shortNames": ["vmi"]},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }

    def make(launcher: VirtLauncher) -> None:
        name = {"name": launcher.machine.name}
        made = json.loads(kubectl("create", "-f", "-", "-o", "json", input=json.dumps(kind | {"metadata": name})))
        owner = kind | name | {"uid": made["metadata"]["uid"], "controller": True}
        patch = json.dumps({"metadata": {"ownerReferences": [owner]}})
        kubectl("patch", "pod", launcher.name, "--type=merge", "-p", patch)

    kubectl("create", "-f", "-", input=json.dumps(definition))
    virtualized.plane.wait_established()
    yield make
    kubectl("delete", f"crd/{plural}.kubevirt.io")


class TestAgentNearKubevirt:
    def test_a_node_without_virtual_machines_is_ready_and_nothing_is_wrong(self, site):
        state = site.state()
        assert (state["connections"], state["domains"]) == ([], [])

    def test_a_guest_is_looked_at_as_soon_as_its_pods_libvirt_is_there(self, site):
        launcher = site.start("first").wait_up()
        site.until_seen(launcher)
        began = (launcher.sockets / SOCKET).stat().st_ctime
        assert connected(site, launcher) - began < BACKOFF_LONGEST_S
        (domain,) = site.state()["domains"]
        assert (domain["namespace"], domain["virtual_machine"]) == ("default", "first")

    def test_a_guest_gives_what_its_pod_was_not_promised_and_gets_it_back_when_it_needs_it(self, site):
        idle, other = site.start("idle"), site.start("other")
        with closing(idle.guest()) as guest, closing(other.guest()) as second:
            guest.wait_booted()
            second.wait_booted()
            site.enforce(**ROOMY)
            for each in (guest, second):
                each.wait_until(lambda each: each.actual() < MEMORY_MIB - 64, PATIENCE_S, "shrunk")
                assert each.actual() >= PROMISED_MIB
            grow([guest], range(STEP_MIB, 121, STEP_MIB))
            assert guest.actual() > MEMORY_MIB - 64
            assert second.actual() < MEMORY_MIB - 64
            until(lambda: re.search(TOLD, site.kubectl("describe", "pod", idle.name)), PATIENCE_S, "told of")

    def test_a_guest_of_a_guaranteed_pod_keeps_all_it_has_while_another_gives(self, site):
        """Pods with dedicated CPUs are Guaranteed: the kubelet gives them to no others."""
        kept, gives = site.start("kept", guaranteed=True).wait_up(), site.start("gives")
        with closing(gives.guest()) as guest, closing(kept.connect()) as connection:
            guest.wait_booted()
            site.enforce()
            guest.wait_until(lambda guest: guest.actual() < MEMORY_MIB - 64, PATIENCE_S, "shrunk")
            assert (site.reasons(kept), site.orders(kept)) == ({"Guaranteed"}, [])
            (domain,) = connection.listAllDomains()
            assert domain.memoryStats()["actual"] == MEMORY_MIB * 1024

    def test_what_was_done_is_an_event_of_the_virtual_machine_instance_that_owns_the_pod(self, site, instance):
        launcher = site.start("owned")
        instance(launcher)
        with closing(launcher.guest()) as guest:
            guest.wait_booted()
            site.enforce()
            guest.wait_until(lambda guest: guest.actual() < MEMORY_MIB - 64, PATIENCE_S, "shrunk")
            until(lambda: re.search(TOLD, site.kubectl("describe", "vmi", "owned")), PATIENCE_S, "told of")
            assert not re.search(TOLD, site.kubectl("describe", "pod", launcher.name))

    @pytest.mark.parametrize("end", [VirtLauncher.delete, VirtLauncher.kill], ids=["deleted", "killed"])
    def test_a_pod_that_ends_is_gone_and_not_lost(self, site, end):
        launcher, stays = site.start("goes").wait_up(), site.start("stays").wait_up()
        site.until_seen(launcher, stays)
        end(launcher)
        site.until_seen(stays)
        assert set(site.connections()) == {f"default/{stays.name}"}
        assert "WARNING" not in "".join(line for line in site.log().splitlines() if launcher.name in line)

    def test_a_link_to_another_pods_socket_is_not_followed_by_an_agent_that_starts_anew(self, site):
        hostile, victim = site.start("hostile").wait_up(), site.start("victim").wait_up()
        site.until_seen(hostile, victim)
        socket = hostile.folder / "volumes/kubernetes.io~empty-dir/libvirt-runtime/virtqemud-sock"
        socket.unlink()
        socket.symlink_to(f"../../../../{victim.uid}/volumes/kubernetes.io~empty-dir/libvirt-runtime/virtqemud-sock")
        site.restart_agent()
        name = f"default/{hostile.name}"
        until(lambda: "a link out of its folder" in site.connections().get(name, ""), PATIENCE_S, "refused")
        site.until_seen(victim)
