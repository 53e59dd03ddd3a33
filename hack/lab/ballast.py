"""`ballast run`, `ballast agent` and `ballast aggregator` as child processes of the lab."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.daemons import until
from lab.errors import LabError

COMMAND = Path(sys.executable).parent / "ballast"
"""What `pip install` put beside this Python."""
READY_S = 90
"""Deadline for Ballast to have looked at every guest; a second or two on an idle machine."""
STOP_S = 60
"""Deadline for Ballast to end after SIGTERM; a tenth of a second on an idle machine."""
ANSWER_S = 30
"""Deadline for one answer."""
LOG_TAIL = 15
"""Lines of its log that an error shows."""


class BallastProcess:
    """A running Ballast; leaving the `with` block ends it. It dies with this process unless it is to be kept.

    Raises LabError with the end of its log when it does not start or does not answer.
    """

    program: Sequence[str] = (str(COMMAND),)
    """What is given Ballast's arguments."""

    def __init__(self, policies: Path, uri: str, log: Path, *, keep: bool) -> None:
        self._launch(["run", "--policies", str(policies), "--connect", uri], log, keep)

    def _launch(self, arguments: list[str], log: Path, keep: bool, port: int = 0) -> None:
        listen = f"127.0.0.1:{port or free_port()}"
        self.url = f"http://{listen}"
        self._log = log
        command = [*self.program, *arguments, "--listen", listen]
        if not keep:  # not even SIGKILL of the demo leaves it running
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ
                | {
                    "LIBVIRT_AUTOSTART": "0",  # a dead private libvirtd stays dead
                    "TMPDIR": str(log.parent),  # keys that it unpacks go with the lab, also when it is killed
                },
                start_new_session=True,  # Ctrl-C of the terminal goes to the demo, which decides
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_for_domains(self, count: int) -> dict[str, Any]:
        """Its `/state` as soon as that shows `count` domains with their demand; 0: as soon as it answers."""
        until(lambda: self._shows(count), READY_S, f"Ballast showing {count} guests (log: {self.log_tail()})")
        return self.state()

    def state(self) -> dict[str, Any]:
        """The `/state` document."""
        try:
            with urllib.request.urlopen(f"{self.url}/state", timeout=ANSWER_S) as answer:  # noqa: S310 - http
                document: dict[str, Any] = json.load(answer)
        except (OSError, HTTPException) as error:
            raise LabError(f"Ballast: {error}; its log ends:\n{self.log_tail()}") from error
        return document

    def ended(self) -> bool:
        """The process is gone."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for its end; one that does not end in time is killed."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_tail(self) -> str:
        """The end of what it said."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _shows(self, count: int) -> bool:
        if self._process.poll() is not None:
            raise LabError(f"Ballast ended with code {self._process.returncode}; its log ends:\n{self.log_tail()}")
        try:
            domains = self.state()["domains"]
        except LabError:  # not listening yet
            return False
        return sum(domain["demand"] is not None for domain in domains) >= count


class NodeAgent(BallastProcess):
    """A running `ballast agent` of the Node `node`, with the API server's access from `kubeconfig`."""

    def __init__(self, node: str, kubeconfig: Path, uri: str, folder: Path, *options: str) -> None:
        """Cache and log are kept in `folder`, also for the next agent. `options` are more of its own."""
        access = ["--node-name", node, "--kubeconfig", str(kubeconfig), "--cache-dir", str(folder / "cache")]
        self._launch(["agent", *access, "--connect", uri, *options], folder / "ballast.log", keep=False)

    def not_ready(self) -> str:
        """What `/readyz` says is missing; empty when nothing is."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=ANSWER_S):  # noqa: S310 - http
                return ""
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError as error:  # not listening yet
            return str(error)


class AggregatorProcess(BallastProcess):
    """A running `ballast aggregator` called `identity`, that leads by a Lease in the namespace `default`."""

    def __init__(self, identity: str, kubeconfig: Path, log: Path, *options: str) -> None:
        arguments = ["--identity", identity, "--kubeconfig", str(kubeconfig), "--namespace", "default"]
        self._launch(["aggregator", *arguments, *options], log, keep=False)

    def leads(self) -> bool:
        """It says that it leads."""
        try:
            return bool(self.state()["leading"])
        except LabError:  # not listening yet
            return False


def free_port() -> int:
    """A TCP port of the loopback that nobody uses, and that nobody is given while this process runs.

    It stays bound here: only a server that names it, and reuses addresses, can listen there.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    holder.detach()
    return port
