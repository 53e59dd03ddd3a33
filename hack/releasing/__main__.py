"""`./hack/release`: all that a release publishes, in one folder. Nothing is published."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from lab.errors import LabError
from lab.kubernetes import image as container
from lab.virtualenv import dependencies
from releasing import cluster, package, source, statements

TITLE = "Ballast"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="dist",
    show_default=True,
    help="The folder, new or empty.",
)
@click.option(
    "--image",
    metavar="REGISTRY/NAME",
    help="Where you will bring the image: install.yaml and the chart ask for it there, by its digest.",
)
def main(out: Path, image: str | None) -> None:
    """Make all that a release publishes of the last commit.

    That is wheel, sdist, image, install.yaml, Helm chart and Debian package, with bills of materials, provenance and
    sums. The same commit and the same packages of Debian make the same files.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty; name another folder, or empty it")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _release(Path(scratch), out, image)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def _release(scratch: Path, out: Path, image: str | None) -> None:
    commit = source.check_out(scratch / "source")
    wheel = source.build_wheel(commit, out)
    packages = source.packages(wheel, scratch / "wheel")
    name = image or cluster.UNNAMED
    archive = out / f"ballast-{commit.version}-image.tar"
    digest = container.write(archive, f"{name}:{commit.version}", commit.folder, packages, _labels(commit))
    asked = digest if image else None
    cluster.write_installation(commit, out, name, asked)
    cluster.write_chart(commit, scratch, out, name, asked)
    deb = package.build(commit, packages, scratch, out)

    python, system = dependencies(commit.folder, container.EXTRA), container.packages_of_debian()
    image_bill = statements.bill_of_materials(archive.name, commit, python, system)
    statements.write(archive.with_suffix(".cdx.json"), image_bill)
    deb_bill = statements.bill_of_materials(deb.name, commit, dependencies(commit.folder), [])
    statements.write(deb.with_suffix(".cdx.json"), deb_bill)
    parameters = {"image": name, "imageDigest": digest}
    statement = statements.provenance(list(out.iterdir()), commit, parameters, python, system)
    statements.write(out / "provenance.json", statement)
    statements.write_sums(out)


def _labels(commit: source.ReleaseSource) -> dict[str, str]:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md."""
    return {
        "org.opencontainers.image.title": TITLE,
        "org.opencontainers.image.version": commit.version,
        "org.opencontainers.image.revision": commit.commit,
        "org.opencontainers.image.created": datetime.fromtimestamp(commit.time, UTC).isoformat(),
        "org.opencontainers.image.licenses": "Apache-2.0",
    }


if __name__ == "__main__":
    sys.exit(main(prog_name="./hack/release"))
