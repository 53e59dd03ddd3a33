"""QEMU's own word on a balloon, past libvirt: asking through libvirt would keep Ballast from looking."""

import json
import socket
from pathlib import Path
from typing import Any

ANSWER_S = 30.0
"""Deadline for QEMU to answer; milliseconds unless the machine is swamped."""
MIB = 2**20
BALLOON = "/machine/peripheral/balloon0"
"""Where libvirt has QEMU keep it."""


class Monitor:
    """A QMP connection to one QEMU. Raises OSError when QEMU is gone."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # QEMU's greeting
        self._ask("qmp_capabilities")

    def balloon(self) -> float:
        """The balloon's size at this moment, MiB."""
        return float(self._ask("query-balloon")["actual"]) / MIB

    def silence(self) -> None:
        """Ask the guest for statistics no more; libvirt does not learn of it, and tells the last ones on."""
        self._ask("qom-set", path=BALLOON, property="guest-stats-polling-interval", value=0)

    def close(self) -> None:
        """Let go of the connection."""
        self._lines.close()
        self._socket.close()

    def _ask(self, command: str, **arguments: str | int) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := json.loads(self._lines.readline())):
            pass  # events come in between
        returned: dict[str, Any] = answer["return"]
        return returned
