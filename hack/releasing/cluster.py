"""What is applied to a cluster: one file for kubectl, and the Helm chart."""

import gzip
import json
import tarfile
from pathlib import Path

from lab.command import run
from lab.kubernetes.binaries import binary
from releasing.source import ReleaseSource

UNNAMED = "localhost/ballast"
"""The image in the manifests, which is in no registry."""


def write_installation(source: ReleaseSource, out: Path, image: str, digest: str | None) -> None:
    """Write `install.yaml`, which is `manifests/default` with this image, by its digest where there is one.

    Raises LabError when kustomize refuses it.
    """
    folder = source.folder / "installation"
    folder.mkdir()
    by = {"digest": digest} if digest else {"newTag": source.version}
    named = {"name": UNNAMED, "newName": image} | by
    kustomization = {"resources": ["../manifests/default"], "images": [named]}
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
    (out / "install.yaml").write_text(run(str(binary("kubectl")), "kustomize", str(folder)))


def write_chart(source: ReleaseSource, scratch: Path, out: Path, image: str, digest: str | None) -> Path:
    """Write the chart with the same image, and return its file.

    Raises LabError when Helm refuses it.
    """
    chart = source.folder / "manifests" / "helm"
    values = (chart / "values.yaml").read_text().replace(UNNAMED, image)
    if digest:
        values = values.replace('digest: ""', f"digest: {digest}")
    (chart / "values.yaml").write_text(values)
    run(str(binary("helm")), "package", str(chart), f"--destination={scratch}")
    packed = scratch / f"ballast-{source.version}.tgz"
    result = out / packed.name
    _settle(packed, result, source.time)
    return result


def _settle(packed: Path, result: Path, time: int) -> None:
    """The same archive with the time of the commit: Helm writes down when it packed."""
    with (
        tarfile.open(packed) as old,
        gzip.GzipFile(result, "wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as new,
    ):
        for info in old:
            info.mtime = time
            new.addfile(info, old.extractfile(info))
