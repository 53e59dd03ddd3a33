"""`ballast backtest`: what is written and printed, and how what cannot be replayed is refused."""

import csv
import gzip
import importlib.util
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.replay.pool import Pool, PoolError

POLICY = "apiVersion: ballast.dev/v1alpha1\nkind: MemoryPolicy\nmetadata: {name: all}\n"
HEADER = "time_s,domain,demand_mib,max_mib\n"
TRACE = HEADER + "".join(f"{time},{name},{500 + 10 * time},4096\n" for time in range(20) for name in ("a", "b"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as a user names them, and one processor: tests need no processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    Path("policy.yaml").write_text(POLICY)
    Path("trace.csv").write_text(TRACE)


def backtest(*arguments: str) -> Result:
    given = ("backtest", "--policy", "policy.yaml", "--trace", "trace.csv", *arguments)
    return CliRunner().invoke(main, given, catch_exceptions=False)


def summary(*arguments: str) -> dict[str, list[dict[str, object]]]:
    result = backtest(*arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_each_controller_is_replayed_at_three_parts_of_the_peak() -> None:
    runs = summary("--controllers", "ballast,static")["runs"]
    peak = 2 * 690
    assert [(run["host_mib"], run["controller"]) for run in runs] == [
        (pytest.approx(part * peak), name) for part in (1.10, 1.25, 1.50) for name in ("ballast", "static")
    ]
    assert {run["trace"] for run in runs} == {"trace.csv"}


def test_a_run_has_all_figures() -> None:
    (run,) = summary("--controllers", "static", "--host-memory", "1000Mi")["runs"]
    need = 2 * sum(500 + 10 * time for time in range(19))
    assert run == {
        "trace": "trace.csv",
        "host_mib": 1000,
        "controller": "static",
        "shortfall": pytest.approx((need - 19 * 1000) / need),
        "overcommit": 0,
        "harm": pytest.approx((need - 19 * 1000) / need),
        "slack": 0,
        "worst_domain_shortfall": pytest.approx((need - 19 * 1000) / need),
        "reallocations_per_domain_hour": 0,
        "looks_per_domain_hour": 0,
    }


def test_a_sweep_says_how_much_host_each_needs() -> None:
    """Equal shares of 1380 MiB serve both domains until they ask for more than 0.1 % above it."""
    (need,) = summary("--controllers", "static", "--host-memory", "2Gi", "--sweep")["sweep"]
    assert need == {
        "trace": "trace.csv",
        "controller": "static",
        "host_mib": pytest.approx(0.98 * 1380),
        "host_percent_of_peak": 98,
    }


@pytest.mark.parametrize("command", ["backtest", "tune"])
def test_help_says_what_ballast_keeps_of_the_hosts_memory(command: str) -> None:
    text = " ".join(CliRunner().invoke(main, [command, "--help"], catch_exceptions=False).stdout.split())
    assert "Ballast keeps the policy's budget.reserve of it free" in text


RESERVES = {
    '{reserve: "1Gi", reservePercent: 0}': "spec.budget.reserve 1Gi keeps 1024 of a host's 2048 MiB",
    '{reserve: "0", reservePercent: 25}': "spec.budget.reservePercent 25 keeps 512 of a host's 2048 MiB",
}


@pytest.mark.parametrize(("budget", "kept"), RESERVES.items())
def test_a_reserve_that_only_ballast_keeps_is_told_once_of_the_smallest_host(budget: str, kept: str) -> None:
    Path("policy.yaml").write_text(POLICY + f"spec: {{budget: {budget}}}\n")
    hosts = ("--host-memory", "3Gi", "--host-memory", "2Gi")
    assert backtest("--controllers", "ballast:ols,static", *hosts).stderr == (
        f"policy 'all': {kept} from Ballast's guests, and none from its peers'; "
        'to compare like with like, set budget: {reserve: "0", reservePercent: 0}\n'
    )
    assert backtest("--controllers", "static", *hosts).stderr == ""


def test_a_small_reserve_is_not_worth_a_word() -> None:
    Path("policy.yaml").write_text(POLICY + "spec: {budget: {reserve: 204Mi, reservePercent: 9}}\n")
    assert backtest("--controllers", "ballast", "--host-memory", "2Gi").stderr == ""


@pytest.mark.parametrize(
    "budget",
    ["{reserve: 0, reservePercent: 75}", pytest.param("{reserve: 4Gi, reservePercent: 0}", marks=pytest.mark.slow)],
)
def test_a_sweep_goes_as_far_as_ballasts_reserve_calls_for(budget: str) -> None:
    """The domains together ask for nearly all they may have, 1400 MiB."""
    Path("policy.yaml").write_text(POLICY + f"spec: {{budget: {budget}}}\n")
    Path("trace.csv").write_text(TRACE.replace(",4096\n", ",700\n"))
    ballast, static = summary("--controllers", "ballast,static", "--host-memory", "8Gi", "--sweep")["sweep"]
    reserve = 4096 if "4Gi" in budget else 3 * 1380
    assert reserve + 1200 < ballast["host_mib"] < 1.02 * (reserve + 1400)
    assert static["host_percent_of_peak"] == 98


def test_the_folder_gets_summary_report_and_what_each_controller_did() -> None:
    result = backtest("--controllers", "ballast,ballast:fixed,mom", "--host-memory", "2Gi", "--out", "out")
    assert result.exit_code == 0, result.stderr
    names = ("ballast", "ballast-fixed", "mom")
    files = {f"{kind}-{name}.csv.gz" for kind in ("allocations", "looks") for name in names}
    assert {path.name for path in Path("out").iterdir()} == files | {"summary.json", "report.html"}
    with gzip.open("out/allocations-ballast.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"time_s": "0.0", "domain": "a", "allocation_mib": "1024.0"}
    with gzip.open("out/looks-mom.csv.gz", "rt") as file:
        looks = list(csv.DictReader(file))
    assert looks[0] == {"time_s": "0.0", "domain": "a"}
    page = Path("out/report.html").read_text()
    assert page.count("<svg") == 3
    assert "src=" not in page
    assert "the best peer" in page


def test_a_name_with_dollar_signs_is_no_formula_in_the_plots() -> None:
    name = r"a$\frac$"
    Path("trace.csv").write_text(TRACE.replace(",a,", f",{name},"))
    result = backtest("--controllers", "ballast", "--host-memory", "2Gi", "--out", "out")
    assert result.exit_code == 0, result.stderr
    assert f">{name}</text>" in Path("out/report.html").read_text()


def test_several_hosts_have_a_folder_each() -> None:
    backtest("--controllers", "static", "--host-memory", "1Gi", "--host-memory", "2.5Gi", "--out", "out")
    found = sorted(str(path) for path in Path("out").rglob("*.gz"))
    assert found == [
        f"out/trace-{size}/{kind}-static.csv.gz" for size in (1024, 2560) for kind in ("allocations", "looks")
    ]


def test_the_table_has_a_row_a_controller() -> None:
    lines = backtest("--controllers", "ballast,mom", "--host-memory", "2Gi").stdout.splitlines()
    assert lines[0].startswith("trace, host 2048 MiB (148 % of the peak)")
    assert [line.split()[0] for line in lines[1:]] == ["CONTROLLER", "ballast", "mom"]


def test_a_files_name_is_text_not_markup() -> None:
    Path("run[prod]:cat:.csv").write_text(TRACE)
    given = ("--trace", "run[prod]:cat:.csv", "--host-memory", "2Gi", "--controllers", "static", "--sweep")
    lines = backtest(*given, "--out", "res[a]").stdout.splitlines()
    assert any(line.startswith("run[prod]:cat:, host 2048 MiB") for line in lines)
    assert any(line.split()[:2] == ["static", "run[prod]:cat:"] for line in lines)
    assert lines[-1] == "report: res[a]/report.html"


def test_of_a_sweeps_table_only_a_long_name_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "long-" * 20
    Path(f"{name}.csv").write_text(TRACE)
    monkeypatch.setenv("COLUMNS", "60")
    given = ("--trace", f"{name}.csv", "--host-memory", "2Gi", "--controllers", "ballast:lastvalue", "--sweep")
    heading, _, row = backtest(*given).stdout.splitlines()[-3:]
    assert heading.split() == ["CONTROLLER", "TRACE", "MiB", "%", "OF", "PEAK"]
    controller, trace, size, percent = row.split()
    assert (controller, trace[:10], trace[-1]) == ("ballast:lastvalue", "long-long-", "…")
    assert (size.isdecimal(), percent.isdecimal()) == (True, True)


def test_without_matplotlib_a_folder_is_refused_before_anything_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.replay.report.find_spec", lambda _: None)
    result = backtest("--out", "out")
    assert importlib.util.find_spec("matplotlib") is not None
    assert (result.exit_code, result.stdout) == (1, "")
    assert "which is not installed; `pipx inject ballast matplotlib`" in result.stderr
    assert not Path("out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """/proc takes no files, not even root's."""
    monkeypatch.setattr(Pool, "outcomes", lambda *_: pytest.fail("replayed"))
    result = backtest("--controllers", "static", "--host-memory", "1Gi", "--out", "/proc")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: /proc: ")
    assert result.stderr.endswith("; name another --out folder\n")


@pytest.mark.parametrize("name", ["summary.json", "report.html", "allocations-static.csv.gz"])
def test_a_disk_that_fills_up_is_named_by_the_folder(name: str) -> None:
    Path("out").mkdir()
    Path("out", name).symlink_to("/dev/full")
    result = backtest("--controllers", "static", "--host-memory", "1Gi", "--out", "out")
    assert result.exit_code == 1
    assert result.stderr == "Error: out: No space left on device; name another --out folder\n"


BAD = {
    "time_s,domain,demand_mib\n0,a,1\n": "line 1: column max_mib is missing",
    HEADER + "0,a,1,9\n5,a,1,9\n3,a,1,9\n": "line 4, column time_s: '3' goes back in time; sort",
    HEADER + "0,a,1,9\n0,a,1,9\n": "line 3, column time_s: '0' is a second sample",
    HEADER + "0,a,1,9\n1,a,NaN,9\n": "line 3, column demand_mib: 'NaN' is not finite",
    HEADER + "0,a,1,9\n1,a,-5,9\n": "line 3, column demand_mib: '-5' is negative",
    HEADER + "0,a,1,9\n1,a,1e12,9\n": "line 3, column demand_mib: '1e12' is more than",
    HEADER + "0,a,1,9\n": "single sample",
    HEADER + "0,a,0,9\n1,a,0,9\n": "column demand_mib is 0 in every line",
    HEADER + "0,a,0,9\n1,a,5,9\n": "demand is 0 throughout",
    gzip.compress(TRACE.encode(), mtime=0)[:-20]: "gzip data is cut off",
}


@pytest.mark.parametrize(("content", "message"), BAD.items())
def test_a_trace_that_cannot_be_used_is_refused_in_a_line(content: str | bytes, message: str) -> None:
    Path("trace.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = backtest("--controllers", "ballast")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_replay_whose_process_is_killed_ends_the_command_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise PoolError("a replay's process was killed")

    monkeypatch.setattr(Pool, "outcomes", killed)
    result = backtest("--controllers", "static")
    assert (result.exit_code, result.stderr) == (1, "Error: a replay's process was killed\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0,a,5,90\n1,a,5,90\n1,b,5,90\n2,a,5,90\n2,b,5,90\n3,a,5,90\n", id="comes and goes"),
        pytest.param("0,a,5,90\n1,a,5,90\n1200,a,5,90\n1201,a,5,90\n", id="a long gap"),
        pytest.param("0,a,5,90\n1,a,5,90\n20000,a,5,90\n20001,a,5,90\n", id="hours of gap", marks=pytest.mark.slow),
    ],
)
def test_domains_may_come_and_go_and_samples_stop(text: str) -> None:
    Path("trace.csv").write_text(HEADER + text)
    assert len(summary("--controllers", "ballast,mom", "--host-memory", "1Gi")["runs"]) == 2


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("", "policy.yaml: holds 0 policies; name a file with exactly one MemoryPolicy"),
        (POLICY + "spec: {weight: 0}\n", "policy.yaml:4: spec.weight: '0': out of range"),
        (
            POLICY + "spec: {domainSelector: {names: [db-*]}}\n",
            "spec.domainSelector selects none of the domains of trace.csv (a, b); a trace",
        ),
        (
            POLICY + "spec: {selectors: {all: true}}\n",
            "spec.selectors selects none of the domains of trace.csv (a, b);",
        ),
    ],
)
def test_a_policy_that_cannot_be_replayed_is_refused(policy: str, message: str) -> None:
    Path("policy.yaml").write_text(policy)
    result = backtest("--controllers", "ballast")
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--controllers", "mum"), "controller 'mum' does not exist; use some of ballast,ballast:fixed,"),
        (("--host-memory", "24GB"), "use 24Gi"),
        (("--host-memory", "0"), "a host has at least 1Mi"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(option: tuple[str, str], message: str) -> None:
    result = backtest(*option)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
