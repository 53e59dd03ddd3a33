"""Kubernetes', etcd's and Helm's programs, built from the Go module proxy into a cache keyed by version.

`python -m lab.kubernetes.binaries` builds what is missing, those of the control plane first, each moved into place
as soon as it is whole. It takes a quarter of an hour on two cores, once.
"""

import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab.cache import CACHE, exclusive
from lab.command import run
from lab.errors import LabError, exit_code
from lab.kubernetes.toolchain import go

FOLDER = CACHE / "kubernetes"
SCRATCH = FOLDER / "building"
"""Sources and objects; kept by an interrupted build for the next, removed by a finished one (3 GiB)."""
KUBERNETES = "v1.34.4"
ETCD = "v3.6.16"
HELM = "v3.22.0"
NICENESS = 5
"""Of the compiler: the machine stays usable."""


@dataclass(frozen=True, slots=True)
class Program:
    """A main package of a Go module."""

    name: str
    module: str
    version: str
    package: str

    @property
    def path(self) -> Path:
        """Where it lies once it is built."""
        return FOLDER / self.version / self.name


def _of_kubernetes(name: str) -> Program:
    return Program(name, "k8s.io/kubernetes", KUBERNETES, f"k8s.io/kubernetes/cmd/{name}")


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", ETCD, "go.etcd.io/etcd/server/v3"),
    _of_kubernetes("kube-apiserver"),
    _of_kubernetes("kubectl"),
    _of_kubernetes("kube-controller-manager"),
    _of_kubernetes("kube-scheduler"),
    _of_kubernetes("kubelet"),
    Program("helm", "helm.sh/helm/v3", HELM, "helm.sh/helm/v3/cmd/helm"),
)
"""In the order in which they are built."""


def binary(name: str) -> Path:
    """Path of the built program `name`.

    Raises LabError when it was not built yet.
    """
    path = next(program.path for program in PROGRAMS if program.name == name)
    if not path.exists():
        raise LabError(f"{name}: {path} does not exist; run ./hack/setup, which builds it")
    return path


def build() -> None:
    """Build what is missing; safe to call from several processes at once.

    Raises LabError when sources cannot be had or do not compile.
    """
    if all(program.path.exists() for program in PROGRAMS):
        return
    print("[4/4] Kubernetes, built from source (a quarter of an hour on two cores, once)", file=sys.stderr)
    with exclusive(FOLDER / "lock"):
        for number, program in enumerate(PROGRAMS, 1):
            if not program.path.exists():
                print(f"  {number} of {len(PROGRAMS)}: {program.name} {program.version}", end="", file=sys.stderr)
                start = time.monotonic()
                _build(program)
                print(f", {time.monotonic() - start:.0f} s", file=sys.stderr)
        shutil.rmtree(SCRATCH, ignore_errors=True)


def _build(program: Program) -> None:
    folder = SCRATCH / program.module.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(_go_mod(program))
    compiled = folder / program.name
    flags = ["-mod=mod", "-trimpath", "-gcflags=all=-dwarf=false", f"-ldflags={_ldflags(program)}", f"-o={compiled}"]
    command = ["nice", "-n", str(NICENESS), go(), "build", *flags, program.package]
    run(*command, folder=folder, environment=_environment())
    program.path.parent.mkdir(parents=True, exist_ok=True)
    compiled.rename(program.path)


def _go_mod(program: Program) -> str:
    """A module of our own that requires the program's.

    A `replace` counts only in the main module: Kubernetes' requirements on its staging modules (v0.0.0, replaced
    by folders that the proxy does not carry) become requirements on their releases.
    """
    download = ["mod", "download", "-json", f"{program.module}@{program.version}"]
    source = json.loads(run(go(), *download, environment=_environment()))
    theirs = Path(source["GoMod"]).read_text()
    lines = ["module ballast.dev/lab", *re.findall(r"^(?:go|godebug) .*$", theirs, re.MULTILINE)]
    lines.append(f"require {program.module} {program.version}")
    release = re.sub(r"^v1\.", "v0.", program.version)
    lines += [f"replace {name} => {name} {release}" for name in re.findall(r"(\S+) => \./staging/", theirs)]
    return "\n".join(lines) + "\n"


def _ldflags(program: Program) -> str:
    """Without symbols; Kubernetes' programs take their version from the linker."""
    flags = ["-s", "-w"]
    if program.version == KUBERNETES:
        major, minor, _ = KUBERNETES.removeprefix("v").split(".")
        for name, value in (("gitVersion", KUBERNETES), ("gitMajor", major), ("gitMinor", minor)):
            flags.append(f"-X=k8s.io/component-base/version.{name}={value}")
    return " ".join(flags)


def _environment() -> dict[str, str]:
    """Caches of our own; `-modcacherw`, for Go's own source folders cannot be removed by other users than root."""
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(SCRATCH / "objects"),
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "GOMODCACHE": str(SCRATCH / "modules"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


if __name__ == "__main__":
    sys.exit(exit_code(build))
