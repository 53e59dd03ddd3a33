"""`ballast compare`: what it prints and what it refuses."""

import json
from math import inf
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.cli.compare import compare
from controller.cli.progress import Bar
from controller.forecast.registry import KINDS
from controller.replay.compare import IntervalEstimate, Quality

pytestmark = pytest.mark.usefixtures("one_processor")

HEADER = "time_s,domain,demand_mib,max_mib\n"
HEAD = "apiVersion: ballast.dev/v1alpha1\nkind: MemoryPolicy\nmetadata: {name: a}\n"


@pytest.fixture(autouse=True, params=[40, pytest.param(120, marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (f"{60 * k},a,{100 + 10 * (k % 7)},2048\n" for k in range(request.param))
    Path("trace.csv").write_text(HEADER + "".join(lines))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(compare, arguments, catch_exceptions=False)


def test_a_table_has_a_row_for_every_model() -> None:
    result = run("--trace", "trace.csv")
    name, heading, *rows = result.stdout.splitlines()
    assert (result.exit_code, name, heading.split()[0]) == (0, "trace.csv", "MODEL")
    assert [row.split()[0] for row in rows] == list(KINDS)


def test_programs_get_every_figure_with_its_interval() -> None:
    runs = json.loads(run("--trace", "trace.csv", "-o", "json").stdout)["runs"]
    assert [(each["trace"], each["model"]) for each in runs] == [("trace.csv", kind) for kind in KINDS]
    assert set(runs[0]["mae"]) == {"value", "low", "high"}


def test_an_infinite_ratio_is_null_for_programs_and_inf_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    some = IntervalEstimate(2.0, 1.0, 3.0)
    without_end = Quality("OLS", some, some, some, some, IntervalEstimate(2.0, 1.0, inf), some, 60.0, 0.5)
    monkeypatch.setattr("controller.cli.compare.compare_models", lambda *_, **__: (without_end,))

    (ols,) = json.loads(run("--trace", "trace.csv", "-o", "json").stdout)["runs"]

    assert (ols["mae_ratio"], ols["mae"]["high"]) == ({"value": 2.0, "low": 1.0, "high": None}, 3.0)
    assert "2.000 [1.000, inf]" in run("--trace", "trace.csv").stdout


def test_the_policys_settings_count() -> None:
    Path("policy.yaml").write_text(
        HEAD + "spec: {advanced: {monitoring: {minimumIntervalSeconds: 600, maximumIntervalSeconds: 600}}}"
    )
    runs = json.loads(run("--trace", "trace.csv", "--policy", "policy.yaml", "-o", "json").stdout)["runs"]
    assert runs[0]["looks_per_domain_hour"] == pytest.approx(6, rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--trace", "none.csv"), "none.csv: cannot be read"),
        (("--trace", "short.csv"), "short.csv: trace: its domains ran for 1 s at most, too short for a forecast"),
        (("--trace", "trace.csv", "--policy", "none.yaml"), "none.yaml: cannot be read"),
        (
            ("--trace", "trace.csv", "--policy", "empty.yaml"),
            "empty.yaml: holds 0 policies; name a file with exactly one MemoryPolicy",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arguments: tuple[str, ...], complaint: str) -> None:
    Path("short.csv").write_text(HEADER + "0,a,5,9\n1,a,5,9\n")
    Path("empty.yaml").write_text("")
    result = run(*arguments)
    assert result.exit_code == 1
    assert complaint in result.stderr


def test_what_is_replayed_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watchers = []
    monkeypatch.setattr("controller.cli.compare.compare_models", lambda *_, watcher: watchers.append(watcher) or ())

    run("--trace", "trace.csv")

    assert [type(each) for each in watchers] == [Bar]
