"""`ballast completion`: the script that makes a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  eval "$(ballast completion bash)"     in ~/.bashrc
    zsh:   eval "$(ballast completion zsh)"      in ~/.zshrc
    fish:  ballast completion fish | source      in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}; there is {', '.join(SHELLS)}")
    root = context.find_root()
    click.echo(kind(root.command, {}, "ballast", "_BALLAST_COMPLETE").source())
