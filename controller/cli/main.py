"""The group `ballast` and the table of its commands."""

import os
from importlib import import_module
from typing import Any

import click

from controller import __version__
from controller.api.printable import printable
from controller.cli.environment import meant, named, unknown
from controller.cli.output import Problems, bear_any_encoding

COMMANDS = {
    "run": "Keep memory where it is needed, on this host.",
    "agent": "Keep memory where it is needed, on this node of a cluster.",
    "check": "Check policy files, offline.",
    "top": "Show the live table of a running Ballast.",
    "describe": "Show all that is known of a domain.",
    "explain": "Say why a domain has the memory it has.",
    "record": "Write this host's memory demand to a trace file.",
    "backtest": "Replay a policy and its peers on traces, and compare.",
    "compare": "Compare the forecast models on recorded demand.",
    "tune": "Propose policy parameters for recorded demand.",
    "aggregator": "Sum what every node reports into the policies' status.",
    "completion": "Print the shell completion script.",
}
"""Command `x` is `controller.cli.x:x`; its line of help is here so that the overview imports none of them."""
CLUSTER_CLIENT = {"aiohttp", "kopf", "kubernetes", "urllib3"}
"""What the extra `cluster` brings: a host without a cluster needs none of it."""


class Commands(click.Group):
    """Imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order in which a new user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """None for a name that is no command."""
        if cmd_name not in COMMANDS:
            return None
        return named(getattr(import_module(f"controller.cli.{cmd_name}"), cmd_name), cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Fails, with what may have been meant, for a command that there is not, and for variables that set nothing."""
        wanted = args[0]
        if wanted not in COMMANDS and not wanted.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {wanted!r}.{meant(wanted, COMMANDS)}")
        name, command, rest = super().resolve_command(ctx, args)
        asks_for_help = any(each in ctx.help_option_names for each in rest)
        if name and command and not asks_for_help and (problem := unknown(command, name, os.environ)):
            ctx.fail(problem)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """What is said of an error is one line, or as many as `Problems` has, whatever names are in it."""
        bear_any_encoding()
        try:
            return super().invoke(ctx)
        except Problems:
            raise
        except click.ClickException as error:
            vars(error)["message"] = printable(error.message)  # click calls it final for its own sake
            raise
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in CLUSTER_CLIENT:
                raise
            remedy = "install ballast-libvirt[cluster], which has it"
            raise click.ClickException(f"{error.name} is not installed; {remedy}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The overview, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "ballast", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="ballast")
def main() -> None:
    """Ballast keeps the memory of libvirt/QEMU virtual machines where it is needed.

    It forecasts every guest's memory use and moves memory between guests through the virtio balloon, only
    when the difference is worth it. A MemoryPolicy in YAML says how.

    \b
    To begin, look without changing anything (an empty spec observes every domain):
      mkdir policies
      echo '{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}' > policies/all.yaml
      ballast check policies/
      ballast run --policies policies/ --once

    Every option can also be set by an environment variable, which --help names. Options on the command line take
    precedence. Separate several values by spaces, and several files by colons.
    """
