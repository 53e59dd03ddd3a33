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


class Endpoint(BaseHTTPRequestHandler):
    """Healthy, and not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests need no log."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def exit_code(command: list[str], port: int) -> int:
    python, *arguments = command
    assert python == "python3"
    words = [argument.replace(PORT, str(port)) for argument in arguments]
    return subprocess.run([sys.executable, *words], check=False, capture_output=True).returncode


@pytest.mark.parametrize(("name", "command"), list(probes()))
def test_a_probe_passes_on_200_alone(port, name, command):
    assert exit_code(command, port) == (1 if name.endswith("readinessProbe") else 0)


@pytest.mark.parametrize("command", [command for _, command in probes()])
def test_a_probe_fails_where_nobody_answers(command):
    assert exit_code(command, 1) == 1


def test_what_asks_is_the_same_everywhere():
    assert len({tuple(command[:-1]) for _, command in probes()}) == 1
