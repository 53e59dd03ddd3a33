"""libvirt's event loop, which libvirt has only one of."""

import threading

import libvirt
import pytest

from controller.host.events import EventLoop
from lab.fake_libvirt import error


@pytest.fixture
def loop():
    loop = EventLoop()
    loop.start()
    yield loop
    loop.close()


def running() -> bool:
    return any(thread.name == "ballast-events" for thread in threading.enumerate())


def test_the_event_loop_runs_until_its_last_user_is_gone(loop):
    loop.start()
    loop.close()
    assert running()
    loop.close()
    assert not running()
    loop.start()
    assert running()


@pytest.mark.usefixtures("loop")
def test_the_event_loop_delivers_events(test_node):
    arrived = threading.Event()
    callback = test_node.domainEventRegisterAny(
        None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *_: arrived.set(), None
    )
    test_node.lookupByName("test").suspend()
    assert arrived.wait(10)
    test_node.domainEventDeregisterAny(callback)


@pytest.mark.usefixtures("loop")
def test_libvirts_errors_are_raised_and_not_also_printed(capfd):
    with pytest.raises(libvirt.libvirtError):
        libvirt.open("::bad")
    assert capfd.readouterr() == ("", "")


class Rests:
    """Stands in for what stops the loop: it is stopped at its first rest."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def is_set(self) -> bool:
        return bool(self.seconds)

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_a_turn_that_fails_is_logged_and_followed_by_a_rest(monkeypatch, caplog):
    def fail() -> None:
        raise error(libvirt.VIR_ERR_SYSTEM_ERROR, "poll failed")

    monkeypatch.setattr(libvirt, "virEventRunDefaultImpl", fail)
    loop = EventLoop()
    loop._stopping = rests = Rests()
    loop._run()
    assert rests.seconds == [1.0]
    assert caplog.messages == ["libvirt's event loop failed: poll failed"]
