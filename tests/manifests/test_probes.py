"""The probes of the manifests ask the endpoint as the pod would: a bare interpreter, HTTP by hand."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

BASE = Path(__file__).parents[2] / "manifests" / "base"
PORT = "9178"


def probes() -> Iterator[tuple[str, list[str]]]:
    for file in ("agent.yaml", "aggregator.yaml"):
        workload, *_ = yaml.safe_load_all((BASE / file).read_text())
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            yield f"{container['name']} {probe}", container[probe]["exec"]["command"]


class UnreadyEndpoint(BaseHTTPRequestHandler):
    """Healthy, and not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()
        self.wfile.write(b"libvirt does not answer\n")

    def log_message(self, *_: Any) -> None:
        """Tests need no log."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), UnreadyEndpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(command: list[str], port: int) -> tuple[int, str]:
    """Exit code of the probe, and what it says: the kubelet puts that into an event."""
    python, *arguments = command
    assert python == "python3"
    words = [argument.replace(PORT, str(port)) for argument in arguments]
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", [command for name, command in probes() if "readiness" not in name])
def test_a_probe_passes_on_200_and_says_nothing(port, command):
    assert ask(command, port) == (0, "")


@pytest.mark.parametrize("command", [command for name, command in probes() if "readiness" in name])
def test_a_probe_fails_on_anything_else_and_says_why(port, command):
    code, said = ask(command, port)
    assert code == 1
    assert " 503 " in said
    assert said.endswith("libvirt does not answer\n\n")


@pytest.mark.parametrize("command", [command for _, command in probes()])
def test_a_probe_fails_in_one_line_where_nobody_answers(command):
    assert ask(command, 1) == (1, "no answer: [Errno 111] Connection refused\n")


def test_what_asks_is_the_same_everywhere():
    assert len({tuple(command[:-1]) for _, command in probes()}) == 1
