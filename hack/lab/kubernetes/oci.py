"""An image without a registry or a builder: an archive in the OCI layout, which `ctr images import` takes.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md. The same files make the same archive:
nothing in it tells when it was made, or by whom.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

MEDIA = "application/vnd.oci.image"
COMPRESSION = 6
"""gzip's own choice: level 9 takes three times as long for one percent."""


class Layer:
    """Files of an image, written to the file `path`, a compressed tar; all are root's, of the beginning of 1970."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._gzip = gzip.GzipFile("", "wb", COMPRESSION, self._file, mtime=0)
        self._tar = tarfile.open(fileobj=self._gzip, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed by `close`
        self._have: set[str] = set()

    def add(self, source: Path, target: str) -> None:
        """The file `source`, through symbolic links, at the absolute path `target`."""
        self._add_parents(target)
        real = source.resolve()
        info = self._tar.gettarinfo(real, arcname=target.lstrip("/"))
        info.type, info.size = tarfile.REGTYPE, real.stat().st_size  # also where it is a hard link
        with real.open("rb") as content:
            self._put(info, content)

    def add_tree(self, source: Path, target: str) -> None:
        """Everything below the folder `source`, links as links, below the absolute path `target`."""
        for path in sorted(source.rglob("*")):
            place = f"{target}/{path.relative_to(source)}"
            if path.is_symlink():
                self.link(place, path.readlink())
            elif path.is_dir():
                self.folder(place)
            else:
                self.add(path, place)

    def copy(self, other: tarfile.TarFile, wanted: Callable[[str], bool]) -> None:
        """What is in a tar file and has a wanted absolute path."""
        for info in other:
            path = Path("/", info.name)
            if path != Path("/") and wanted(str(path)):
                info.name = str(path).lstrip("/")
                if info.islnk():
                    info.linkname = str(Path("/", info.linkname)).lstrip("/")
                self._put(info, other.extractfile(info) if info.isreg() else None)

    def write(self, target: str, content: str, mode: int = 0o644) -> None:
        """A text file."""
        self._add_parents(target)
        info = tarfile.TarInfo(target.lstrip("/"))
        info.size, info.mode = len(content.encode()), mode
        self._put(info, io.BytesIO(content.encode()))

    def folder(self, target: str, mode: int = 0o755) -> None:
        """An empty folder, and those it lies in."""
        self._add_parents(target)
        info = tarfile.TarInfo(target.lstrip("/"))
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._put(info, None)

    def link(self, target: str, to: Path) -> None:
        """A symbolic link at `target`."""
        self._add_parents(target)
        info = tarfile.TarInfo(target.lstrip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, str(to)
        self._put(info, None)

    def close(self) -> None:
        """Finish the file."""
        self._tar.close()
        self._gzip.close()
        self._file.close()

    def _add_parents(self, target: str) -> None:
        parent = str(Path(target).parent)
        if parent != "/" and parent.lstrip("/") not in self._have:
            self.folder(parent)

    def _put(self, info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        if info.name in self._have:
            return
        self._have.add(info.name)
        info.uid, info.gid, info.uname, info.gname, info.mtime = 0, 0, "", "", 0
        self._tar.addfile(info, content)


def write_archive(path: Path, name: str, layers: Sequence[Path], config: Mapping[str, Any]) -> str:
    """Write image `name` (with its tag) made of `layers`; `config` is the part of that name in the image's config.

    Returns the image's digest, by which it can be asked for wherever it is brought.
    """
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer, gzip.open) for layer in layers]},
    }
    described = json.dumps(image).encode()
    digests = [_digest(layer, open) for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _descriptor("config.v1+json", described),
        "layers": [
            {"mediaType": f"{MEDIA}.layer.v1.tar+gzip", "digest": digest, "size": layer.stat().st_size}
            for digest, layer in zip(digests, layers, strict=True)
        ],
    }
    manifested = json.dumps(manifest).encode()
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    entry = _descriptor("manifest.v1+json", manifested) | {"annotations": names}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(path, "w") as archive:
        _member(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _member(archive, "index.json", index)
        for blob in (described, manifested):
            _member(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        for digest, layer in zip(digests, layers, strict=True):
            _member(archive, f"blobs/sha256/{digest.removeprefix('sha256:')}", layer.read_bytes())
    return str(entry["digest"])


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": f"{MEDIA}.{kind}", "digest": digest, "size": len(content)}


def _digest(file: Path, opened: Callable[[Path, Literal["rb"]], Any]) -> str:
    with opened(file, "rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
