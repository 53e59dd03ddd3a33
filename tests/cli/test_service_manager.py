"""What systemd hears of a Ballast that it runs."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.cli.service_manager import STATUS_S, ServiceManager


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A socket as systemd's, named in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        yield listening


class ManualTime:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def heard(listener: socket.socket) -> list[str]:
    """The lines of the next datagram."""
    return listener.recv(4096).decode().split("\n")


def test_the_first_turn_is_the_start_and_each_is_a_beat(listener):
    manager = ServiceManager(ManualTime())
    manager.turned(lambda: "fine")
    manager.turned(lambda: "fine")
    assert heard(listener) == ["READY=1", "WATCHDOG=1", "STATUS=fine"]
    assert heard(listener) == ["WATCHDOG=1"]


def test_the_status_is_told_when_it_is_another_and_now_and_then(listener):
    time, texts = ManualTime(), ["fine", "fine", "less\nfine\x1b[31m"]
    manager = ServiceManager(time)
    for seconds in (0.0, STATUS_S - 0.1, 0.2, STATUS_S):
        time.now += seconds
        manager.turned(lambda: texts.pop(0))
    assert [heard(listener) for _ in range(4)] == [
        ["READY=1", "WATCHDOG=1", "STATUS=fine"],
        ["WATCHDOG=1"],
        ["WATCHDOG=1"],
        ["WATCHDOG=1", "STATUS=less\\nfine\\x1b[31m"],
    ]


def test_who_does_not_watch_hears_of_start_and_end_alone(listener, monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC")
    manager = ServiceManager(ManualTime())
    manager.turned(lambda: "fine")
    manager.turned(lambda: "fine")
    manager.stopping()
    assert [heard(listener) for _ in range(2)] == [["READY=1", "STATUS=fine"], ["STOPPING=1"]]


def test_a_listener_that_does_not_read_or_is_gone_is_borne(listener):
    manager = ServiceManager(ManualTime())
    for _ in range(2000):
        manager.turned(lambda: "fine")
    listener.close()
    manager.turned(lambda: "fine")
    manager.stopping()


def test_nobody_is_told_without_a_service_manager(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    manager = ServiceManager(ManualTime())
    manager.turned(lambda: pytest.fail("asked"))
    manager.stopping()


AWAY = (
    "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [],"
    " contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
)
"""A kubeconfig of an API server that does not answer."""
POLICY = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}\n"
SERVICES = {
    "run": ("all.yaml", POLICY, "--policies"),
    "agent": ("config", AWAY, "--kubeconfig"),
}
"""By command: a file, what is in it, and the option that names it or its folder."""


@pytest.mark.parametrize(
    ("listener", "name"),
    [
        ("path", "run"),
        pytest.param("abstract", "run", marks=pytest.mark.slow),
        *(pytest.param(each, "agent", marks=pytest.mark.slow) for each in ("path", "abstract")),
    ],
    indirect=["listener"],
)
def test_a_service_tells_that_it_has_looked_how_it_is_and_that_it_ends(listener, tmp_path, name):
    file, text, option = SERVICES[name]
    (tmp_path / file).write_text(text)
    given = tmp_path if name == "run" else tmp_path / file
    command = [sys.executable, "-m", "controller", name, "-c", "test:///default", "--listen", "none", option, given]
    environment = os.environ | {"BALLAST_AGENT_CACHE_DIR": str(tmp_path / "cache")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        first = heard(listener)
        process.send_signal(signal.SIGTERM)
        said = ""
        while said != "STOPPING=1":
            said = heard(listener)[-1]
    assert process.returncode == 0
    assert first[:2] == ["READY=1", "WATCHDOG=1"]
    assert first[2].startswith("STATUS=")
    assert "1 domains stable" in first[2] or "not ready" in first[2]
