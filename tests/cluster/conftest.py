"""A real control plane for tests, one a session."""

from collections.abc import Iterator

import pytest

from lab.kubernetes.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """API server, etcd and controller manager; a test leaves it as it was, or works in a namespace of its own."""
    with ControlPlane() as plane:
        yield plane
