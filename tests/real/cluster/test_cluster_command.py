"""`./hack/cluster`: one command up, one down, and in between a cluster with guests on its node."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LAB = Path(__file__).parents[3] / "hack"

Cluster = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cluster(tmp_path):
    """`cluster(*arguments)` runs the command; whether another cluster is up does not matter."""
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(LAB)!r})
from lab.kubernetes import cluster
cluster.RECORD = Path({str(tmp_path / "record.json")!r})
cluster.main()
"""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    yield run
    run("down")


def test_a_cluster_is_up_until_it_is_taken_down(cluster, tmp_path, left_of):
    up = cluster("up")
    assert up.returncode == 0, up.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert f"export KUBECONFIG={record['kubeconfig']}\n" in up.stdout
    assert "lab    Ready" in cluster("kubectl", "get", "nodes").stdout
    assert cluster("status").stdout.startswith("guest/")
    again = cluster("up")
    assert (again.returncode, again.stdout) == (0, up.stdout)
    assert cluster("down").returncode == 0
    assert [left_of(Path(root)) for root in record["roots"]] == [[], []]


def test_without_a_cluster_it_says_how_to_get_one(cluster):
    refused = cluster("kubectl", "get", "nodes")
    assert refused.returncode == 1
    assert refused.stderr == "Error: no cluster is up; ./hack/cluster up starts one\n"
    assert cluster("down").stderr == "no cluster is up\n"
