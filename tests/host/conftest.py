"""Connections for the tests of the host, closed again whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import libvirt
import pytest

from controller.host.connection import CONNECTION_SETTINGS, Connection
from controller.host.sources import Source
from controller.host.taskpool import TaskPool
from lab.fake_libvirt import SOURCE, FakeDomain, FakeHandle

Connect = Callable[..., Connection]


NODE = """<node><domain type='test'>
<name>test</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
<memory unit='MiB'>8192</memory><currentMemory unit='MiB'>2048</currentMemory>
<os><type>hvm</type></os><devices><memballoon model='virtio'/></devices>
</domain></node>"""


@pytest.fixture(autouse=True)
def no_error_of_before() -> None:
    """An error that a fake raises tells its own words: libvirt's class of errors takes its thread's last one."""
    libvirt.virResetLastError()


@pytest.fixture
def test_uri(tmp_path: Path) -> str:
    """libvirt's own test driver with one running, persistent domain `test`; each connection is a node of its own."""
    path = tmp_path / "node.xml"
    path.write_text(NODE)
    return f"test://{path}"


@pytest.fixture
def test_node(test_uri: str) -> Iterator[libvirt.virConnect]:
    """A connection to `test_uri`."""
    handle = libvirt.open(test_uri)
    yield handle
    handle.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(handle)` is a Connection to a FakeHandle, up and listed; its domains answer again at the end."""
    with ExitStack() as stack:

        def start(handle: FakeHandle, name: str = SOURCE, wake: Callable[[], None] = lambda: None) -> Connection:
            source = Source(name, lambda: handle)
            connection = Connection(source, wake, lambda *_: None, CONNECTION_SETTINGS, TaskPool())
            stack.callback(connection.close)
            stack.callback(release, list(handle.domains))
            connection.start()
            assert connection.settled.wait(10)
            return connection

        yield start


def release(domains: list[FakeDomain]) -> None:
    """Let every hanging call return."""
    for domain in domains:
        domain.answers.set()
