"""An archive in the OCI layout holds what was put into it, and says so truly."""

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from lab.kubernetes.oci import Layer, write_archive


@pytest.fixture
def layer(tmp_path):
    """One file of each kind."""
    source = tmp_path / "source"
    source.write_text("copied")
    source.chmod(0o750)
    (tmp_path / "alias").symlink_to(source)
    layer = Layer(tmp_path / "layer")
    layer.add(tmp_path / "alias", "/usr/bin/copied")
    layer.write("/usr/bin/written", "text", 0o755)
    layer.link("/usr/bin/link", source)
    layer.folder("/scratch", 0o1777)
    layer.close()
    return layer.path


def test_a_layer_has_every_folder_once_before_what_lies_in_it(layer):
    with tarfile.open(layer) as tar:
        assert tar.getnames() == ["usr", "usr/bin", "usr/bin/copied", "usr/bin/written", "usr/bin/link", "scratch"]


def test_files_keep_content_and_mode_and_belong_to_root(layer):
    with tarfile.open(layer) as tar:
        copied = tar.getmember("usr/bin/copied")
        assert (copied.mode, copied.uid, copied.gid) == (0o750, 0, 0)
        assert tar.extractfile(copied).read() == b"copied"
        assert tar.extractfile("usr/bin/written").read() == b"text"
        assert tar.getmember("scratch").mode == 0o1777


def test_every_blob_of_an_archive_is_named_by_its_digest(layer, tmp_path):
    told = write_archive(tmp_path / "archive", "localhost/made:1", [layer], {"Entrypoint": ["/usr/bin/written"]})
    with tarfile.open(tmp_path / "archive") as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}
    blobs = {name.removeprefix("blobs/sha256/"): data for name, data in contents.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs.items())
    (entry,) = json.loads(contents["index.json"])["manifests"]
    assert entry["annotations"] == {
        "io.containerd.image.name": "localhost/made:1",
        "org.opencontainers.image.ref.name": "1",
    }
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert told == entry["digest"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(gzip.decompress(layer.read_bytes())).hexdigest()}"]
    assert manifest["layers"][0]["digest"] == f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"
    assert config["config"] == {"Entrypoint": ["/usr/bin/written"]}


def test_a_tree_and_a_package_keep_their_links_and_nothing_unwanted_comes_with_them(tmp_path):
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "python3").symlink_to("/usr/bin/python3.11")
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w") as tar:
        for name in ("./", "./usr/", "./usr/program", "./usr/manual"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(info)
        info = tarfile.TarInfo("./usr/twin")
        info.type, info.linkname = tarfile.LNKTYPE, "./usr/program"
        tar.addfile(info)
    layer = Layer(tmp_path / "copied")
    package.seek(0)
    with tarfile.open(fileobj=package) as tar:
        layer.copy(tar, lambda path: path != "/usr/manual")
    layer.add_tree(tree, "/opt/tree")
    layer.close()
    with tarfile.open(layer.path) as tar:
        assert tar.getnames() == [
            "usr",
            "usr/program",
            "usr/twin",
            "opt",
            "opt/tree",
            "opt/tree/bin",
            "opt/tree/bin/python3",
        ]
        assert tar.getmember("usr/twin").linkname == "usr/program"
        assert tar.getmember("opt/tree/bin/python3").linkname == "/usr/bin/python3.11"


def test_the_same_files_make_the_same_layer_whenever_they_were_written(tmp_path):
    made = []
    for time in (1e9, 1.5e9):
        file = tmp_path / "file"
        file.write_text("content")
        os.utime(file, (time, time))
        layer = Layer(tmp_path / f"layer-{time}")
        layer.add(file, "/etc/file")
        layer.close()
        made.append(layer.path.read_bytes())
    assert made[0] == made[1]
    assert made[0][4:8] == bytes(4)  # gzip's own time, RFC 1952
