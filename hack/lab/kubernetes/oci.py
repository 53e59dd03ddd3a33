"""An image without a registry or a builder: an archive in the OCI layout, which `ctr images import` takes.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md. Layers are tar files without compression:
they are unpacked on the machine that packed them.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.oci.image"
CHUNK = 2**20
"""Bytes read at a time."""


class Layer:
    """Files of an image, written to the tar file `path`; all are root's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed by `close`
        self._have: set[str] = set()

    def add(self, source: Path, target: str) -> None:
        """The file `source`, through symbolic links, at the absolute path `target`."""
        self._add_parents(target)
        real = source.resolve()
        info = self._tar.gettarinfo(real, arcname=target.lstrip("/"))
        info.type, info.size = tarfile.REGTYPE, real.stat().st_size  # also where it is a hard link
        with real.open("rb") as content:
            self._put(info, content)

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

    def _add_parents(self, target: str) -> None:
        parent = str(Path(target).parent)
        if parent != "/" and parent.lstrip("/") not in self._have:
            self.folder(parent)

    def _put(self, info: tarfile.TarInfo, content: io.BufferedIOBase | None) -> None:
        if info.name in self._have:
            return
        self._have.add(info.name)
        info.uid, info.gid, info.uname, info.gname = 0, 0, "", ""
        self._tar.addfile(info, content)


def write_archive(path: Path, name: str, layers: Sequence[Path], config: Mapping[str, Any]) -> None:
    """Write image `name` (with its tag) made of `layers`; `config` is the part of that name in the image's config."""
    digests = [_digest(layer) for layer in layers]
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    described = json.dumps(image).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _descriptor("config.v1+json", described),
        "layers": [
            {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": digest, "size": layer.stat().st_size}
            for digest, layer in zip(digests, layers, strict=True)
        ],
    }
    manifested = json.dumps(manifest).encode()
    entry = _descriptor("manifest.v1+json", manifested) | {"annotations": {"io.containerd.image.name": name}}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(path, "w") as archive:
        _member(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _member(archive, "index.json", index)
        for blob in (described, manifested):
            _member(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        for digest, layer in zip(digests, layers, strict=True):
            archive.add(layer, f"blobs/sha256/{digest.removeprefix('sha256:')}")


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": f"{MEDIA}.{kind}", "digest": digest, "size": len(content)}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
