"""Sockets in a folder that a pod controls, on the real file system, and with a real libvirt."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from controller.host import podsocket
from controller.host.errorhints import explain
from controller.host.opening import AbsentError, OpeningError
from controller.host.podsocket import SOCKET, VOLUME, UnsafeSocketError, open_pod

UID = "0f5a3c1e-9d2b-4c7a-8e6f-1a2b3c4d5e6f"


class Kubelet:
    """A folder of pods, with one pod's volume in it, and a server on each socket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.volume = root.joinpath(UID, *VOLUME)
        self.volume.mkdir(parents=True)
        self._servers: list[socket.socket] = []

    def serve(self, path: Path) -> Path:
        server = socket.socket(socket.AF_UNIX)
        with folder(path.parent) as here:
            server.bind(f"{here}/{path.name}")
        server.listen()
        self._servers.append(server)
        return path

    def close(self) -> None:
        for server in self._servers:
            server.close()


class folder:  # noqa: N801 - used like contextlib's
    """A short name of a folder, however long its path."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_PATH)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    kubelet = Kubelet(tmp_path / "pods")
    yield kubelet
    kubelet.close()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Of each connection the scope in its URI, and the inode of what it was made to."""
    made: list[tuple[str, int]] = []

    def open_(uri: str) -> str:
        scope, _, path = uri.removeprefix("qemu+unix:///").partition("?socket=")
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.close()
        made.append((scope, os.stat(path).st_ino))
        return uri

    monkeypatch.setattr(podsocket, "open_here", open_)
    return made


def test_the_socket_of_a_pod_is_connected_to_and_nothing_stays_open(kubelet, connected, descriptors):
    path = kubelet.serve(kubelet.volume / SOCKET)
    before = descriptors()
    open_pod(kubelet.root, UID)
    assert [inode for _, inode in connected] == [path.stat().st_ino]
    assert descriptors() == before


@pytest.mark.parametrize(("owner", "scope"), [(0, "system"), (107, "session")])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_whose_libvirt_it_is_tells_its_owner(kubelet, connected, owner, scope):
    os.chown(kubelet.serve(kubelet.volume / SOCKET), owner, owner)
    open_pod(kubelet.root, UID)
    assert [scope for scope, _ in connected] == [scope]


@pytest.mark.parametrize("length", [106, 107, 108, 121, 1000])
def test_a_path_is_as_long_as_it_likes(tmp_path, connected, length):
    root = tmp_path
    while (missing := length - len(str(root.joinpath(UID, *VOLUME, SOCKET)))) > 1:
        root /= "d" * min(missing - 1, 200)
    kubelet = Kubelet(root)
    path = kubelet.serve(kubelet.volume / SOCKET)
    assert len(str(path)) >= length
    open_pod(root, UID)
    assert [inode for _, inode in connected] == [path.stat().st_ino]
    kubelet.close()


def test_a_link_to_a_name_in_the_same_folder_is_followed_once(kubelet, connected):
    path = kubelet.serve(kubelet.volume / "libvirt-sock")
    (kubelet.volume / SOCKET).symlink_to("libvirt-sock")
    open_pod(kubelet.root, UID)
    assert [inode for _, inode in connected] == [path.stat().st_ino]
    (kubelet.volume / SOCKET).unlink()
    (kubelet.volume / "second").symlink_to("libvirt-sock")
    (kubelet.volume / SOCKET).symlink_to("second")
    with pytest.raises(UnsafeSocketError, match="not a socket"):
        open_pod(kubelet.root, UID)


def test_a_link_to_a_socket_that_is_yet_to_come_closes_what_it_opened_once(kubelet, descriptors):
    (kubelet.volume / SOCKET).symlink_to("libvirt-sock")
    before = descriptors()
    with pytest.raises(AbsentError):
        open_pod(kubelet.root, UID)
    assert descriptors() == before


@pytest.mark.parametrize(
    "target", ["{host}", "../libvirt-runtime/own", "./own", "..", ".", "/", "/proc/self/fd/0", "own/"]
)
def test_a_link_out_of_the_folder_is_not_followed(kubelet, connected, tmp_path, target):
    host = kubelet.serve(tmp_path / "host-sock")
    kubelet.serve(kubelet.volume / "own")
    (kubelet.volume / SOCKET).symlink_to(target.format(host=host))
    with pytest.raises(UnsafeSocketError, match=f"{SOCKET}: a link out of its folder; it is not followed"):
        open_pod(kubelet.root, UID)
    assert connected == []


@pytest.mark.parametrize("place", range(1, len(VOLUME) + 1))
def test_a_folder_on_the_way_that_is_a_link_is_not_followed(kubelet, connected, tmp_path, place):
    kubelet.serve(kubelet.volume / SOCKET)
    real = kubelet.root.joinpath(UID, *VOLUME[:place])
    moved = real.rename(tmp_path / "moved")
    real.symlink_to(moved)
    with pytest.raises(OpeningError):
        open_pod(kubelet.root, UID)
    assert connected == []


def test_another_pods_folder_in_the_place_of_a_pods_is_not_taken(kubelet, connected):
    kubelet.serve(kubelet.volume / SOCKET)
    (kubelet.root / "another").symlink_to(UID)
    with pytest.raises(OpeningError):
        open_pod(kubelet.root, "another")
    assert connected == []


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo])
def test_what_is_no_socket_is_left_alone_and_nobody_is_waited_for(kubelet, connected, make):
    make(kubelet.volume / SOCKET)
    with pytest.raises(UnsafeSocketError, match="not a socket"):
        open_pod(kubelet.root, UID)
    assert connected == []


@pytest.mark.parametrize("uid", ["", ".", "..", "../pods", "/etc", f"{UID}/volumes"])
def test_a_uid_that_is_no_name_is_refused(kubelet, connected, uid):
    kubelet.serve(kubelet.volume / SOCKET)
    with pytest.raises(UnsafeSocketError, match="is not the name of a folder"):
        open_pod(kubelet.root, uid)
    assert connected == []


def test_what_takes_the_sockets_place_after_it_was_looked_at_is_not_connected_to(
    kubelet, connected, monkeypatch, tmp_path
):
    path, host = kubelet.serve(kubelet.volume / SOCKET), kubelet.serve(tmp_path / "host-sock")
    looked_at, open_ = path.stat().st_ino, podsocket.open_here

    def swap(uri: str) -> str:
        path.unlink()
        path.symlink_to(host)
        return open_(uri)

    monkeypatch.setattr(podsocket, "open_here", swap)
    open_pod(kubelet.root, UID)
    assert [inode for _, inode in connected] == [looked_at]


@pytest.mark.parametrize("exists", [True, False])
def test_a_socket_or_a_pod_that_is_yet_to_come_is_absent(kubelet, exists):
    with pytest.raises(AbsentError) as raised:
        open_pod(kubelet.root, UID if exists else "another")
    assert explain(raised.value, "prod/web") == (
        f"prod/web: {kubelet.root.joinpath(UID if exists else 'another', *VOLUME, SOCKET)}: "
        "No such file or directory; it comes when the pod's libvirt has begun"
    )


def test_a_folder_of_pods_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OpeningError, match="Not a directory; --pods-directory has to be the kubelet's"):
        open_pod(tmp_path / "file", UID)


def test_a_libvirt_that_is_not_listening_is_an_error_of_libvirts(kubelet):
    kubelet.serve(kubelet.volume / SOCKET)
    kubelet.close()
    with pytest.raises(libvirt.libvirtError, match="Connection refused"):
        open_pod(kubelet.root, UID)
