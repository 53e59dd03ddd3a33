"""`./hack/cluster`: a whole cluster on this machine, with real guests on its node, that stays until taken down."""

import json
import os
import shlex
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import click
import libvirt

from lab import daemons
from lab.cache import CACHE
from lab.errors import LabError
from lab.guest import Guest
from lab.kubernetes import image
from lab.kubernetes.binaries import binary
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import LabNode
from lab.libvirtd import PrivateLibvirtd
from lab.scenario import CAST

RECORD = CACHE / "cluster.json"
"""What is up: `kubeconfig`, `uri` of libvirt, `roots` of the folders to take down."""
NODE = "lab"
MANIFESTS = Path(__file__).parents[3] / "manifests" / "default"
OVERLAY = Path(__file__).parent / "overlay"
"""MANIFESTS, as they must be here."""
NAMESPACE = "ballast-system"
ROLLOUT_S = 300
"""Deadline for Ballast's pods to be ready; 20 s on an idle machine."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A Kubernetes cluster of this machine alone: control plane, one node, real guests on it, and Ballast."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)


@main.command()
def up() -> None:
    """Start it all; prints what to export for kubectl and virsh."""
    if RECORD.exists() and not all(map(daemons.alive, _roots())):
        _take_down()
    if not RECORD.exists():
        try:
            with ExitStack() as stack:
                _start(stack)
                stack.pop_all()  # kept
        except LabError as error:
            raise click.ClickException(str(error)) from error
    _say_how_to_use()


@main.command()
def down() -> None:
    """End it all; nothing is left but what is built once."""
    if RECORD.exists():
        _take_down()
    else:
        _say("no cluster is up")


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> None:
    """Run kubectl with ARGUMENTS as administrator of the cluster."""
    _become_kubectl(*arguments)


@main.command()
def status() -> None:
    """Show guests, nodes and pods."""
    with libvirt.openReadOnly(_record()["uri"]) as connection:
        for domain in connection.listAllDomains():
            actual = domain.memoryStats()["actual"] // 1024
            click.echo(f"guest/{domain.name():12} {actual:5} of {domain.maxMemory() // 1024} MiB")
    click.echo()
    _become_kubectl("get", "nodes,pods", "--all-namespaces", "--output=wide")


def apply(plane: ControlPlane, folder: Path) -> None:
    """Apply the kustomization in `folder`, which must bring Ballast, and wait until its pods are ready.

    Raises LabError when it is refused, or pods do not get ready.
    """
    plane.kubectl("apply", "--kustomize", str(folder))
    for workload in ("daemonset/ballast-agent", "deployment/ballast-aggregator"):
        plane.kubectl("rollout", "status", workload, f"--namespace={NAMESPACE}", f"--timeout={ROLLOUT_S}s")


def _start(stack: ExitStack) -> None:
    steps = 5 if MANIFESTS.is_dir() else 4
    _say(f"[1/{steps}] private libvirtd with {len(CAST)} guests, control plane")
    host = stack.enter_context(PrivateLibvirtd())
    guests = [stack.enter_context(Guest(host, part.spec)) for part in CAST]
    plane = stack.enter_context(ControlPlane(scheduler=True))
    _say(f"[2/{steps}] node")
    node = LabNode(plane, NODE, mounts={"/run/libvirt": host.sockets})
    _say(f"[3/{steps}] workloads in the guests")
    for guest, part in zip(guests, CAST, strict=True):
        guest.wait_ready().run_profile(part.workload, loop=True)
    _say(f"[4/{steps}] image {image.NAME}")
    image.install(node)
    if MANIFESTS.is_dir():
        _say(f"[5/{steps}] kubectl apply -k {os.path.relpath(OVERLAY)}")
        apply(plane, OVERLAY)
    roots = [str(root) for root in (plane.root, host.root)]
    RECORD.write_text(json.dumps({"kubeconfig": str(plane.kubeconfig), "uri": host.uri, "roots": roots}))
    plane.keep()
    host.keep()


def _take_down() -> None:
    for root in _roots():
        daemons.end(root)
    RECORD.unlink()


def _roots() -> list[Path]:
    return [Path(root) for root in _record()["roots"]]


def _record() -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(RECORD.read_text())
    except FileNotFoundError:
        raise click.ClickException("no cluster is up; ./hack/cluster up starts one") from None
    return record


def _become_kubectl(*arguments: str) -> NoReturn:
    command = [str(binary("kubectl")), f"--kubeconfig={_record()['kubeconfig']}", *arguments]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _say(line: str) -> None:
    click.echo(line, err=True)


def _say_how_to_use() -> None:
    record = _record()
    _say("up; ./hack/cluster kubectl ARGS..., status, down. Guests are left alone until there is a policy:")
    _say("./hack/cluster kubectl apply -f manifests/samples/observe-everything.yaml")
    click.echo(f"export KUBECONFIG={shlex.quote(record['kubeconfig'])}")
    click.echo(f"export LIBVIRT_DEFAULT_URI={shlex.quote(record['uri'])}")


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main(prog_name="./hack/cluster")
