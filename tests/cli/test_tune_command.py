"""`ballast tune`: what is printed, what is proposed, and how what cannot be tuned is refused."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller import __version__
from controller.api.documents import load
from controller.api.policy import MemoryPolicy
from controller.cli.main import main
from controller.replay.score import ReplayFigures
from controller.replay.tune import TuningTrial

HEADER = "time_s,domain,demand_mib,max_mib\n"
POLICY = """apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {name: all, uid: "7", generation: 3, labels: {team: a}}
spec:
  spare: Reclaim
  advanced: {shrink: {stabilizationSeconds: 60}, threshold: {percent: 10}}
"""
RESTLESS, CALM = (1000,) * 4 + (1500,) * 4, (1000,) * 8
COLUMNS = ["PART", "POLICY", "HARM %", "SHORT %", "OVER %", "WORST %", "SLACK %", "MOVES/h", "LOOKS/h"]


def write_trace(*thirds: tuple[int, ...]) -> None:
    """Two hours each, sampled once a minute; in each its demand repeats."""
    demands = [third[k % len(third)] for third in thirds for k in range(120)]
    rows = (f"{60 * k},a,{demand},4096\n" for k, demand in enumerate(demands))
    Path("trace.csv").write_text(HEADER + "".join(rows))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as a user names them, one processor, and one parameter to choose: tests are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr("controller.replay.proposals.GRID", {"headroom.percent": (10, 60)})
    Path("policy.yaml").write_text(POLICY)
    write_trace(RESTLESS, RESTLESS, RESTLESS)


@pytest.fixture(autouse=True)
def halved(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of replays: more headroom halves the harm done to a guest whose demand jumps."""
    if not getattr(request, "param", True):
        return

    def run(trial: TuningTrial) -> ReplayFigures:
        harm = 0.02 / (1 + (trial.policy.spec.headroom.percent == 60 and trial.piece.trace.peak_mib > CALM[0]))
        return ReplayFigures(harm, 0.0, 0.5, harm, 4.0, 100.0)

    monkeypatch.setattr("controller.replay.tune.run", run)


def tune(*arguments: str, policy: str = "policy.yaml") -> Result:
    given = ("tune", "--trace", "trace.csv", "--host-memory", "8Gi", "--policy", policy, *arguments)
    return CliRunner().invoke(main, given, catch_exceptions=False)


def proposal(text: str) -> MemoryPolicy:
    loaded = load(text, "proposal.yaml")
    assert loaded.problems == ()
    (policy,) = loaded.policies
    return policy


also_replayed = pytest.mark.parametrize("halved", [True, pytest.param(False, marks=pytest.mark.slow)], indirect=True)


@also_replayed
def test_what_gains_on_the_part_held_out_is_proposed() -> None:
    data = json.loads(tune("-o", "json").stdout)
    assert data["proposed"] is True
    assert data["held_out"]["found"]["harm"] < 0.8 * data["held_out"]["start"]["harm"]
    assert data["policy"]["spec"]["headroom"] == {"percent": 60}


@also_replayed
def test_what_gains_nothing_there_is_not_and_the_policy_stays() -> None:
    write_trace(RESTLESS, RESTLESS, CALM)
    result = tune()
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith("Not proposed: burden ")
    assert result.stderr.splitlines()[-1].endswith(". The policy stays as it is.")
    assert "# refused: spec.headroom.percent: 10 -> 60" in result.stdout
    assert proposal(result.stdout).spec == proposal(POLICY).spec


@also_replayed
def test_where_nothing_gains_the_policy_stays() -> None:
    write_trace(CALM, CALM, CALM)
    result = tune()
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "Nothing that was tried gains: the policy stays as it is."
    assert "found" not in result.stderr
    assert proposal(result.stdout).spec == proposal(POLICY).spec


class TestOutput:
    """What is printed."""

    def test_a_policy_to_apply_that_says_where_it_comes_from(self) -> None:
        result = tune()
        assert result.exit_code == 0
        assert result.stdout == (
            f"# From `ballast tune` {__version__}. Proposed: burden (harm, with moves and looks weighed in) -50 % "
            "on what was held out, less on 3 of its 3 pieces.\n"
            "# trace.csv, host 8192 MiB: chosen on 3.95 h of the first 4 h, judged on 1.95 h of the last 1.98 h\n"
            "# Held out, start -> found: harm 2.000 -> 1.000 % of demand, worst domain's 2.000 -> 1.000 %,\n"
            "# slack 50 -> 50 %, per domain-hour moves 4.0 -> 4.0, looks 100.0 -> 100.0\n"
            "# spec.headroom.percent: 10 -> 60\n"
            "apiVersion: ballast.dev/v1alpha1\n"
            "kind: MemoryPolicy\n"
            "metadata:\n  name: all\n  labels:\n    team: a\n"
            "spec:\n"
            "  headroom:\n    percent: 60\n"
            "  spare: Reclaim\n"
            "  advanced:\n    threshold:\n      percent: 10\n    shrink:\n      stabilizationSeconds: 60\n"
        )
        assert proposal(result.stdout).spec.mode == "Observe"

    def test_the_figures_are_on_standard_error(self) -> None:
        lines = tune().stderr.splitlines()
        assert lines[1].split("  ")[0] == "PART"
        assert [part.strip() for part in lines[1].split("  ") if part] == COLUMNS
        assert [line.split()[:-7] for line in lines[2:6]] == [
            ["chosen", "on", "start"],
            ["found"],
            ["held", "out", "start"],
            ["found"],
        ]
        assert lines[-1].startswith("Proposed: ")

    def test_a_table_alone_is_on_standard_output(self) -> None:
        result = tune("-o", "table")
        assert result.stderr == ""
        assert result.stdout == tune().stderr

    def test_programs_get_figures_and_policy(self) -> None:
        data = json.loads(tune("-o", "json").stdout)
        assert data["traces"] == [
            {
                "trace": "trace.csv",
                "host_mib": 8192,
                "chosen_on_hours": pytest.approx(237 / 60),
                "held_out_hours": pytest.approx(117 / 60),
            }
        ]
        assert data["changes"] == [{"field": "spec.headroom.percent", "start": 10, "found": 60}]
        assert [data[part][which]["harm"] for part in ("chosen_on", "held_out") for which in ("start", "found")] == [
            pytest.approx(harm) for harm in (0.02, 0.01, 0.02, 0.01)
        ]
        assert (data["held_out"]["pieces"], data["held_out"]["pieces_with_less_burden"]) == (3, 3)

    def test_without_a_policy_it_starts_from_the_defaults(self) -> None:
        text = CliRunner().invoke(main, ("tune", "--trace", "trace.csv"), catch_exceptions=False).stdout
        assert text.endswith("metadata:\n  name: tuned\nspec:\n  headroom:\n    percent: 60\n")

    def test_the_mode_stays_what_it_was(self) -> None:
        Path("enforced.yaml").write_text(POLICY + "  mode: Enforce\n")
        assert proposal(tune(policy="enforced.yaml").stdout).spec.mode == "Enforce"

    def test_a_name_with_a_line_break_stays_in_its_comment(self) -> None:
        Path("trace.csv").rename("a\nspec: b.csv")
        text = CliRunner().invoke(main, ("tune", "--trace", "a\nspec: b.csv"), catch_exceptions=False).stdout
        assert "# a\\nspec: b.csv, host " in text
        assert proposal(text).spec.headroom.percent == 60


def test_a_trace_too_short_to_hold_a_part_out_is_refused_in_a_line() -> None:
    Path("trace.csv").write_text(HEADER + "".join(f"{k},a,500,4096\n" for k in range(600)))
    result = tune()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: trace.csv: 600 sample times over 0.17 h are too short to hold a part out: ")
    assert result.stderr.endswith("; record 1.5 h or more, with 360 sample times or more\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "0,a,1,9\n1,a,-5,9\n", "line 3, column demand_mib: '-5' is negative"),
        (None, "trace.csv: cannot be read: No such file or directory"),
    ],
)
def test_a_trace_that_cannot_be_used_is_refused_in_a_line(content: str | None, message: str) -> None:
    Path("trace.csv").unlink()
    if content is not None:
        Path("trace.csv").write_text(content)
    result = tune()
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_policy_that_would_leave_the_trace_alone_is_refused() -> None:
    Path("policy.yaml").write_text(POLICY + "  domainSelector: {names: [db-*]}\n")
    result = tune()
    assert result.exit_code == 1
    assert "selects none of the domains of trace.csv (a)" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--host-memory", "24GB"), "use 24Gi"), (("--host-memory", "0"), "a host has at least 1Mi")],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(options: tuple[str, str], message: str) -> None:
    result = tune(*options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_ctrl_c_ends_it_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("controller.replay.tune.run", interrupted)
    result = tune()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.strip() == "Aborted!"
