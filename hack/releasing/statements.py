"""What is said about the files of a release: bills of materials, where they come from, and their sums."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from lab import debian
from lab.virtualenv import SITE, Dependencies
from releasing.source import ReleaseSource

SUMS = "SHA256SUMS"
BUILDER = "https://ballast.dev/hack/release"


def bill_of_materials(
    name: str, source: ReleaseSource, python: Dependencies, system: Iterable[debian.DebianPackage]
) -> dict[str, Any]:
    """Of the file `name`, in CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json."""
    found = sorted(distributions(path=[str(python.tree / SITE)]), key=lambda each: each.name.lower())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": _component("application", name, source.version, f"pkg:pypi/ballast-libvirt@{source.version}")
        },
        "components": [*map(_of_pypi, found), *map(_of_debian, system)],
    }


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _of_pypi(found: Distribution) -> dict[str, Any]:
    component = _component("library", found.name, found.version, _purl(found.name, found.version))
    if "License-Expression" not in found.metadata:
        return component
    return component | {"licenses": [{"expression": found.metadata["License-Expression"]}]}


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"


def _of_debian(package: debian.DebianPackage) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{package.name}@{package.version}?distro=bookworm"
    hashes = [{"alg": "SHA-256", "content": package.sha256}]
    return _component("library", package.name, package.version, purl) | {"hashes": hashes}


def provenance(
    files: Iterable[Path],
    source: ReleaseSource,
    parameters: Mapping[str, Any],
    python: Dependencies,
    system: Iterable[debian.DebianPackage],
) -> dict[str, Any]:
    """An in-toto statement about the files, not signed: https://slsa.dev/spec/v1.0/provenance."""
    resolved = [
        {"uri": f"git:{source.commit}", "digest": {"gitCommit": source.commit}},
        *(_resolved(each["metadata"], each["download_info"]) for each in python.sources()),
        *({"uri": _of_debian(each)["purl"], "digest": {"sha256": each.sha256}} for each in system),
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.name, "digest": {"sha256": sha256(file)}} for file in sorted(files)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILDER,
                "externalParameters": {"commit": source.commit, **parameters},
                "resolvedDependencies": sorted(resolved, key=lambda each: str(each["uri"])),
            },
            "runDetails": {"builder": {"id": BUILDER}},
        },
    }


def _resolved(metadata: Mapping[str, str], download: Mapping[str, Any]) -> dict[str, Any]:
    hashes = download["archive_info"]["hashes"]
    return {"uri": _purl(metadata["name"], metadata["version"]), "digest": {"sha256": hashes["sha256"]}}


def write(path: Path, statement: Mapping[str, Any]) -> None:
    """As JSON for people, too."""
    path.write_text(json.dumps(statement, indent=2) + "\n")


def write_sums(folder: Path) -> None:
    """Of all files in the folder, for `sha256sum --check`."""
    files = sorted(file for file in folder.iterdir() if file.name != SUMS)
    (folder / SUMS).write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files))


def sha256(file: Path) -> str:
    """In hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
