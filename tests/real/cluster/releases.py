"""What `./hack/release` made of the commit that is checked out."""

from pathlib import Path
from typing import NamedTuple

HOME = "registry.example.org/ballast"


class Releases(NamedTuple):
    """Two of the same commit."""

    plain: Path
    named: Path
    """With `--image`."""
