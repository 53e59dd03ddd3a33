"""`ballast explain`: the last decisions about one domain as sentences, read from a running Ballast's HTTP endpoint."""

from collections.abc import Iterator
from typing import Any

import click

from controller.cli.endpoint import complete_domains, explained, url_option
from controller.cli.output import document, output_option, say
from controller.observe.text import seconds


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@url_option
@output_option("What to print.", "text", ("text", "json", "yaml"))
def explain(domain: str, url: str, output: str) -> None:
    """Say why DOMAIN (name or UUID) has the memory it has: what holds now, and the last decisions, newest first.

    \b
    Examples:
      ballast explain web
      ballast explain web -o json | jq '.domains[].decisions[0]'
    """
    told = explained(url, domain)
    if output == "text":
        say(*_text(told))
    else:
        click.echo(document(told, output))


def _text(told: dict[str, Any]) -> Iterator[str]:
    for each in told["domains"]:
        yield f"{each['domain']['name']} on {told['node']['name']}"
        yield from _indented(each["standing"])
        for decision in each["decisions"]:
            first, *rest = decision["sentences"]
            yield f"{seconds(decision['age_s'])} ago: {first}"
            yield from _indented(rest)
        if not each["decisions"]:
            yield "No decision changed it, or would have, since this Ballast started."
    if told["more"]:
        yield f"{told['more']} more have this name; ask for one by its UUID"


def _indented(sentences: list[str]) -> Iterator[str]:
    return (f"  {sentence}" for sentence in sentences)
