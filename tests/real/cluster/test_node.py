"""The lab's node is a real one: pods run, speak and are reached, and nothing of it stays behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller import __version__
from lab.daemons import sweep, until
from lab.kubernetes import image, pause
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import LabNode
from lab.kubernetes.node_config import SYSCTLS

LAB = Path(__file__).parents[3] / "hack"
LOCKED_DOWN = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}

RunPod = Callable[..., str]


@pytest.fixture
def run_pod(node: LabNode) -> Iterator[RunPod]:
    """`run_pod(command, ...)` runs a pod to its end, with fields of its spec and container; returns its log."""

    def run(command: list[str], *, spec: dict[str, object] | None = None, **container: object) -> str:
        _create(node.plane, command, image.NAME, spec or {}, container)
        done = "jsonpath={.status.containerStatuses[0].state.terminated}"
        node.plane.kubectl("wait", f"--for={done}", "pod/tried", "--timeout=180s")
        return node.plane.kubectl("logs", "tried")

    yield run
    node.plane.kubectl("delete", "pod", "tried", "--ignore-not-found", "--now")


def test_a_pod_on_the_host_network_sees_a_folder_of_the_host_and_its_log_is_read(run_pod, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("from outside")
    log = run_pod(
        ["python3", "-c", "import socket; print(open('/host/file').read(), socket.gethostname())"],
        spec={"hostNetwork": True, "volumes": [{"name": "host", "hostPath": {"path": str(tmp_path)}}]},
        volumeMounts=[{"name": "host", "mountPath": "/host"}],
    )
    assert log == f"from outside {os.uname().nodename}\n"


@pytest.mark.parametrize("host_network", [False, True])
def test_a_pod_reaches_the_api_server_with_its_own_token(run_pod, host_network):
    program = """
from kubernetes import client, config
config.load_incluster_config()
review = client.AuthenticationV1Api().create_self_subject_review({})
print(review.status.user_info.username, review.status.user_info.extra["authentication.kubernetes.io/node-name"])
"""
    log = run_pod(["python3", "-c", program], spec={"hostNetwork": host_network})
    assert log == "system:serviceaccount:default:default ['lab']\n"


def test_the_projects_image_runs_as_nobody_without_any_power(run_pod):
    assert run_pod(["ballast", "--version"], securityContext=LOCKED_DOWN) == f"ballast, version {__version__}\n"


def test_a_command_runs_inside_a_pod(node):
    _create(node.plane, ["python3", "-c", "import signal; signal.pause()"], image.NAME, {}, {})
    node.plane.kubectl("wait", "--for=condition=Ready", "pod/tried", "--timeout=180s")
    assert node.plane.kubectl("exec", "tried", "--", "python3", "-c", "print(6 * 7)") == "42\n"
    node.plane.kubectl("delete", "pod", "tried", "--now")


def test_nothing_is_left_of_a_node_and_its_pods_and_nothing_else_has_changed(left_of):
    before = _machine()
    with ControlPlane(scheduler=True) as plane:
        _start_pods(plane)
    assert left_of(plane.root) == []
    assert _machine() == before


def test_pods_that_nobody_could_end_are_swept_at_the_next_start(left_of):
    script = f"""
import signal, sys
sys.path[:0] = [{str(LAB)!r}, {str(Path(__file__).parent)!r}]
from lab.kubernetes.controlplane import ControlPlane
from test_node import _start_pods
plane = ControlPlane(scheduler=True)
_start_pods(plane)
print(plane.root, plane.daemons.reaper_pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        root, reaper = owner.stdout.readline().split()
        os.kill(int(reaper), signal.SIGKILL)
        owner.kill()
    assert left_of(Path(root)) != []
    sweep()
    until(lambda: left_of(Path(root)) == [], 60, "end of what was left")


def _start_pods(plane: ControlPlane) -> None:
    LabNode(plane, "lab")
    _create(plane, ["/pause"], pause.NAME, {}, {})
    plane.kubectl("wait", "--for=condition=Ready", "pod/tried", "--timeout=180s")


def _create(
    plane: ControlPlane, command: list[str], image: str, spec: dict[str, object], container: dict[str, object]
) -> None:
    only = {"name": "only", "image": image, "command": command, **container}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [only], **spec}
    plane.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=180s")
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": pod}
    plane.kubectl("create", "--filename=-", input=json.dumps(manifest))


def _machine() -> dict[str, list[str]]:
    """What a node could change on the machine and must not."""
    sysctls = [Path("/proc/sys", key).read_text() for key in [*SYSCTLS, "net/ipv4/ip_forward"]]
    folders = [
        str(path) for folder in ("/run", "/var/lib", "/var/log", "/opt", "/etc") for path in Path(folder).iterdir()
    ]
    return {"sysctls": sysctls, "folders": sorted(folders), "links": sorted(os.listdir("/sys/class/net"))}
