"""`ballast aggregator`: the options. What they set in motion is in `controller.cli.aggregator_service`."""

import re
import secrets
import socket
from pathlib import Path

import click

from controller.cli.options import kubeconfig_option, listen_option, log_options
from controller.observe.address import Address
from controller.observe.log import configure

DEFAULT_NAMESPACE = "ballast-system"
"""Where the manifests put Ballast."""
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its own namespace."""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _own_namespace() -> str:
    try:
        return POD_NAMESPACE.read_text().strip() or DEFAULT_NAMESPACE
    except OSError:
        return DEFAULT_NAMESPACE


def _own_identity() -> str:
    """No two replicas are the same, not even two on one host."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


def _namespace(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise click.BadParameter(
            f"{name!r} is not a namespace; use letters a-z, digits and '-', such as ballast-system"
        )
    return name


def _identity(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if not name.strip():
        raise click.BadParameter("'' says nobody's name; leave the option out, or give each replica a name of its own")
    return name


@click.command()
@kubeconfig_option
@click.option(
    "--namespace",
    metavar="NS",
    default=_own_namespace,
    show_default=f"the pod's own, or {DEFAULT_NAMESPACE}",
    callback=_namespace,
    help="Namespace of the Lease by which the replicas elect a leader.",
)
@click.option(
    "--identity",
    metavar="NAME",
    default=_own_identity,
    show_default="host name and a random suffix",
    callback=_identity,
    help="This replica's name in the Lease. No two may share one.",
)
@listen_option("Where to serve /state, /healthz, /readyz and /metrics.")
@log_options("Lowest level to log; info if not given.")
def aggregator(
    kubeconfig: Path | None,
    namespace: str,
    identity: str,
    listen: Address | None,
    log_format: str,
    log_level: str | None,
) -> None:
    """Sum what every node reports into the status of each MemoryPolicy.

    Run two replicas: one leads and writes; the other takes over within 20 seconds, or at once when the leader is
    stopped. They write only `status` and the Lease `ballast-aggregator`. Guests do not depend on it: without an
    aggregator the nodes work on, and only the status becomes old. While the API server is away, it waits.

    \b
    Where to look:
      kubectl get memorypolicies -o wide
      kubectl describe memorypolicy NAME        conditions with what to do, and the worst nodes
      kubectl wait --for=condition=Ready memorypolicy/NAME

    \b
    Examples:
      ballast aggregator
      ballast aggregator --kubeconfig ~/.kube/config --namespace ballast-system --listen none
    """
    from controller.cli import aggregator_service  # noqa: PLC0415 - pydantic and kubernetes: not for the sake of --help

    configure(log_format, log_level or "info")
    aggregator_service.serve(aggregator_service.AggregatorSettings(kubeconfig, namespace, identity), listen)
