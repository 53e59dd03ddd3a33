"""Network of a lab pod, a CNI plugin: its own loopback, where the API server answers (see relay.py).

https://www.cni.dev/docs/spec/: commands come in the environment, the network's configuration on stdin. It imports
nothing of the lab.
"""

import ctypes
import json
import os
import socket
import sys
from typing import Any

VERSION = "0.4.0"
"""Of the specification."""
CLONE_NEWNET = 0x40000000
"""From <sched.h>."""
IP_FREEBIND = 15
"""From <linux/in.h>: the loopback may not be up yet."""


def add(config: dict[str, Any]) -> dict[str, Any]:
    """Let the pod reach the API server; returns the result that CNI asks for."""
    with socket.socket(socket.AF_UNIX) as relay:
        relay.connect(config["relay"])
        _enter(os.environ["CNI_NETNS"])
        with socket.socket() as listener:
            listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            listener.bind((config["address"], config["port"]))
            listener.listen()
            socket.send_fds(relay, [os.environ["CNI_CONTAINERID"].encode()], [listener.fileno()])
    return {
        "cniVersion": VERSION,
        "interfaces": [{"name": os.environ["CNI_IFNAME"], "sandbox": os.environ["CNI_NETNS"]}],
        "ips": [{"version": "4", "address": "127.0.0.1/8", "interface": 0}],
    }


def delete(config: dict[str, Any]) -> None:
    """Let the relay forget the pod."""
    with socket.socket(socket.AF_UNIX) as relay:
        relay.connect(config["relay"])
        relay.send(os.environ["CNI_CONTAINERID"].encode())


def _enter(namespace: str) -> None:
    """Move this process to another network namespace (setns(2)); raises OSError."""
    with open(namespace) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns({namespace})")


def main() -> None:
    """Obey the command of the environment."""
    match os.environ["CNI_COMMAND"]:
        case "ADD":
            print(json.dumps(add(json.load(sys.stdin))))
        case "DEL":
            delete(json.load(sys.stdin))
        case "VERSION":
            print(json.dumps({"cniVersion": VERSION, "supportedVersions": [VERSION]}))


if __name__ == "__main__":
    main()
