"""Kustomizations as a user of the manifests writes them."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lab.kubernetes.binaries import binary

MANIFESTS = Path(__file__).parents[3] / "manifests"
COMPONENTS = sorted(path.name for path in (MANIFESTS / "components").iterdir())


def kustomization(folder: Path, components: Iterable[str], resource: str = "default", **more: Any) -> Path:
    """Write one of a folder of the manifests with these components into the folder, and return that."""
    there = os.path.relpath(MANIFESTS, folder.resolve())
    chosen = [f"{there}/components/{name}" for name in components]
    content = {"resources": [f"{there}/{resource}"], "components": chosen, **more}
    (folder / "kustomization.yaml").write_text(json.dumps(content))
    return folder


def rendered(folder: Path) -> list[dict[str, Any]]:
    """The objects that kubectl would apply."""
    command = [str(binary("kubectl")), "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
