"""The libvirt of a virt-launcher pod, by its socket in the kubelet's folder of pods.

Everything below a pod's volume is the pod's: it may put a link, a file or another socket there, at any moment. So no
link is followed but one to a name in the same folder, and what is connected to is the very socket that was looked at,
by its descriptor: a path would be looked up once more, and a socket's may have 107 bytes only.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controller.host.opening import AbsentError, OpeningError, open_here

VOLUME = ("volumes", "kubernetes.io~empty-dir", "libvirt-runtime")
"""virt-launcher's `/var/run/libvirt`, below the kubelet's folder of a pod (rendervolumes.go of KubeVirt)."""

SOCKET = "virtqemud-sock"
"""libvirt's name for the socket of its modular daemon of QEMU."""

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeSocketError(OpeningError):
    """What is in the socket's place is none, or leads elsewhere; the message says what."""


def open_pod(pods: Path, uid: str) -> Any:
    """A new libvirt.virConnect to the libvirt of the pod `uid`; `pods` is the kubelet's folder of pods.

    Raises libvirtError: AbsentError where there is no socket yet, UnsafeSocketError where it is not safe to use.
    """
    place = pods.joinpath(uid, *VOLUME, SOCKET)
    try:
        with _folder(pods, (uid, *VOLUME)) as folder, _socket(folder, place) as descriptor:
            # The user that libvirt runs as has made it: root's is the system's, any other's is that user's session.
            scope = "session" if os.fstat(descriptor).st_uid else "system"
            return open_here(f"qemu+unix:///{scope}?socket=/proc/self/fd/{descriptor}")
    except OSError as error:
        kind = AbsentError if error.errno == errno.ENOENT else OpeningError
        raise kind(f"{place}: {error.strerror}; {_remedy(error)}") from error


@contextmanager
def _folder(root: Path, names: tuple[str, ...]) -> Iterator[int]:
    """A folder below `root`, by a descriptor; on the way there is no link. Raises OSError and UnsafeSocketError."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            if not _plain(name):
                raise UnsafeSocketError(f"{root}: {name!r} is not the name of a folder")
            inner = os.open(name, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _socket(folder: int, place: Path) -> Iterator[int]:
    """The socket itself, by a descriptor. Raises OSError and UnsafeSocketError."""
    descriptor = os.open(SOCKET, _ENTRY, dir_fd=folder)
    try:
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            name = os.readlink("", dir_fd=descriptor)
            if not _plain(name):
                raise UnsafeSocketError(f"{place}: a link out of its folder; it is not followed")
            target = os.open(name, _ENTRY, dir_fd=folder)
            os.close(descriptor)
            descriptor = target
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise UnsafeSocketError(f"{place}: not a socket; it is left alone")
        yield descriptor
    finally:
        os.close(descriptor)


def _plain(name: str) -> bool:
    """It stays in its folder."""
    return name not in {"", ".", ".."} and "/" not in name


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "it comes when the pod's libvirt has begun"
    if isinstance(error, PermissionError):
        return "run Ballast as the user that the pod's libvirt runs as; KubeVirt's is 107"
    return "--pods-directory has to be the kubelet's folder of pods"
