"""A credential is never said: not in errors, not in the log at its most talkative, not in the state."""

import json
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main

SECRET = "s3cr3t-of-the-agent"  # noqa: S105 - what must not be seen
PATIENCE_S = 60


def kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def broken() -> dict[str, str]:
    """Kubeconfigs that cannot be used, by what is wrong with them."""
    good = kubeconfig("http://127.0.0.1:1")
    return {
        "a field too few": yaml.safe_dump(good | {"contexts": []}),
        "not YAML at the secret": f"users: [{{user: {{token: '{SECRET}",
        "not YAML after the secret": yaml.safe_dump(good) + f"token: {SECRET}: {SECRET}\n",
        "a login in the server's URL": yaml.safe_dump(kubeconfig(f"https://me:{SECRET}@127.0.0.1:1")),
        "a list": f"- {SECRET}\n",
        "a text": SECRET,
    }


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in broken().items()])
def test_a_kubeconfig_that_cannot_be_used_is_refused_in_one_line_without_what_it_holds(tmp_path: Path, text: str):
    file = tmp_path / "config"
    file.write_text(text)
    options = ["--node-name", "n", "--kubeconfig", str(file), "--cache-dir", str(tmp_path / "cache")]
    result = CliRunner().invoke(main, ["agent", "--connect", "test:///default", "--listen", "none", *options])
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert (result.exit_code, "Error: --kubeconfig" in result.output) == (1, True)
    assert SECRET not in result.output


def test_an_agent_whose_token_is_refused_says_so_without_the_token(tmp_path: Path):
    refused = threading.Semaphore(0)
    shown: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        """An API server that lets nobody in."""

        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization", ""))
            body = json.dumps({"kind": "Status", "status": "Failure", "message": "Unauthorized", "code": 401}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            refused.release()

        do_PATCH = do_POST = do_GET  # noqa: N815 - the base class's naming

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        file = tmp_path / "config"
        file.write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{server.server_port}")))
        options = ["--node-name", "n", "--kubeconfig", str(file), "--cache-dir", str(tmp_path / "cache")]
        command = [sys.executable, "-m", "controller", "agent", *options, "--log-level", "debug"]
        agent = subprocess.Popen(
            [*command, "--connect", "test:///default", "--listen", "none"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        asked = [refused.acquire(timeout=PATIENCE_S) for _ in range(3)]
        agent.send_signal(signal.SIGTERM)
        said, _ = agent.communicate(timeout=PATIENCE_S)
        server.shutdown()
    assert asked == [True] * 3
    assert f"Bearer {SECRET}" in shown
    assert "401" in said or "Unauthorized" in said, said
    assert SECRET not in said
    assert all(SECRET not in path.read_text() for path in (tmp_path / "cache").glob("**/*") if path.is_file())
