"""Options that several commands share, with what their values mean."""

import socket
from collections.abc import Callable
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from controller.host.locality import refusal
from controller.observe.address import DEFAULT_LISTEN, Address
from controller.observe.log import FORMATS, LEVELS

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_CONNECT = "qemu:///system"
DEFAULT_PODS = Path("/var/lib/kubelet/pods")


class NumberRange(click.FloatRange):
    """A number within bounds. NaN is none, though no bound keeps it out: each comparison with it is false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails as click's types do."""
        number = float(super().convert(value, param, ctx))
        if isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def connect_option(command: Command) -> Command:
    """`-c`, `--connect`: the libvirt URIs, as `uris`; each once, and at least one."""
    return _connect((DEFAULT_CONNECT,), DEFAULT_CONNECT, "LIBVIRT_DEFAULT_URI")(command)


def kubevirt_options(command: Command) -> Command:
    """`--connect` as `uris`, which may be none, `--kubevirt` as `kubevirt`, `--pods-directory` as `pods`, a Path."""
    pods = click.option(
        "--pods-directory",
        "pods",
        metavar="DIR",
        type=click.Path(path_type=Path, readable=False),
        default=DEFAULT_PODS,
        show_default=True,
        shell_complete=complete_folders,
        help="With --kubevirt: the kubelet's folder of pods, if it is mounted elsewhere.",
    )(command)
    kubevirt = click.option(
        "--kubevirt",
        is_flag=True,
        help="Connect to the libvirt of each of KubeVirt's virt-launcher pods on this node, as they come and go.",
    )(pods)
    return _connect((), f"{DEFAULT_CONNECT}; with --kubevirt: none")(kubevirt)


def _connect(default: tuple[str, ...], shown: str, variable: str | None = None) -> Callable[[Command], Command]:
    return click.option(
        "-c",
        "--connect",
        "uris",
        metavar="URI",
        multiple=True,
        default=default,
        show_default=shown,
        envvar=variable,
        callback=_distinct_uris,
        help="libvirt connection; may be given several times.",
    )


def node_name_option(text: str) -> Callable[[Command], Command]:
    """`--node-name`: the host name, if not given."""
    return click.option("--node-name", metavar="NAME", default=socket.gethostname, show_default="host name", help=text)


def node_label_option(command: Command) -> Command:
    """`--node-label`: a dict, as `node_labels`."""
    return click.option(
        "--node-label",
        "node_labels",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_labels,
        help="Label of this node, for a policy's nodeSelector; may be given several times.",
    )(command)


def budget_option(command: Command) -> Command:
    """`--budget`: a `controller.api.policy.Budget`, empty if not given."""
    return click.option(
        "--budget",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_budget,
        help="reserve=QUANTITY or reservePercent=N: memory that this node keeps free; maximum=QUANTITY: what all "
        "domains together may have at most. May be given several times. A policy's budget may keep more, never less.  "
        "[default: as policies say; else reserve=512Mi reservePercent=5]",
    )(command)


def proc_option(command: Command) -> Command:
    """`--proc`: a Path."""
    return click.option(
        "--proc",
        metavar="PATH",
        type=click.Path(path_type=Path, readable=False),
        default=Path("/proc"),
        show_default=True,
        shell_complete=complete_folders,
        help="The host's /proc, if it is mounted elsewhere (in a container).",
    )(command)


def listen_option(text: str) -> Callable[[Command], Command]:
    """`--listen`: an Address, or None for `none`."""

    def decorate(command: Command) -> Command:
        named = click.option(
            "--listen-name",
            metavar="NAME",
            multiple=True,
            is_eager=True,
            expose_value=False,
            callback=_listen_names,
            help="Further name of this host that requests may use; may be given several times. Addresses, localhost, "
            "the host name and the name in --listen are always accepted, other names never.",
        )(command)
        return click.option(
            "--listen",
            metavar="HOST:PORT|none",
            default=DEFAULT_LISTEN,
            show_default=True,
            callback=_address,
            help=text,
        )(named)

    return decorate


def secure_options(command: Command) -> Command:
    """`--secure-listen`: an Address or None; `--web-config-file`: a Path or None. Together or neither."""
    configured = click.option(
        "--web-config-file",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        help="Certificate, key and logins for --secure-listen, in the format of Prometheus' exporters; read anew when "
        "it changes.",
    )(command)
    return click.option(
        "--secure-listen",
        metavar="HOST:PORT",
        callback=_address,
        help="Where to serve the same as at --listen with TLS and login, for others than this host. Needs "
        "--web-config-file.",
    )(configured)


def observe_option(command: Command) -> Command:
    """`--observe`: False if not given."""
    return click.option("--observe", is_flag=True, help="Change nothing, whatever the mode of a policy.")(command)


def domain_metrics_option(command: Command) -> Command:
    """`--domain-metrics`: True if not given."""
    return click.option(
        "--domain-metrics/--no-domain-metrics",
        default=True,
        show_default=True,
        help="Whether /metrics has series for each domain, or only the node's: 8 a domain.",
    )(command)


def log_options(level_text: str) -> Callable[[Command], Command]:
    """`--log-format` and `--log-level` (None if not given), for `controller.observe.log.configure`."""

    def decorate(command: Command) -> Command:
        leveled = click.option("--log-level", type=click.Choice(LEVELS), help=level_text)(command)
        return click.option(
            "--log-format",
            type=click.Choice(FORMATS),
            default="human",
            show_default=True,
            help="Lines for people, or one JSON object per line.",
        )(leveled)

    return decorate


def kubeconfig_option(command: Command) -> Command:
    """`--kubeconfig`: a Path, or None."""
    return click.option(
        "--kubeconfig",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Kubeconfig of the API server. Without it: the pod's service account, or outside of a pod that of "
        "kubectl.",
    )(command)


def complete_folders(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell; whether the folder can be used is said when it is, with the remedy."""
    return [CompletionItem(incomplete, type="dir")]


def size_bytes(text: str, *least: int) -> int:
    """Bytes of a quantity, which is bounded as `parse_quantity` says. Raises BadParameter."""
    from controller.api.quantity import parse_quantity  # noqa: PLC0415 - not for the sake of --help

    try:
        return parse_quantity(text, *least)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _distinct_uris(_context: click.Context, _option: click.Parameter, uris: tuple[str, ...]) -> tuple[str, ...]:
    if "" in uris:
        raise click.BadParameter(f"'' is not a libvirt URI; write it like {DEFAULT_CONNECT}")
    for uri in uris:
        if refused := refusal(uri):
            raise click.BadParameter(refused)
    return tuple(dict.fromkeys(uris))


def _labels(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """As Kubernetes takes them; each key once."""
    labels = _pairs(texts, "a label; write it like disk=ssd")
    if labels:
        _check_labels(labels)
    return labels


def _budget(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> Any:
    """Fields as in a policy, and checked as there."""
    from pydantic import ValidationError  # noqa: PLC0415 - not for the sake of --help

    from controller.api.policy import Budget  # noqa: PLC0415 - as above
    from controller.api.problems import shown  # noqa: PLC0415 - as above
    from controller.api.wording import explain  # noqa: PLC0415 - as above

    pairs = _pairs(texts, "a setting of the budget; write it like reserve=4Gi")
    try:
        return Budget.model_validate_strings(pairs, strict=False)
    except ValidationError as errors:
        error = errors.errors(include_url=False)[0]
        key = str(error["loc"][0])
        message, remedy = explain(error, Budget)
        raise click.BadParameter(f"{key}: {shown(pairs[key])}: {message}; {remedy}") from None


def _pairs(texts: tuple[str, ...], otherwise: str) -> dict[str, str]:
    """Of KEY=VALUE, each key once. Raises BadParameter; what is none is not `otherwise`."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r} is not {otherwise}")
        if pairs.setdefault(key, value) != value:
            raise click.BadParameter(f"{key!r} has two values, {pairs[key]!r} and {value!r}; give it one")
    return pairs


def _check_labels(labels: dict[str, str]) -> None:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - not for the sake of --help

    from controller.api.policy import LabelKey, LabelValue  # noqa: PLC0415 - as above

    try:
        TypeAdapter(dict[LabelKey, LabelValue]).validate_python(labels)
    except ValidationError as error:
        raise click.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _listen_names(context: click.Context, _option: click.Parameter, names: tuple[str, ...]) -> None:
    """Kept for `_address`, which comes later."""
    context.meta[_NAMES] = names


_NAMES = "controller.cli.options.listen_names"


def _address(context: click.Context, _option: click.Parameter, text: str | None) -> Address | None:
    if text is None:
        return None
    try:
        address = Address.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return address and replace(address, names=context.meta.get(_NAMES, ()))
