"""`kubectl ballast`: a cluster's Ballast from where kubectl is used. kubectl finds it on the PATH, and does the work:

who may do what is the cluster's matter, and no access is read here. https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

import click

from controller import __version__
from controller.cli.check import check
from controller.cli.output import Problems, bear_any_encoding, say

AGENTS = "app.kubernetes.io/name=ballast,app.kubernetes.io/component=agent"
"""Labels of the agents' pods, as the manifests have them."""
LAUNCHERS = "kubevirt.io=virt-launcher"
"""Labels of the pods that KubeVirt runs virtual machines in; the annotation `kubevirt.io/domain` names the machine."""
COMMAND_ENDED = "command terminated with exit code "
"""What kubectl adds to what a command in a pod said before it failed."""


class RunningPod(NamedTuple):
    """A pod that runs, as far as it matters here."""

    node: str
    namespace: str
    name: str
    annotations: dict[str, str]

    def command(self, *arguments: str, terminal: bool = False) -> list[str]:
        """Of kubectl, that runs Ballast in it, where it is an agent's."""
        where = ["-n", self.namespace, self.name, "-c", "agent"]
        return ["exec", *(["-it"] if terminal else []), *where, "--", "ballast", *arguments]


class Kubectl:
    """The program, with the options that each call of it gets."""

    def __init__(self, options: Sequence[str], namespace: str | None) -> None:
        """`namespace` is Ballast's own; None: the one that has pods with the labels of agents."""
        self._command = ["kubectl", *options]
        self._where = ["-n", namespace] if namespace else ["-A"]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What it printed. Raises ClickException where there is no kubectl."""
        try:
            return subprocess.run(  # noqa: S603 - no shell
                [*self._command, *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
            )
        except OSError as error:
            raise click.ClickException(f"kubectl cannot be run: {error.strerror}; is it on the PATH?") from error

    def pods(self, *arguments: str) -> list[RunningPod]:
        """Those that run. Raises ClickException with kubectl's words, which need not be its own."""
        done = self.run("get", "pods", *arguments, "-o", "json")
        if done.returncode:
            raise Problems(done.stderr.strip().splitlines() or [f"kubectl ended with {done.returncode}"])
        try:
            pods = [
                (each["spec"], each["metadata"], each["status"]["phase"]) for each in json.loads(done.stdout)["items"]
            ]
            return [
                RunningPod(
                    spec["nodeName"], metadata["namespace"], metadata["name"], dict(metadata.get("annotations") or {})
                )
                for spec, metadata, phase in pods
                if phase == "Running"
            ]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise click.ClickException("kubectl does not answer with a list of pods; is it kubectl?") from error

    def agents(self, node: str | None = None) -> list[RunningPod]:
        """Pods of agents, of one node or all. Raises ClickException where there is none, or it may be a false one: what
        a pod says reaches the terminal, and everybody may give their pods these labels.
        """
        running = self.pods(*self._where, "-l", AGENTS)
        if len(namespaces := sorted({each.namespace for each in running})) > 1:
            raise click.ClickException(
                f"pods in {', '.join(namespaces)} have the labels of agents; name Ballast's with --ballast-namespace"
            )
        found = [each for each in running if node in {None, each.node}]
        if not found:
            where = f"on node {node}" if node else f"with the labels {AGENTS}"
            raise click.ClickException(
                f"no agent of Ballast runs {where}; `kubectl get pods -A -l {AGENTS}` lists them"
            )
        return found

    def become(self, *arguments: str) -> NoReturn:
        """End in it: terminal, signals and exit code are kubectl's."""
        sys.stdout.flush()
        try:
            os.execvp("kubectl", [*self._command, *arguments])  # noqa: S606, S607 - as found on the PATH, no shell
        except OSError as error:
            raise click.ClickException(f"kubectl cannot be run: {error.strerror}; is it on the PATH?") from error


@click.group("kubectl-ballast", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--context", "cluster", metavar="NAME", help="kubectl's --context.")
@click.option("--kubeconfig", metavar="FILE", help="kubectl's --kubeconfig.")
@click.option(
    "--ballast-namespace",
    "namespace",
    metavar="NS",
    help="Where Ballast runs, if pods elsewhere have its agents' labels.",
)
@click.version_option(__version__, prog_name="kubectl-ballast")
@click.pass_context
def main(context: click.Context, cluster: str | None, kubeconfig: str | None, namespace: str | None) -> None:
    """What Ballast does in a cluster, by kubectl: with your rights, of which `pods/exec` is one for a single node.

    \b
    Examples:
      kubectl ballast top                            a line a node
      kubectl ballast top --node node-1 --sort demand
      kubectl ballast explain web-1 -n shop          a virtual machine of KubeVirt
      kubectl ballast policies
      kubectl ballast check policy.yaml
    """
    bear_any_encoding()
    given = {"--context": cluster, "--kubeconfig": kubeconfig}
    context.obj = Kubectl([word for name, value in given.items() if value for word in (name, value)], namespace)


main.add_command(check)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--node", metavar="NAME", help="The live table of this node's domains.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def top(kubectl: Kubectl, node: str | None, options: tuple[str, ...]) -> None:
    """Show a line a node; with --node its domains, live. OPTIONS are those of `ballast top`."""
    if node is None:
        if options:
            raise click.UsageError(f"{options[0]} is for the table of one node; name it with --node")
        kubectl.become("get", "nodememorystates")
    (agent, *_) = kubectl.agents(node)
    kubectl.become(*agent.command("top", *options, terminal=sys.stdin.isatty() and sys.stdout.isatty()))


@main.command()
@click.pass_obj
def policies(kubectl: Kubectl) -> None:
    """List the MemoryPolicies with what became of them."""
    kubectl.become("get", "memorypolicies", "-o", "wide")


def _about(verb: str, text: str) -> Callable[..., None]:
    """A command about one domain."""

    @click.option("-n", "--namespace", metavar="NS", help="VM is a virtual machine of KubeVirt in this namespace.")
    @click.option("--node", metavar="NAME", help="Where it runs; without it each agent is asked in turn.")
    @click.argument("vm")
    @click.pass_obj
    def command(kubectl: Kubectl, vm: str, namespace: str | None, node: str | None) -> None:
        node = node or (_node_of(kubectl, namespace, vm) if namespace else None)
        domain = f"{namespace}_{vm}" if namespace else vm
        said = []
        for agent in kubectl.agents(node):
            done = kubectl.run(*agent.command(verb, "--", domain))
            if done.returncode == 0:
                say(*done.stdout.splitlines())
                return
            lines = done.stderr.splitlines()
            words = [line for line in lines if not line.startswith(COMMAND_ENDED)] or lines
            said += [f"{agent.node}: {line.removeprefix('Error: ')}" for line in words]
        raise Problems(said)

    return main.command(verb, help=text)(command)


def _node_of(kubectl: Kubectl, namespace: str, vm: str) -> str:
    """Where KubeVirt runs the machine. Raises ClickException where it does not."""
    for pod in kubectl.pods("-n", namespace, "-l", LAUNCHERS):
        if pod.annotations.get("kubevirt.io/domain") == vm:
            return pod.node
    raise click.ClickException(f"KubeVirt runs no virtual machine {vm!r} in namespace {namespace!r}")


describe = _about("describe", "Show all that is known of VM, a domain's name or UUID, or KubeVirt's with -n.")
explain = _about("explain", "Say why VM has the memory it has: a domain's name or UUID, or KubeVirt's name with -n.")
