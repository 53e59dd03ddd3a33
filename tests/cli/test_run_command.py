"""`ballast run`, with libvirt's built-in test driver where a connection is needed."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from controller.cli.once import table
from controller.host.host import LibvirtHost

TEST_DRIVER = "test:///default"
"""One running domain, `test`, inside the libvirt library."""
POLICY = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}\n"
MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With one policy."""
    write(tmp_path / "all.yaml", POLICY)
    return tmp_path


def write(file: Path, text: str) -> None:
    """A file so old that nobody can still be writing it."""
    file.write_text(text)
    os.utime(file, (0, 0))


def once(folder: Path, *arguments: str, connect: str = TEST_DRIVER):
    return CliRunner().invoke(main, ["run", "--policies", str(folder), "--connect", connect, "--once", *arguments])


def fails_with(result, *parts: str) -> None:
    """Exit code 1 and one line of error, no traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert all(part in result.output for part in parts), result.output


def test_once_shows_every_domain_with_what_is_done_and_why(folder):
    result = once(folder, "--node-name", "here")
    assert result.exit_code == 0
    assert result.output.startswith("node here: ")
    assert "\ntest  (policy all, Observe)\n" in result.output


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_once_as_a_document(folder, form, parse):
    state = parse(once(folder, "-o", form).output)
    assert [(each["name"], each["policy"]) for each in state["domains"]] == [("test", "all")]
    assert state["refused"] == {}


@pytest.mark.parametrize(("words", "mode"), [((), "Observe"), (("--observe",), "Observe"), (("--enforce",), "Enforce")])
def test_once_enforces_with_the_word_that_says_so_alone(folder, monkeypatch, words, mode):
    write(folder / "all.yaml", POLICY.replace("all}", "all}, spec: {mode: Enforce}"))
    asked: list[str] = []
    monkeypatch.setattr("controller.cli.service.ONCE_S", 0.1)  # the test driver has no statistics to wait for
    monkeypatch.setattr(LibvirtHost, "ensure_statistics", lambda _self, key, _seconds: asked.append(key))
    state = json.loads(once(folder, "-o", "json", *words).output)
    assert [each["mode"] for each in state["domains"]] == [mode]
    assert bool(asked) == (mode == "Enforce")
    overruled = [each for each in state["warnings"] if "only observed" in each]
    assert len(overruled) == (mode == "Observe")


@pytest.mark.parametrize("words", [("--enforce",), ("--once", "--enforce", "--observe")])
def test_enforce_is_a_word_of_once_alone(folder, words):
    result = CliRunner().invoke(main, ["run", "--policies", str(folder), *words])
    assert result.exit_code == 2
    assert "--enforce is for --once alone" in result.output


def test_once_says_which_policies_are_without_effect(folder):
    write(folder / "b.yaml", POLICY.replace("all}", "b}"))
    write(folder / "c.yaml", POLICY.replace("all}", "c}, spec: {domainSelector: {names: [tset]}}"))
    write(folder / "d.yaml", POLICY.replace("all}", "d}, spec: {nodeSelector: {names: [other]}}"))
    lines = once(folder, "--node-name", "here").output.splitlines()
    assert [line[:70] for line in lines if line.startswith("! ")] == [
        "! MemoryPolicy b is Conflicted: MemoryPolicy all owns test (of the sam",
        "! MemoryPolicy c selects no domain of this node; check its selectors",
    ]


@pytest.mark.parametrize(("labels", "owner"), [(("disk=ssd", "zone="), "labelled"), (("disk=hdd",), None), ((), None)])
def test_a_label_given_to_the_host_is_selected_by(folder, labels, owner):
    selector = "{matchLabels: {disk: ssd}, matchExpressions: [{key: zone, operator: Exists}]}"
    write(folder / "all.yaml", POLICY.replace("all}", f"labelled}}, spec: {{nodeSelector: {selector}}}"))
    given = [word for label in labels for word in ("--node-label", label)]
    assert [each["policy"] for each in json.loads(once(folder, "-o", "json", *given).output)["domains"]] == [owner]


def test_the_hosts_own_budget_keeps_what_no_policy_gives(folder):
    write(folder / "all.yaml", POLICY.replace("{name: all}", '{name: all}, spec: {budget: {maximum: "100Gi"}}'))

    def budget(*given: str) -> int:
        return json.loads(once(folder, "-o", "json", *(f"--budget={each}" for each in given)).output)["node"]["budget"]

    assert budget("maximum=64Mi") == 64 * MIB < budget()
    assert budget("maximum=64Mi", "reserve=1Ei") == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["reserv=4Gi"],
            "reserv: '4Gi': unknown field; did you mean reserve? known here: maximum, reserve, reservePerc",
        ),
        (["reserve=4GB"], "reserve: '4GB': not a quantity; use 4Gi"),
        (["reservePercent=95"], "reservePercent: '95': out of range; use an integer from 0 to 90"),
        (["reservePercent=5%"], "reservePercent: '5%': not an integer but text; use an integer from 0 to 90"),
        (["4Gi"], "'4Gi' is not a setting of the budget; write it like reserve=4Gi"),
        (["reserve=1Gi", "reserve=2Gi"], "'reserve' has two values, '1Gi' and '2Gi'; give it one"),
    ],
)
@pytest.mark.parametrize("command", [["run", "--policies", "."], ["agent"]])
def test_a_budget_that_is_none_is_refused_with_the_remedy(command, given, said):
    result = CliRunner(env={"COLUMNS": "300"}).invoke(main, [*command, *(f"--budget={each}" for each in given)])
    assert result.exit_code == 2
    assert said in result.output


def test_once_says_that_there_is_no_policy_at_all(folder):
    (folder / "all.yaml").unlink()
    assert "! no MemoryPolicy is in force: every domain is left alone" in once(folder).output.splitlines()


def test_once_refuses_broken_policies_with_all_their_problems(folder):
    write(folder / "a.yaml", "spec: [")
    write(folder / "b.yaml", POLICY.replace("all}", "b}, spec: {weight: heavy}"))
    fails_with(once(folder), "a.yaml:1: not valid YAML", "b.yaml:1: spec.weight: 'heavy'")


def test_a_missing_folder_is_refused(tmp_path):
    fails_with(once(tmp_path / "nowhere"), "--policies", "No such file or directory; create the folder")


def test_a_folder_that_may_not_be_read_is_refused_with_the_remedy(folder, monkeypatch):
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("os.scandir", denied)
    fails_with(once(folder), "Permission denied; let the user that runs Ballast list and read it")


def test_a_libvirt_without_a_socket_is_refused(folder, tmp_path):
    result = once(folder, connect=f"qemu+unix:///system?socket={tmp_path}/none")
    fails_with(result, f"{tmp_path}/none", "No such file or directory", "is libvirtd (or virtqemud) running?")


def test_a_proc_without_meminfo_is_refused(folder, tmp_path):
    fails_with(once(folder, "--proc", str(tmp_path)), f"{tmp_path}/meminfo", "mount the host's /proc there")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "9178"], "'9178' is not an address; write HOST:PORT, such as 127.0.0.1:9178, or none"),
        (["--connect", ""], "'' is not a libvirt URI; write it like qemu:///system"),
        (
            ["--connect", "qemu+ssh://root@other/system"],
            "transport 'ssh' leads to another host, or may; run Ballast on",
        ),
        (["-o", "json"], "-o json needs --once"),
        (["--node-label", "disk"], "'disk' is not a label; write it like disk=ssd"),
        (["--node-label", "a=1", "--node-label", "a=2"], "'a' has two values, '1' and '2'; give it one"),
        (["--node-label", "=ssd"], "Invalid value for '--node-label'"),
        (["--node-label", "disk=s s"], "'s s': not a label value that Kubernetes takes"),
        (["--node-label", "a b=1"], "'a b': not a label key that Kubernetes takes"),
    ],
)
def test_options_without_sense_are_usage_errors(folder, arguments, message):
    result = CliRunner().invoke(main, ["run", "--policies", str(folder), *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`ballast run` as a process of its own, once it has its connection."""
    command = [sys.executable, "-m", "controller", "run", "--policies", str(folder), "--connect", TEST_DRIVER]
    process = subprocess.Popen(
        [*command, "--listen", "none", "--log-format", "json"], stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            _await_line(process, "connected")
            yield process
        finally:
            process.kill()


def _await_line(process: subprocess.Popen[str], part: str) -> str:
    line = next(line for line in process.stderr if part in line)
    return json.loads(line)["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_it_cleanly(folder, number):
    with running(folder) as process:
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait() == 0
        assert json.loads(rest.splitlines()[-1])["message"] == "stopped; guests keep the memory they have"
        assert "Traceback" not in rest


def test_a_policy_broken_while_it_runs_is_said_and_mended_goes_on(folder):
    with running(folder) as process:
        (folder / "all.yaml").write_text("spec: [")
        assert "all.yaml:1: not valid YAML" in _await_line(process, "all.yaml")
        (folder / "all.yaml").write_text(POLICY.replace("all}", "mended}"))
        assert _await_line(process, "refused").endswith("its last good version stays in force: all")
        assert _await_line(process, "MemoryPolicies") == "MemoryPolicies in force: mended"


NODE = {"name": "n", "total": 8192 * MIB, "budget": 4096 * MIB, "allocated": 512 * MIB, "spare": 3584 * MIB}
WEB = {
    "key": "u1",
    "name": "web",
    "policy": "p",
    "mode": "Observe",
    "demand": 490 * MIB,
    "forecast": 495 * MIB,
    "upper": 500 * MIB,
    "allocation": 512 * MIB,
    "target": 512 * MIB,
    "reason": "WithinThreshold",
    "reason_text": "no change is worth a move",
    "last_action": None,
    "advice": "",
}
FINE = {"node": NODE, "connections": [], "problems": [], "outage": "", "warnings": [], "domains": [WEB]}


class TestTableOfOneDecision:
    """What `--once` prints for people."""

    def verdict(self, refused: dict[str, str] | None = None, **changes: object) -> str:
        """Last line of the table."""
        return table(FINE | {"domains": [WEB | changes]}, refused or {}).splitlines()[-1].strip()

    def test_the_numbers_of_node_and_domain(self):
        text = table(FINE, {})
        assert "node n: 8192 MiB, budget 4096 MiB, allocated 512 MiB, spare 3584 MiB" in text
        assert "demand 490 MiB, forecast 495 MiB (upper 500 MiB), allocation 512 MiB, target 512 MiB" in text

    def test_left_alone_and_why(self):
        assert self.verdict() == "left alone: no change is worth a move [WithinThreshold]"

    def test_what_observe_would_do(self):
        changes = {"target": 640 * MIB, "reason": "ForecastGrow", "reason_text": "forecast demand needs more memory"}
        assert self.verdict(**changes) == (
            "would change 512 MiB -> 640 MiB (+128 MiB): forecast demand needs more memory [ForecastGrow]"
        )

    def test_what_observe_would_do_once_a_job_is_over(self):
        changes = {"target": 640 * MIB, "reason": "Busy", "reason_text": "another job is running"}
        assert self.verdict(**changes) == (
            "would change 512 MiB -> 640 MiB (+128 MiB), not now: another job is running [Busy]"
        )

    def test_what_enforce_did(self):
        last = {"from": 512 * MIB, "to": 640 * MIB, "reason": "ForecastGrow", "reason_text": "more is needed"}
        assert self.verdict(mode="Enforce", last_action=last) == (
            "changed 512 MiB -> 640 MiB (+128 MiB): more is needed [ForecastGrow]"
        )

    def test_what_libvirt_refused(self):
        assert self.verdict({"u1": "device busy"}, mode="Enforce") == "libvirt refused: device busy"

    def test_a_domain_that_nothing_is_known_of(self):
        unknown = dict.fromkeys(["policy", "mode", "demand", "forecast", "upper", "allocation", "target"])
        assert self.verdict(**unknown, reason="NoPolicy", reason_text="no policy selects it") == (
            "left alone: no policy selects it [NoPolicy]"
        )

    def test_what_can_be_done_about_it(self):
        advised = self.verdict(reason="StaleStatistics", reason_text="statistics stopped", advice="do this")
        assert advised == "left alone: statistics stopped: do this [StaleStatistics]"

    def test_policies_without_effect_stand_above_the_domains(self):
        text = table(FINE | {"warnings": ["idle selects none"]}, {})
        assert text.splitlines()[1:3] == ["! idle selects none", ""]

    def test_a_connection_of_several_that_does_not_work_is_said(self):
        lost = {"uri": "qemu:///system", "connected": False, "error": "qemu:///system: no socket"}
        assert "! qemu:///system: no socket" in table(FINE | {"connections": [lost]}, {}).splitlines()

    def test_a_node_without_domains(self):
        assert table(FINE | {"domains": []}, {}).endswith("\nno running domains")


@pytest.mark.parametrize("given", [["--secure-listen", "127.0.0.1:0"], ["--web-config-file", "web.yaml"]])
def test_an_address_with_tls_and_the_file_that_says_how_belong_together(tmp_path, given):
    result = CliRunner().invoke(main, ["run", "--policies", str(tmp_path), *given])
    assert result.exit_code == 2
    assert "--secure-listen and --web-config-file belong together; give both or neither" in result.output


def test_a_file_for_tls_that_cannot_be_used_is_refused_in_one_line(tmp_path):
    given = ["--secure-listen", "127.0.0.1:0", "--web-config-file", str(tmp_path / "web.yaml")]
    result = CliRunner().invoke(main, ["run", "--policies", str(tmp_path), "--connect", "test:///default", *given])
    assert result.exit_code == 1
    assert f"Error: --web-config-file {tmp_path}/web.yaml: No such file or directory" in result.output
