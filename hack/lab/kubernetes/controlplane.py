"""A control plane of one's own: etcd, API server, controller manager and, if wanted, scheduler.

It lives in one temporary folder and on one network of the loopback range, so several are no trouble to each other,
every program keeps its usual port, and nothing can be reached from outside. The API server's address is at the same
time the first of the service network, so the `kubernetes` service works on the host's network without kube-proxy.
"""

import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.daemons import Daemons, listens, until
from lab.errors import LabError
from lab.kubernetes.binaries import binary
from lab.kubernetes.certificates import ADMINISTRATORS, Authority, kubeconfig

READY_S = 120
"""Deadline for one program to be ready; 3 s for the API server on an idle machine."""
ANSWER_S = 5
"""Deadline for one answer to whether it is."""
SERVICE_PORT = 443
"""Of the `kubernetes` service, so of the API server as well; only root may listen on it."""
UNPRIVILEGED_PORT = 6443
"""The API server's where this is not root: no pods then, who would look for it at the service's."""
ETCD_PORT = 2379
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259


class ControlPlane:
    """A running control plane; leaving the `with` block ends it. It dies with this process unless it is to be kept.

    Raises LabError with the end of a log when it does not get ready.
    """

    def __init__(self, *, scheduler: bool = False) -> None:
        self.network = _unused_network()
        self.address = f"{self.network}.1"
        self._port = SERVICE_PORT if os.geteuid() == 0 else UNPRIVILEGED_PORT
        self.daemons = Daemons()
        self.root = self.daemons.root
        try:
            self._prepare()
            self._start_etcd()
            self.start_apiserver()
            self._start_client("kube-controller-manager", CONTROLLER_MANAGER_PORT, self._controller_manager_flags())
            if scheduler:
                self._start_client("kube-scheduler", SCHEDULER_PORT, self._scheduler_flags())
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{self.address}:{self._port}"

    @property
    def apiserver_pid(self) -> int:
        """Of the API server that runs now."""
        return self._apiserver

    @property
    def ca(self) -> Path:
        """The certificate that the API server's is signed with, PEM."""
        return self._authority.certificate

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as in subprocess
        """What kubectl prints, as cluster administrator; with its complaints where it fails.

        Raises LabError with those instead when `check` is set.
        """
        command = [str(binary("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=input or "", capture_output=True, text=True, check=False)
        if done.returncode and check:
            raise LabError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout + done.stderr if done.returncode else done.stdout

    def define(self, folder: Path) -> None:
        """Apply the CustomResourceDefinitions of a kustomization, and wait until they are established."""
        self.kubectl("apply", "-k", str(folder))
        self.wait_established()

    def wait_established(self) -> None:
        """Wait until all CustomResourceDefinitions are. `kubectl wait` fails where one has no conditions yet."""
        until(self._established, READY_S, "CustomResourceDefinitions established")

    def _established(self) -> bool:
        found = json.loads(self.kubectl("get", "crd", "-o", "json"))["items"]
        conditions = (each.get("status", {}).get("conditions") or () for each in found)
        return all(any((c["type"], c["status"]) == ("Established", "True") for c in each) for each in conditions)

    def write_kubeconfig(self, user: str, group: str | None = None) -> Path:
        """A kubeconfig of `user`, member of `group`, in this control plane's folder."""
        file = self.root / f"{user.replace(':', '-')}.kubeconfig"
        file.write_text(kubeconfig(self.url, self.ca, self._authority.client(user, group)))
        return file

    def start_apiserver(self) -> None:
        """Start the API server and wait until it is ready."""
        self._apiserver = self._start("kube-apiserver", [*self._apiserver_flags, *self._server_flags(self._port)])
        self._wait("kube-apiserver", self._apiserver, f"{self.url}/readyz")

    def kill_apiserver(self) -> None:
        """SIGKILL the API server, as a crash would; all it knew is in etcd."""
        self.daemons.kill(self._apiserver)

    def back_up(self) -> Path:
        """A folder with what etcd holds now. It is stopped for that moment, and notices nothing."""
        backup = self.root / "backup"
        os.kill(self._etcd, signal.SIGSTOP)
        try:
            shutil.copytree(self._data, backup)
        finally:
            os.kill(self._etcd, signal.SIGCONT)
        return backup

    def restore(self, backup: Path) -> None:
        """What was written since `back_up` has never been, and versions count on from there: etcd and API server are
        killed, and start with the backup, which is used up."""
        self.kill_apiserver()
        self.daemons.kill(self._etcd)
        shutil.rmtree(self._data)
        backup.rename(self._data)
        self._start_etcd()
        self.start_apiserver()

    def log(self, program: str) -> Path:
        """Where `program` writes its log."""
        return self.root / f"{program}.log"

    def keep(self) -> None:
        """Let it outlive this process; the `with` block must not be left then."""
        self.daemons.keep()

    def stop(self) -> None:
        """End every program, remove the folder."""
        self.daemons.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        self._authority = Authority(self.root / "certificates")
        self._issuer = self._authority.signing_key("service-accounts")
        service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        self._server = self._authority.server("control-plane", [self.address], service)
        self._trust = ssl.create_default_context(cafile=self.ca)
        self._apiserver_flags = self._make_apiserver_flags()
        self.kubeconfig = self.write_kubeconfig("administrator", ADMINISTRATORS)
        """For a client that may do everything."""

    @property
    def _data(self) -> Path:
        return self.root / "etcd"

    def _start_etcd(self) -> None:
        self._etcd = self._start("etcd", self._etcd_flags())

    def _start(self, program: str, flags: list[str]) -> int:
        return self.daemons.start([str(binary(program)), *flags], self.log(program))

    def _start_client(self, program: str, port: int, flags: list[str]) -> None:
        """Start a client of the API server, and wait until it is well."""
        common = ["--leader-elect=false", "--authentication-skip-lookup", *self._server_flags(port)]
        pid = self._start(program, [*common, *flags])
        self._wait(program, pid, f"https://{self.address}:{port}/healthz")

    def _wait(self, program: str, pid: int, url: str) -> None:
        """Return as soon as `url` says that `program` is well."""

        def well() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=ANSWER_S, context=self._trust):  # noqa: S310 - https
                    return True
            except OSError:  # not listening yet, or not ready
                return False

        self.daemons.wait(pid, self.log(program), well, READY_S)

    def _server_flags(self, port: int) -> list[str]:
        return [
            f"--bind-address={self.address}",
            f"--secure-port={port}",
            f"--tls-cert-file={self._server.certificate}",
            f"--tls-private-key-file={self._server.key}",
        ]

    def _etcd_flags(self) -> list[str]:
        clients, peers = f"http://{self.address}:{ETCD_PORT}", f"http://{self.address}:2380"
        return [
            f"--data-dir={self._data}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # killed programs lose nothing, only a machine that loses power does
            "--log-level=warn",
        ]

    def _make_apiserver_flags(self) -> list[str]:
        to_kubelets = self._authority.client("kube-apiserver-kubelet-client", ADMINISTRATORS)
        return [
            f"--etcd-servers=http://{self.address}:{ETCD_PORT}",
            f"--advertise-address={self.address}",
            f"--service-cluster-ip-range={self.network}.0/24",
            "--endpoint-reconciler-type=none",  # an endpoint must not be of the loopback range
            f"--client-ca-file={self.ca}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._issuer.certificate}",
            f"--service-account-signing-key-file={self._issuer.key}",
            f"--kubelet-client-certificate={to_kubelets.certificate}",
            f"--kubelet-client-key={to_kubelets.key}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _controller_manager_flags(self) -> list[str]:
        """One mighty user for all controllers: with `--use-service-account-credentials` it ends when the API server is
        killed while they start, and nobody here would start it again."""
        return [
            f"--kubeconfig={self.write_kubeconfig('system:kube-controller-manager', ADMINISTRATORS)}",
            f"--root-ca-file={self.ca}",
            f"--service-account-private-key-file={self._issuer.key}",
        ]

    def _scheduler_flags(self) -> list[str]:
        config = self.write_kubeconfig("system:kube-scheduler")
        return [f"--kubeconfig={config}", f"--authorization-kubeconfig={config}"]


def _unused_network() -> str:
    """The first three numbers of a network of the loopback range in which no control plane is up."""
    while True:
        network = f"127.{random.randint(64, 127)}.{random.randint(0, 255)}"  # noqa: S311 - no secret
        if not listens((f"{network}.1", ETCD_PORT)):
            return network
