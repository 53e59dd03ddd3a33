"""What `./hack/release` leaves in its folder is the same each time; each part is installed, used and removed once."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from releases import HOME

from controller import __version__
from lab import debian
from lab.kubernetes import image
from lab.kubernetes.binaries import binary
from lab.kubernetes.node import LabNode
from releasing.__main__ import main

ROOT = Path(__file__).parents[3]
BUSYBOX = Path("/bin/busybox")
DEB = f"ballast_{__version__}_amd64.deb"
CHART = f"ballast-{__version__}.tgz"
IMAGE = f"ballast-{__version__}-image.tar"
NAMED = {"install.yaml", CHART, IMAGE, "provenance.json", "SHA256SUMS"}
"""Files in which the image's name is."""
ENTER = 'mount --rbind /proc "$1/proc"; exec chroot "$@"'
"""In a mount namespace that ends with the command."""


def run(*command: str | Path, **more) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def image_digest(release: Path) -> str:
    """As the provenance has it."""
    statement = json.loads((release / "provenance.json").read_text())
    return str(statement["predicate"]["buildDefinition"]["externalParameters"]["imageDigest"])


def subjects(release: Path) -> dict[str, str]:
    statement = json.loads((release / "provenance.json").read_text())
    return {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}


class TestFiles:
    def test_the_same_commit_makes_the_same_files_but_for_the_name_of_the_image(self, releases):
        plain, named = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in releases)
        assert plain.keys() == named.keys()
        assert {name for name in plain if plain[name] != named[name]} == NAMED

    def test_the_image_has_the_same_digest_under_each_name(self, releases):
        assert image_digest(releases.plain) == image_digest(releases.named)

    def test_sums_and_provenance_are_of_all_files(self, releases):
        run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=releases.plain)
        sums = dict(reversed(line.split()) for line in (releases.plain / "SHA256SUMS").read_text().splitlines())
        assert sums.keys() == {file.name for file in releases.plain.iterdir()} - {"SHA256SUMS"}
        assert subjects(releases.plain) == {name: digest for name, digest in sums.items() if name != "provenance.json"}

    def test_chart_and_package_tell_no_time_but_the_commits(self, releases):
        told = run("git", "log", "-1", "--format=%ct", cwd=ROOT)
        with tarfile.open(releases.plain / CHART) as chart, debian.files(releases.plain / DEB) as package:
            assert {member.mtime for each in (chart, package) for member in each} == {int(told)}

    def test_whoever_builds_the_package_its_files_have_the_usual_modes(self, releases):
        with debian.files(releases.plain / DEB) as package:
            assert {member.mode for member in package if not member.issym()} == {0o755, 0o644}

    def test_bills_of_materials_name_the_pinned_packages_and_debians(self, releases):
        pinned = dict(line.split("==") for line in (ROOT / "hack/constraints.txt").read_text().split() if "==" in line)
        ours, package = (
            {each["name"]: each["version"] for each in json.loads((releases.plain / name).read_text())["components"]}
            for name in (f"ballast-{__version__}-image.cdx.json", f"ballast_{__version__}_amd64.cdx.json")
        )
        assert package["numpy"] == ours["numpy"] == pinned["numpy"]
        assert {"kubernetes", "kopf", "libvirt0", "libc6"} <= ours.keys()
        assert {"kubernetes", "kopf", "libvirt0", "libc6"}.isdisjoint(package)

    def test_a_folder_that_holds_something_is_left_alone(self, tmp_path):
        (tmp_path / "mine").touch()
        result = CliRunner().invoke(main, ["--out", str(tmp_path)])
        assert (result.exit_code, "is not empty" in result.output) == (1, True)


class TestReleasedInstallation:
    def test_the_one_file_is_what_the_folder_says_with_the_image_by_its_digest(self, releases):
        expected = run(binary("kubectl"), "kustomize", ROOT / "manifests" / "default")
        assert (releases.plain / "install.yaml").read_text() == expected
        asked = re.findall(r"image: (.*)", (releases.named / "install.yaml").read_text())
        assert asked == [f"{HOME}@{image_digest(releases.named)}"] * 2

    def test_the_chart_asks_for_the_same_image(self, releases):
        rendered = run(binary("helm"), "template", "ballast", releases.named / CHART, "--kube-version=1.34")
        assert re.findall(r'image: "(.*)"', rendered) == [f"{HOME}@{image_digest(releases.named)}"] * 2

    def test_the_wheel_runs(self, releases, tmp_path):
        (wheel,) = releases.plain.glob("*.whl")
        run(sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", f"--target={tmp_path}", wheel)
        environment = {"PYTHONPATH": str(tmp_path)}
        assert run(tmp_path / "bin" / "ballast", "--version", env=environment).endswith(f"{__version__}\n")

    def test_the_image_runs_on_a_node(self, releases, node: LabNode):
        node.import_image(releases.named / IMAGE)
        container = {
            "name": "tried",
            "image": f"{HOME}:{__version__}",
            "args": ["--version"],
            "imagePullPolicy": "Never",
        }
        pod = {"restartPolicy": "Never", "containers": [container]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "released"}, "spec": pod}
        node.plane.kubectl("apply", "-f", "-", input=json.dumps(body))
        ended = "jsonpath={.status.containerStatuses[0].state.terminated}"
        node.plane.kubectl("wait", f"--for={ended}", "pod/released", "--timeout=180s")
        assert node.plane.kubectl("logs", "released") == f"ballast, version {__version__}\n"
        node.plane.kubectl("delete", "pod", "released", "--now")


class Machine:
    """A Debian of the packages that the image has, below a folder, with a shell and the host's /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with tarfile.open(image.system()) as layer:
            layer.extractall(root, filter="tar")
        (root / "bin").mkdir(exist_ok=True)
        (root / "proc").mkdir()
        shutil.copy(BUSYBOX, root / "bin" / "sh")
        for part in ("info", "updates", "triggers"):
            (root / "var/lib/dpkg" / part).mkdir(parents=True, exist_ok=True)

    def dpkg(self, *arguments: str | Path) -> str:
        return run("dpkg", f"--root={self.root}", "--force-not-root", f"--log={self.root}/dpkg.log", *arguments)

    def run(self, *command: str) -> str:
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # what it runs adds no files
        return run("unshare", "--mount", "sh", "-ec", ENTER, "sh", self.root, *command, env=environment)

    def files(self) -> set[str]:
        """But for dpkg's own."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {path for path in found if not path.startswith("var/") and path != "dpkg.log"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


def test_the_debian_package_is_installed_used_upgraded_removed_and_purged_without_a_trace(releases, machine):
    before = machine.files()
    machine.dpkg("--install", releases.plain / DEB)
    assert machine.run("/usr/bin/ballast", "--version") == f"ballast, version {__version__}\n"
    assert "1 policy" in machine.run("/usr/bin/ballast", "check", "/etc/ballast/policies")
    assert "1 policy" in machine.run("/usr/bin/kubectl-ballast", "check", "/etc/ballast/policies")
    once = ("run", "--once", "--connect=test:///default", "--policies=/etc/ballast/policies")
    assert "test" in machine.run("/usr/bin/ballast", *once)
    assert machine.dpkg("--verify", "ballast") == ""

    own = machine.root / "etc/ballast/policies/observe-everything.yaml"
    own.write_text(own.read_text() + "# mine\n")
    machine.dpkg("--install", releases.named / DEB)
    assert own.read_text().endswith("# mine\n")

    machine.dpkg("--remove", "ballast")
    left = {path for path in machine.files() - before if not (machine.root / path).is_dir()}
    assert left == {"etc/ballast/ballast.env", "etc/ballast/policies/observe-everything.yaml"}
    machine.dpkg("--purge", "ballast")
    assert machine.files() - before == set()


def test_the_unit_of_the_package_starts_the_command_of_the_package(releases, tmp_path):
    run("dpkg-deb", "-x", releases.plain / DEB, tmp_path)
    unit = (tmp_path / "lib/systemd/system/ballast.service").read_text()
    assert "ExecStart=/usr/bin/ballast run" in unit
    assert "/usr/local" not in unit
    (options,) = re.findall(r"EnvironmentFile=-(.*)", unit)
    assert (tmp_path / options.lstrip("/")).is_file()
    for command in ("ballast", "kubectl-ballast"):
        assert (tmp_path / "usr/bin" / command).readlink() == Path("/opt/ballast/bin") / command
