"""`python -m controller` is `ballast`."""

from controller.cli.main import main

main(prog_name="ballast")
