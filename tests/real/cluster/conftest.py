"""A real control plane, a real node and two releases for tests, one of each a session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from releases import HOME, Releases
from virtualization import KUBEVIRT, InstalledNearKubevirt

from lab.cache import cached
from lab.kubernetes import image, virtlauncher
from lab.kubernetes.cluster import apply
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import LabNode
from releasing.__main__ import main

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """API server, etcd and controller manager; a test leaves it as it was, or works in a namespace of its own."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def contract(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with Ballast's CRDs, established."""
    control_plane.define(ROOT / "crds")
    return control_plane


@pytest.fixture(scope="module")
def installed(contract: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane with all that `manifests/default` holds; without kubelets its pods wait."""
    contract.kubectl("apply", "-k", str(ROOT / "manifests" / "default"))
    yield contract
    contract.kubectl("delete", "-k", str(ROOT / "manifests" / "base"))


@pytest.fixture(scope="session")
def node() -> Iterator[LabNode]:
    """A node with the project's image, of a control plane with a scheduler: `node.plane`, not `control_plane`."""
    with ControlPlane(scheduler=True) as plane:
        node = LabNode(plane, "lab")
        image.install(node)
        yield node


@pytest.fixture(scope="module")
def virtualized(node: LabNode) -> LabNode:
    """A node that runs virtual machines."""
    virtlauncher.install(node)
    node.plane.kubectl("label", "node", node.name, "kubevirt.io/schedulable=true", "--overwrite")
    node.plane.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=180s")
    return node


@pytest.fixture(scope="module")
def running(virtualized: LabNode) -> Iterator[InstalledNearKubevirt]:
    """`kubectl apply -k manifests/kubevirt`; pods that a test does not end, the module does."""
    apply(virtualized.plane, KUBEVIRT)
    site = InstalledNearKubevirt(virtualized)
    yield site
    site.end()


@pytest.fixture
def site(running: InstalledNearKubevirt) -> Iterator[InstalledNearKubevirt]:
    """Without policies and pods before and after."""
    yield running
    running.end()
    running.kubectl("delete", "mpol", "--all")


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """All pytest workers have the same."""
    own = tmp_path_factory.getbasetemp()
    folder = cached((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "releases", _release)
    return Releases(folder / "plain", folder / "named")


def _release(folder: Path) -> None:
    """Make both, under different masks of modes."""
    for name, umask, more in (("plain", 0o022, ()), ("named", 0o077, ("--image", HOME))):
        before = os.umask(umask)
        result = CliRunner().invoke(main, ["--out", str(folder / name), *more], catch_exceptions=False)
        os.umask(before)
        assert result.exit_code == 0, result.output
