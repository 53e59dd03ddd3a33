"""A real Prometheus and `ballast top --hosts` ask a real run over TLS with a login, as its page shows it."""

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from lab.ballast import BallastProcess, free_port
from lab.daemons import listens, until
from lab.prometheus.server import Prometheus

RULES = Path(__file__).parents[2] / "manifests" / "monitoring" / "alerts.yaml"
PATIENCE_S = 60.0


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a `ballast run` of this environment serves its metrics, for `prometheus` with the password `secret`."""
    files = ("-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2", "-subj", "/CN=host", *files)
    subprocess.run(made, check=True, capture_output=True)
    users = {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()}
    config = {"tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"}, "basic_auth_users": users}
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BALLAST_RUN_SECURE_LISTEN", address)
    monkeypatch.setenv("BALLAST_RUN_WEB_CONFIG_FILE", str(tmp_path / "web.yaml"))
    return address


def test_prometheus_gets_metrics_with_the_login_and_none_with_another(secured, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    trusted = {"scheme": "https", "tls_config": {"ca_file": str(tmp_path / "tls.crt")}}
    with ExitStack() as stack:
        stack.enter_context(BallastProcess(policies, "test:///default", tmp_path / "ballast.log", keep=False))
        right, wrong = (
            stack.enter_context(
                Prometheus([secured], RULES, **trusted, basic_auth={"username": "prometheus", "password": password})
            )
            for password in ("secret", "guessed")
        )
        until(lambda: bool(right.query("ballast_build_info")), PATIENCE_S, "scraped")
        until(lambda: bool(wrong.query("up == 0")), PATIENCE_S, "refused")
        assert wrong.query("ballast_build_info") == []


def test_the_fleet_is_seen_with_the_login_and_the_authority_that_is_trusted(secured, tmp_path, monkeypatch):
    policies = tmp_path / "policies"
    policies.mkdir()
    hosts = tmp_path / "hosts.txt"
    hosts.write_text(f"right https://prometheus:secret@{secured}\nwrong https://prometheus:guessed@{secured}\n")
    with BallastProcess(policies, "test:///default", tmp_path / "ballast.log", keep=False) as ballast:
        ballast.wait_for_domains(0)
        until(lambda: len(ballast.state()["domains"]) == 1, PATIENCE_S, "its domain seen")
        host, _, port = secured.partition(":")
        until(lambda: listens((host, int(port))), PATIENCE_S, "listens")
        told = []
        for trusted in (tmp_path / "nobody.crt", tmp_path / "tls.crt"):
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            told.append(
                json.loads(CliRunner().invoke(main, ["top", "--hosts", str(hosts), "-o", "json"]).output)["hosts"]
            )
    assert ["certificate verify failed" in each["error"] for each in told[0]] == [True, True], told[0]
    assert [(each["host"], each["domains"]) for each in told[1]] == [("right", 1), ("wrong", None)]
    assert "401" in told[1][1]["error"]
