"""The Ansible role on a Debian without Ballast: this machine's, in a root of its own. systemd does not run there."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from privateroot import PrivateRoot
from releases import Releases

from controller import __version__

ROOT = Path(__file__).parents[3]
PLAYBOOK = ROOT / "manifests" / "ansible" / "site.yml"
SAMPLES = ROOT / "manifests" / "samples"
POLICIES = Path("/etc/ballast/policies")
ENVIRONMENT = {"ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_NOCOLOR": "1", "SYSTEMD_OFFLINE": "1"}
"""The last one for systemctl and Ansible: nothing is started or stopped."""


class AnsibleHost:
    """It is the one of the inventory."""

    def __init__(self, inside: PrivateRoot, folder: Path, package: Path) -> None:
        self.inside = inside
        self.policies = folder / "policies"
        self.policies.mkdir()
        shutil.copy(SAMPLES / "observe-everything.yaml", self.policies)
        self.values: dict[str, Any] = {"ballast_package": str(package), "ballast_policies": str(self.policies)}

    def play(self, *options: str, **values: Any) -> tuple[int, str]:
        """Exit code, and what Ansible prints."""
        given = ("--inventory=localhost,", "--connection=local", "--extra-vars", json.dumps(self.values | values))
        done = self.inside.run("ansible-playbook", *given, *options, PLAYBOOK, **ENVIRONMENT)
        return done.returncode, done.stdout

    def read(self, path: str | Path) -> str:
        """The text of a file of the host."""
        return self.inside.run("cat", path).stdout

    def names(self, folder: Path) -> list[str]:
        """What is in a folder of the host."""
        return self.inside.run("ls", folder).stdout.split()


@pytest.fixture(scope="module")
def host(releases: Releases, tmp_path_factory) -> Iterator[AnsibleHost]:
    folder = tmp_path_factory.mktemp("ansible")
    package = shutil.copy(releases.plain / f"ballast_{__version__}_amd64.deb", folder)
    with PrivateRoot(ROOT, folder) as inside:
        yield AnsibleHost(inside, folder, Path(package))


def test_a_check_of_a_host_without_ballast_tells_of_the_wheel(host, releases):
    (wheel,) = releases.plain.glob("*.whl")
    shutil.copy(wheel, host.policies.parent)
    given = {"ballast_wheel": str(host.policies.parent / wheel.name), "ballast_package": ""}
    code, said = host.play("--check", ballast_constraints=str(ROOT / "hack" / "constraints.txt"), **given)
    assert (code, "failed=0" in said, wheel.name in said) == (0, True, True), said
    assert host.names(Path("/opt/ballast"))[:1] == ["ls:"]


def test_a_check_a_play_a_second_one_and_one_with_changes(host):
    shutil.copy(SAMPLES / "databases.yaml", host.policies)
    code, said = host.play("--check", "--diff")
    assert (code, "failed=0" in said, host.names(Path("/etc/ballast"))[:1]) == (0, True, ["ls:"]), said

    options = {"BALLAST_RUN_LISTEN": "0.0.0.0:9178", "BALLAST_RUN_NODE_LABEL": 'disk=ssd name=a"b\\c'}
    (host.policies.parent / "web.yaml").write_text("tls_server_config: {}\n")
    web = {"ballast_web_config": str(host.policies.parent / "web.yaml")}
    values = web | {"ballast_options": options, "ballast_allowed_addresses": ["192.0.2.0/24", "2001:db8::1"]}
    code, said = host.play(**values)
    assert code == 0, said
    assert host.inside.run("ballast", "--version").stdout == f"ballast, version {__version__}\n"
    assert host.names(POLICIES) == ["databases.yaml", "observe-everything.yaml"]
    assert host.read("/etc/ballast/ballast.env").splitlines()[1:] == [
        'BALLAST_RUN_LISTEN="0.0.0.0:9178"',
        r'BALLAST_RUN_NODE_LABEL="disk=ssd name=a\"b\\c"',
    ]
    assert host.inside.run("stat", "-c", "%a %U", "/etc/ballast/web.yaml").stdout == "600 root\n"
    assert host.inside.run("systemctl", "is-enabled", "ballast").stdout == "enabled\n"
    unit = host.inside.run("systemd-analyze", "verify", "ballast.service")
    assert (unit.returncode, unit.stdout) == (0, "")
    allowed = host.read("/etc/systemd/system/ballast.service.d/addresses.conf")
    assert "IPAddressAllow=192.0.2.0/24\nIPAddressAllow=2001:db8::1\n" in allowed

    code, said = host.play(**values)
    assert (code, "changed=0 " in said) == (0, True), said

    (host.policies / "databases.yaml").unlink()
    code, said = host.play(ballast_enabled=False)
    assert (code, "Restart Ballast" in said) == (0, True), said
    assert host.names(POLICIES) == ["observe-everything.yaml"]
    assert len(host.read("/etc/ballast/ballast.env").splitlines()) == 1
    assert host.inside.run("systemctl", "is-enabled", "ballast").stdout == "disabled\n"

    (host.policies / "wrong.yaml").write_text(
        "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, spec: {mode: On}}"
    )
    code, said = host.play()
    assert (code, "Observe" in said) == (2, True), said
    assert host.names(POLICIES) == ["observe-everything.yaml"]


@pytest.mark.parametrize(
    "values",
    [
        {"ballast_package": ""},
        {"ballast_wheel": "ballast.whl"},
        {"ballast_options": {"BALLAST_AGENT_LISTEN": "none"}},
        {"ballast_options": {"BALLAST_RUN_LISTEN": "none\nA=b"}},
        {"ballast_allowed_addresses": ["prometheus"]},
        {"ballast_policies": "/etc/no-such-folder"},
    ],
)
def test_values_that_make_no_sense_are_refused_before_anything_is_done(host, values):
    code, said = host.play("--check", **values)
    assert (code, "ballast_allowed_addresses has addresses or" in said) == (2, True), said
    assert "changed=0 " in said
