"""`./hack/pictures`: draw them anew; the same each time."""

from pathlib import Path

import click

from drawing import filling, life

IMAGES = Path(__file__).parents[1] / "images"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    default=IMAGES,
    help="Folder they are written to; hack/images if not given.",
)
def main(folder: Path) -> None:
    """Draw life.png and filling.png from the engine itself."""
    life.draw(life.live(), folder / "life.png")
    filling.draw(filling.filled(), folder / "filling.png")


if __name__ == "__main__":
    main(prog_name="./hack/pictures")
