"""Memory pressure of the host. The kernel's trigger is played by a socket's out-of-band byte: both raise POLLPRI."""

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from controller.host import pressure as module
from controller.host.meminfo import Meminfo
from controller.host.pressure import Pressure, open_trigger

PLENTY = Meminfo(total=1000, available=500, swap_used=0)
SCARCE = Meminfo(total=1000, available=49, swap_used=0)


class Kernel:
    """A trigger that fires when told to, and a clock."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.sender = socket.create_connection(listener.getsockname())
        self.receiver, _ = listener.accept()
        listener.close()
        self.woken = threading.Event()
        self.now = 100.0
        self.pressure = Pressure(Path("/proc"), self.wake, clock=lambda: self.now, open_trigger=self.open)

    def open(self, _path: Path) -> int:
        return self.receiver.dup().detach()

    def wake(self) -> None:
        self.receiver.recv(1, socket.MSG_OOB)  # as the kernel does, report once
        self.woken.set()

    def fire(self) -> None:
        self.sender.send(b"!", socket.MSG_OOB)
        assert self.woken.wait(10)


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.pressure.start()
    yield kernel
    kernel.pressure.close()
    kernel.sender.close()
    kernel.receiver.close()


def test_a_trigger_wakes_and_counts_for_a_while(kernel):
    assert not kernel.pressure.now(PLENTY)
    kernel.fire()
    assert kernel.pressure.now(PLENTY)
    kernel.now += 2.9
    assert kernel.pressure.now(PLENTY)
    kernel.now += 0.1
    assert not kernel.pressure.now(PLENTY)


def test_the_kernel_knows_better_than_the_mark(kernel):
    assert not kernel.pressure.now(SCARCE)
    assert kernel.pressure.mark(SCARCE) == 0.0
    assert kernel.pressure.source == "PSI trigger on /proc/pressure/memory"


def test_closing_ends_the_thread_leaves_nothing_open_and_may_be_repeated(kernel):
    threads = {thread.name: thread.daemon for thread in threading.enumerate()}
    assert threads["ballast-pressure"]  # it keeps no process from its end
    opened = len(os.listdir("/proc/self/fd"))
    kernel.pressure.close()
    kernel.pressure.close()
    assert "ballast-pressure" not in {thread.name for thread in threading.enumerate()}
    assert len(os.listdir("/proc/self/fd")) == opened - 2  # the trigger, and what ends the thread


def test_before_it_watches_the_mark_decides():
    pressure = Pressure(Path("/proc"), lambda: None)
    pressure.close()
    assert (pressure.source, pressure.now(SCARCE)) == ("MemAvailable below 5% of MemTotal", True)


def test_without_psi_the_mark_decides_and_is_named(tmp_path):
    pressure = Pressure(tmp_path, lambda: None)
    pressure.start()
    assert pressure.source == (
        f"MemAvailable below 5% of MemTotal ({tmp_path}/pressure/memory: No such file or directory)"
    )
    assert not pressure.now(PLENTY)
    assert pressure.now(SCARCE)
    assert pressure.mark(PLENTY) == 0.05 * PLENTY.total
    pressure.close()


def test_the_trigger_is_written_for_the_kernel(tmp_path):
    path = tmp_path / "memory"
    path.touch()
    with open(open_trigger(path), "rb"):
        assert path.read_bytes() == b"some 150000 1000000\0"


class RefusingKernel:
    """A kernel that takes no trigger, or only those that it is asked for later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self.errors, self.asked = [*errors], []
        monkeypatch.setattr(module.os, "write", self.write)

    def write(self, _descriptor: int, trigger: bytes) -> int:
        self.asked.append(trigger)
        if self.errors:
            raise OSError(self.errors.pop(0), "no")
        return len(trigger)


def test_a_kernel_that_wants_a_right_for_the_quick_trigger_is_asked_for_the_slow_one(tmp_path, monkeypatch):
    (tmp_path / "memory").touch()
    kernel = RefusingKernel(monkeypatch, errno.EINVAL)
    os.close(open_trigger(tmp_path / "memory"))
    assert kernel.asked == [b"some 150000 1000000\0", b"some 300000 2000000\0"]


@pytest.mark.parametrize("errors", [(errno.EINVAL, errno.EINVAL), (errno.EPERM,)])
def test_a_kernel_that_takes_no_trigger_has_none_open(tmp_path, monkeypatch, errors):
    (tmp_path / "memory").touch()
    kernel = RefusingKernel(monkeypatch, *errors)
    closed = []
    close = os.close
    monkeypatch.setattr(module.os, "close", lambda descriptor: closed.append(descriptor) or close(descriptor))
    with pytest.raises(OSError, match="no"):
        open_trigger(tmp_path / "memory")
    assert (len(kernel.asked), len(closed)) == (len(errors), 1)


def test_where_the_kernel_takes_its_trigger_back_the_mark_decides(caplog):
    caplog.set_level("INFO")
    reader, writer = os.pipe()
    pressure = Pressure(Path("/proc"), lambda: None, open_trigger=lambda _path: writer)
    pressure.start()
    os.close(reader)  # an error of the descriptor that is watched, as the kernel's is
    pressure._watch[0].join(10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)
    source = "MemAvailable below 5% of MemTotal (/proc/pressure/memory: the kernel took the trigger back)"
    assert pressure.source == source
    assert caplog.messages == [f"host memory pressure is taken from {source}"]
    assert (pressure.now(SCARCE), pressure.now(PLENTY), pressure.mark(PLENTY)) == (True, False, 50)
    pressure.close()
