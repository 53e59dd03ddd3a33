"""`ballast run`: the options. What they set in motion is in `controller.cli.service`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import (
    budget_option,
    complete_folders,
    connect_option,
    domain_metrics_option,
    listen_option,
    log_options,
    node_label_option,
    node_name_option,
    observe_option,
    proc_option,
    secure_options,
)
from controller.cli.output import output_option
from controller.observe.address import Address
from controller.observe.log import configure

if TYPE_CHECKING:
    from controller.api.policy import Budget


@click.command()
@click.option(
    "--policies",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    shell_complete=complete_folders,
    help="Folder with MemoryPolicy files (*.yaml, *.yml). Changes take effect once a file is completely written.",
)
@connect_option
@observe_option
@budget_option
@click.option("--once", is_flag=True, help="Make one decision, change nothing, print it, and exit.")
@click.option("--enforce", is_flag=True, help="With --once: carry out the decision where a policy says Enforce.")
@output_option("With --once: what to print.")
@listen_option("Where to serve /state, /healthz, /readyz and /metrics. Not used with --once.")
@secure_options
@domain_metrics_option
@node_name_option("Name of this node, for a policy's nodeSelector.")
@node_label_option
@proc_option
@log_options("Lowest level to log; info if not given, with --once nothing.")
def run(  # noqa: PLR0913, PLR0917 - click passes one argument an option
    policies: Path,
    uris: tuple[str, ...],
    observe: bool,
    budget: "Budget",
    once: bool,
    enforce: bool,
    output: str,
    listen: Address | None,
    secure_listen: Address | None,
    web_config_file: Path | None,
    domain_metrics: bool,
    node_name: str,
    node_labels: dict[str, str],
    proc: Path,
    log_format: str,
    log_level: str | None,
) -> None:
    """Watch this host's domains and move memory between them as the policies in DIR say.

    A policy observes unless its spec says `mode: Enforce`: what it would do is logged, and nothing is changed.
    Stopping (Ctrl-C, SIGTERM) leaves every guest the memory it has. Exits with 1 if DIR or libvirt cannot be used at
    the start. If libvirt goes away later, it waits for it.

    \b
    Examples:
      ballast run --policies /etc/ballast/policies
      ballast run --policies policies/ --once -o json
      ballast run --policies policies/ --once --enforce
      ballast run --policies policies/ --connect qemu:///session --listen none
    """
    if enforce and (observe or not once):
        raise click.UsageError("--enforce is for --once alone; else the mode of each policy says whether it enforces")
    if output != "table" and not once:
        raise click.UsageError(f"-o {output} needs --once; a Ballast that keeps running answers at --listen")
    if (secure_listen is None) != (web_config_file is None):
        raise click.UsageError("--secure-listen and --web-config-file belong together; give both or neither")
    from controller.cli import service  # noqa: PLC0415 - numpy, pydantic and libvirt: not for the sake of --help

    configure(log_format, log_level or ("critical" if once else "info"))
    settings = service.RunSettings(
        policies, uris, node_name, node_labels, proc, budget, observe=observe or (once and not enforce)
    )
    if once:
        click.echo(service.once(settings, output))
    else:
        secured = None if secure_listen is None or web_config_file is None else (secure_listen, web_config_file)
        service.serve(settings, listen, secured, domain_metrics=domain_metrics)
