"""The systemd unit in `manifests`."""

import re
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import click
import pytest

from controller.cli.main import main
from controller.observe.address import Address
from controller.observe.webconfig import WebConfig, WebConfigError

UNIT = Path(__file__).parents[2] / "manifests" / "systemd" / "ballast.service"
TLS = UNIT.with_name("tls.conf")
PAGE = UNIT.with_name("README.md")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is part of systemd, which not every machine has"
)


def read(file: Path) -> dict[str, str]:
    """The settings of the service."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(file)
    return dict(parser["Service"])


@pytest.fixture
def service() -> dict[str, str]:
    return read(UNIT)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a command that exists everywhere."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/ballast", "/bin/true"))
    return copy


def test_the_unit_starts_a_command_line_that_ballast_takes(service, monkeypatch):
    binary, command, *arguments = shlex.split(service["ExecStart"])
    assert (binary, command) == ("/usr/local/bin/ballast", "run")
    for setting in shlex.split(service["Environment"]):
        monkeypatch.setenv(*setting.split("=", 1))
    context = main.get_command(click.Context(main), "run").make_context("run", arguments)
    assert context.params["policies"] == Path("/etc/ballast/policies")
    assert context.params["listen"] == Address("127.0.0.1", 9178)


def test_with_the_drop_in_for_tls_it_serves_one_more_address_by_the_file_of_the_page(service, monkeypatch, tmp_path):
    settings = read(TLS)
    for setting in shlex.split(service["Environment"]) + shlex.split(settings["Environment"]):
        monkeypatch.setenv(*setting.split("=", 1))
    context = main.get_command(click.Context(main), "run").make_context("run", [])
    assert context.params["listen"].loopback
    assert context.params["secure_listen"] == Address.parse("0.0.0.0:9179")
    assert context.params["web_config_file"] == Path("/etc/ballast/web.yaml")
    assert service["IPAddressDeny"] == settings["IPAddressAllow"] == "any"
    (shown,) = (block for block in blocks(PAGE.read_text()) if "tls_server_config" in block)
    (tmp_path / "web.yaml").write_text(shown)
    with pytest.raises(WebConfigError, match=r"/etc/ballast/tls.crt, /etc/ballast/tls.key: No such file"):
        WebConfig(tmp_path / "web.yaml")


def blocks(page: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_units_options_are_set_in_a_file_that_may_be_missing(service):
    assert service["EnvironmentFile"] == "-/etc/ballast/ballast.env"


def test_the_unit_has_started_when_ballast_says_so_itself(service):
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")


def test_the_hosts_memory_stays_readable_and_pressure_triggers_writable(service):
    assert "ProcSubset" not in service
    assert service["CapabilityBoundingSet"] == "CAP_SYS_RESOURCE"


def test_resident_sizes_of_qemu_are_to_be_seen_and_a_file_for_each_of_a_thousand_guests(service):
    assert service["ProtectProc"] == "default"
    assert int(service["LimitNOFILE"]) >= 2000


@needs_systemd
def test_systemd_understands_it_without_a_warning(installed):
    done = subprocess.run(["systemd-analyze", "verify", installed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_the_units_exposure_is_low(installed):
    """systemd scores 0 (safe) to 10; the threshold is in tenths."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", installed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
