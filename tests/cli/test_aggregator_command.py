"""`ballast aggregator`: its options, and what it says when it cannot begin. The rest needs a cluster:
tests/real/cluster."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli import aggregator as command
from controller.cli.main import main


def fails_with(code: int, *arguments: str) -> str:
    """One line of error, no traceback; returned as text without line breaks."""
    result = CliRunner().invoke(main, ["aggregator", *arguments])
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


def test_help_tells_what_it_does_and_how_to_read_it():
    text = " ".join(CliRunner().invoke(main, ["aggregator", "--help"]).output.split())
    for part in (
        "status of each MemoryPolicy",
        "kubectl wait --for=condition=Ready",
        "--identity NAME",
        "--kubeconfig",
    ):
        assert part in text


def test_help_loads_neither_kubernetes_nor_pydantic():
    script = (
        "import sys; from click.testing import CliRunner; from controller.cli.main import main; "
        "CliRunner().invoke(main, ['aggregator', '--help']); "
        "sys.exit(', '.join({'kubernetes', 'pydantic', 'numpy'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", ["missing", "empty"])
def test_a_kubeconfig_that_cannot_be_used_is_refused_with_the_remedy(tmp_path, file):
    (tmp_path / "empty").touch()
    text = fails_with(1, "--kubeconfig", str(tmp_path / file), "--listen", "none")
    assert f"--kubeconfig {tmp_path / file}" in text
    assert "name a kubeconfig that kubectl can use" in text


def test_a_name_that_is_no_namespace_is_refused():
    assert "'Ballast System' is not a namespace" in fails_with(2, "--namespace", "Ballast System")


def test_an_identity_without_a_name_is_refused():
    assert "give each replica a name of its own" in fails_with(2, "--identity", " ")


def test_two_replicas_on_one_host_do_not_share_an_identity():
    identity = next(each for each in command.aggregator.params if each.name == "identity")
    assert identity.default() != identity.default()


def test_a_pod_works_in_its_own_namespace(tmp_path, monkeypatch):
    namespace = next(each for each in command.aggregator.params if each.name == "namespace")
    (tmp_path / "namespace").write_text("elsewhere\n")
    monkeypatch.setattr(command, "POD_NAMESPACE", tmp_path / "namespace")
    assert namespace.default() == "elsewhere"
    monkeypatch.setattr(command, "POD_NAMESPACE", Path("/nonexistent"))
    assert namespace.default() == command.DEFAULT_NAMESPACE
