"""`ballast agent`: what it refuses at the start, and what its help teaches. At work it is in tests/real/cluster."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from controller.api.policy import Budget
from controller.cli import agent_service
from controller.cli.main import main
from controller.cluster.pods import Launcher
from controller.engine.inventory import Pod
from controller.host.podsocket import open_pod


def agent(*arguments: str):
    return CliRunner().invoke(main, ["agent", "--connect", "test:///default", "--listen", "none", *arguments])


def test_the_help_names_what_it_writes_and_how_to_see_it():
    text = " ".join(agent("--help").output.split())
    assert "writes only this node's NodeMemoryState and events about the Node" in text
    assert "kubectl get nodememorystates" in text


def test_the_help_loads_neither_kopf_nor_libvirt():
    loaded = "print({'kopf', 'kubernetes', 'libvirt'} & set(sys.modules))"
    script = f"import sys; from controller.cli.agent import agent; {loaded}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_kubeconfig_that_is_not_there_is_refused_in_one_line(tmp_path: Path):
    result = agent("--kubeconfig", str(tmp_path / "nowhere"), "--cache-dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"Error: --kubeconfig {tmp_path}/nowhere: " in result.output
    assert "name a kubeconfig that kubectl can use" in result.output


def test_a_cache_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [],"
        " contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
    )
    result = agent("--kubeconfig", str(kubeconfig), "--cache-dir", str(tmp_path / "file" / "cache"))
    assert result.exit_code == 1
    assert (
        f"Error: --cache-dir {tmp_path}/file/cache: Not a directory; name a folder that Ballast may write to"
        in result.output
    )


def test_a_proc_without_meminfo_is_refused_in_one_line(tmp_path: Path):
    result = agent("--proc", str(tmp_path), "--cache-dir", str(tmp_path))
    assert result.exit_code == 1
    assert str(tmp_path) in result.output


@pytest.mark.parametrize(
    ("arguments", "uris", "pods"),
    [
        ([], ("qemu:///system",), None),
        (["--connect", "test:///default"], ("test:///default",), None),
        (["--kubevirt"], (), Path("/var/lib/kubelet/pods")),
        (["--kubevirt", "--pods-directory", "/pods"], (), Path("/pods")),
        (["--kubevirt", "--connect", "test:///default"], ("test:///default",), Path("/var/lib/kubelet/pods")),
        (["--pods-directory", "/pods"], ("qemu:///system",), None),
    ],
)
def test_what_it_connects_to(monkeypatch, arguments, uris, pods):
    sites = []
    monkeypatch.setattr(agent_service, "serve", lambda site, *_args, **_options: sites.append(site))
    assert CliRunner().invoke(main, ["agent", *arguments]).exit_code == 0
    assert [(site.uris, site.pods) for site in sites] == [(uris, pods)]


def test_what_the_node_keeps(monkeypatch):
    sites = []
    monkeypatch.setattr(agent_service, "serve", lambda site, *_args, **_options: sites.append(site))
    given = CliRunner(env={"BALLAST_AGENT_BUDGET": "reserve=4Gi reservePercent=10"})
    assert given.invoke(main, ["agent"]).exit_code == 0
    assert [site.budget for site in sites] == [Budget(reserve="4Gi", reservePercent=10)]


def test_a_launcher_is_a_source_beside_those_that_are_named():
    told = []
    host = SimpleNamespace(connect=lambda sources, missing: told.append((list(sources), missing())))
    pod = Pod("uid", "prod", "virt-launcher-web")
    connect = agent_service._connecting(host, ("test:///default",), Path("/pods"))
    connect((Launcher(pod, expected=False),), lambda: "why")
    (((fixed, source), missing),) = told
    assert (fixed.name, fixed.pod, missing) == ("test:///default", None, "why")
    assert (source.name, source.pod, source.expected) == ("prod/virt-launcher-web", pod, False)
    assert (source.open.func, source.open.args) == (open_pod, (Path("/pods"), "uid"))
