"""An archive in the OCI layout holds what was put into it, and says so truly."""

import hashlib
import json
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
    write_archive(tmp_path / "archive", "localhost/made:1", [layer], {"Entrypoint": ["/usr/bin/written"]})
    with tarfile.open(tmp_path / "archive") as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}
    blobs = {name.removeprefix("blobs/sha256/"): data for name, data in contents.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs.items())
    (entry,) = json.loads(contents["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "localhost/made:1"}
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"] == {"Entrypoint": ["/usr/bin/written"]}
