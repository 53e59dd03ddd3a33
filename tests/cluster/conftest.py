"""A real control plane and a real node for tests, one of each a session."""

from collections.abc import Iterator

import pytest

from lab.kubernetes import image
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import Node


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """API server, etcd and controller manager; a test leaves it as it was, or works in a namespace of its own."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A node with the project's image, of a control plane with a scheduler: `node.plane`, not `control_plane`."""
    with ControlPlane(scheduler=True) as plane:
        node = Node(plane, "lab")
        image.install(node)
        yield node
