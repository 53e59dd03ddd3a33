"""The command line of `./hack/generate`."""

from pathlib import Path

import click

from generating.models import rows, schema, with_block, with_rows

ROOT = Path(__file__).parents[2]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--check", is_flag=True, help="Change nothing; fail if a file is not as it would be written.")
def main(check: bool) -> None:
    """Write what CRD and page say of forecast models, from `controller/api/policy.py`."""
    crd, page = ROOT / "crds/memorypolicies.ballast.dev.yaml", ROOT / "crds/README.md"
    wanted = {crd: with_block(crd.read_text(), schema()), page: with_rows(page.read_text(), rows())}
    stale = [path for path, text in wanted.items() if path.read_text() != text]
    if check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise click.ClickException(f"{names}: not as controller/api/policy.py declares; run ./hack/generate")
    for path in stale:
        path.write_text(wanted[path])


if __name__ == "__main__":
    main(prog_name="./hack/generate")
