"""What systemd hears of a Ballast that it watches."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.cli.watchdog import heartbeat


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A socket as systemd's, named in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield listening


def test_each_beat_is_a_datagram(listener, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    beat = heartbeat()
    beat()
    beat()
    assert [listener.recv(100), listener.recv(100)] == [b"WATCHDOG=1", b"WATCHDOG=1"]


def test_nobody_is_told_who_does_not_watch(listener, monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    heartbeat()()
    with pytest.raises(BlockingIOError):
        listener.recv(100)


def test_a_listener_that_does_not_read_or_is_gone_is_borne(listener, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    beat = heartbeat()
    for _ in range(2000):
        beat()
    listener.close()
    beat()
