"""`ballast agent`: the options. What they set in motion is in `controller.cli.agent_service`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import (
    DEFAULT_CONNECT,
    budget_option,
    complete_folders,
    domain_metrics_option,
    kubeconfig_option,
    kubevirt_options,
    listen_option,
    log_options,
    node_name_option,
    observe_option,
    proc_option,
    size_bytes,
)
from controller.observe.address import Address
from controller.observe.log import configure

if TYPE_CHECKING:
    from controller.api.policy import Budget

DEFAULT_CACHE_DIR = Path("/var/cache/ballast")


def _bytes(_context: click.Context, _option: click.Parameter, text: str) -> int:
    return size_bytes(text)


@click.command()
@kubevirt_options
@observe_option
@budget_option
@node_name_option("Name of this host's Node in the cluster; a pod knows it as spec.nodeName.")
@kubeconfig_option
@click.option(
    "--cache-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    default=DEFAULT_CACHE_DIR,
    show_default=True,
    shell_complete=complete_folders,
    help="Folder for the last known policies, for a start while the API server is away; nobody else may write to it.",
)
@click.option(
    "--eviction-threshold",
    "eviction",
    metavar="QUANTITY",
    default="100Mi",
    show_default=True,
    callback=_bytes,
    help="The kubelet's eviction threshold for memory.available (the larger of hard and soft). This much is kept "
    "free, whatever policies say. 0 if it never evicts.",
)
@click.option(
    "--label-node",
    is_flag=True,
    help="Label this host's Node ballast.dev/short=true while its guests have needed more memory than there is for "
    "minutes. Needs the right to patch nodes: manifests/components/node-label.",
)
@proc_option
@listen_option("Where to serve /state, /healthz, /readyz and /metrics.")
@domain_metrics_option
@log_options("Lowest level to log; info if not given.")
def agent(  # noqa: PLR0913, PLR0917 - click passes one argument an option
    uris: tuple[str, ...],
    kubevirt: bool,
    pods: Path,
    observe: bool,
    budget: "Budget",
    node_name: str,
    kubeconfig: Path | None,
    cache_dir: Path,
    eviction: int,
    label_node: bool,
    proc: Path,
    listen: Address | None,
    domain_metrics: bool,
    log_format: str,
    log_level: str | None,
) -> None:
    """Watch this node's domains and move memory between them as the cluster's MemoryPolicies say.

    Like `ballast run`, but policies come from the API server, and their node selectors match the labels of the Node.
    Runs on every node, as a DaemonSet. It writes only this node's NodeMemoryState and events about the Node (with
    --label-node also one label). While libvirt or the API server is away, it waits, and goes on with the policies it
    knows, also after a restart. When it stops, every guest keeps the memory it has.

    \b
    Where to look:
      kubectl get nodememorystates                                   one line per node
      kubectl get events --field-selector involvedObject.kind=Node   what needs a person
      curl http://HOST:PORT/readyz                                   ready, or what is missing

    \b
    Examples:
      ballast agent --node-name "$NODE_NAME"                         in a pod
      ballast agent --kubevirt                                       in a pod, where KubeVirt runs virtual machines
      ballast agent --kubeconfig ~/.kube/config --cache-dir ~/.cache/ballast --connect test:///default
    """
    from controller.cli import agent_service  # noqa: PLC0415 - numpy, kopf and libvirt: not for the sake of --help

    configure(log_format, log_level or "info")
    if not kubevirt:
        uris = uris or (DEFAULT_CONNECT,)
    settings = agent_service.AgentSettings(
        kubeconfig, node_name, uris, proc, cache_dir, pods if kubevirt else None, eviction, observe, budget, label_node
    )
    agent_service.serve(settings, listen, domain_metrics=domain_metrics)
