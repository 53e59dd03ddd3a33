"""`ballast check`: what it prints, and the exit code a pipeline sees."""

import errno
import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.check import check

GOOD = "apiVersion: ballast.dev/v1alpha1\nkind: MemoryPolicy\nmetadata: {name: good}\n"
OTHER = GOOD.replace("good", "other")
BAD = GOOD + "spec: {weight: 0}\n"
COMPLAINT = "spec.weight: '0': out of range; use an integer from 1 to 10000"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that files are named as a user names them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(check, arguments, input=stdin, catch_exceptions=False)


def outcome(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def test_a_good_file_is_ok() -> None:
    Path("a.yaml").write_text(GOOD)
    assert outcome(run("a.yaml")) == (0, "a.yaml: ok (1 policy)\n", "")


def test_several_policies_are_counted() -> None:
    Path("a.yaml").write_text(f"{GOOD}---\n{OTHER}")
    Path("b.yaml").write_text("# nothing yet\n")
    assert outcome(run("a.yaml", "b.yaml")) == (0, "a.yaml: ok (2 policies)\nb.yaml: ok (0 policies)\n", "")


def test_a_problem_is_told_and_fails_without_hiding_good_files() -> None:
    Path("a.yaml").write_text(GOOD)
    Path("b.yaml").write_text(BAD.replace("good", "bad"))
    assert outcome(run("b.yaml", "a.yaml")) == (1, "a.yaml: ok (1 policy)\n", f"b.yaml:4: {COMPLAINT}\n")


@pytest.mark.parametrize(("mode", "told"), [("Enforce", True), ("Observe", False), ("Pause", False)])
def test_a_rollout_is_all_right_and_said_to_need_a_cluster_where_the_policy_would_enforce(
    mode: str, told: bool
) -> None:
    rolled = GOOD + f"spec: {{mode: {mode}, rollout: {{maximumNodes: 10%}}}}\n"
    note = "MemoryPolicy good: spec.rollout needs a cluster; on a host without one the policy only observes"
    lines = ["-: ok (1 policy)", *([f"-: {note}"] if told else [])]
    assert outcome(run("-", stdin=rolled)) == (0, "".join(f"{line}\n" for line in lines), "")
    assert json.loads(run("-", "-o", "json", stdin=rolled).stdout)["files"][0]["notes"] == [note] * told


def test_standard_input_is_read() -> None:
    assert outcome(run("-", stdin=BAD)) == (1, "", f"-:4: {COMPLAINT}\n")


def test_a_folder_is_its_own_yaml_files_in_order() -> None:
    policies = Path("policies")
    (policies / "deeper").mkdir(parents=True)
    (policies / ".hidden.yaml").write_text(BAD)
    (policies / "deeper" / "bad.yaml").write_text(BAD)
    (policies / "notes.txt").write_text(BAD)
    (policies / "b.yml").write_text(GOOD)
    (policies / "a.yaml").write_text(OTHER)
    expected = "policies/a.yaml: ok (1 policy)\npolicies/b.yml: ok (1 policy)\n"
    assert outcome(run("policies")) == (0, expected, "")


def test_a_folder_without_policy_files_is_a_problem() -> None:
    Path("empty").mkdir()
    told = "empty: no *.yaml or *.yml file in this folder; name the folder that holds the policies\n"
    assert outcome(run("empty")) == (1, "", told)


def test_one_name_in_two_files_is_a_problem_of_the_second() -> None:
    Path("a.yaml").write_text(GOOD)
    Path("b.yaml").write_text(GOOD)
    told = "b.yaml:3: metadata.name: 'good': another policy has this name, at a.yaml:3; rename or remove one"
    assert outcome(run("a.yaml", "b.yaml")) == (1, "a.yaml: ok (1 policy)\n", f"{told} of the two\n")


def test_a_file_named_twice_counts_once() -> None:
    Path("a.yaml").write_text(GOOD)
    assert outcome(run("a.yaml", "./a.yaml", ".", os.path.abspath("a.yaml"))) == (
        0,
        "a.yaml: ok (1 policy)\n",
        "",
    )


def test_a_missing_file_is_a_problem() -> None:
    told = "none.yaml: cannot be read: no such file or directory; check the path\n"
    assert outcome(run("none.yaml")) == (1, "", told)


def test_a_file_that_cannot_be_opened_is_a_problem() -> None:
    Path("loop.yaml").symlink_to("loop.yaml")
    result = run("loop.yaml", ".")
    assert result.exit_code == 1
    assert result.stderr.startswith("loop.yaml: cannot be read: too many levels of symbolic links; ")
    assert result.stderr.count("\n") == 1


def test_a_file_that_may_not_be_read_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str, _mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    Path("a.yaml").write_text(GOOD)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("click.open_file", denied)
    told = "a.yaml: cannot be read: permission denied; make it readable for this user\n"
    assert outcome(run("a.yaml")) == (1, "", told)


def test_an_endless_file_is_refused_without_reading_it_all() -> None:
    assert outcome(run("/dev/zero")) == (
        1,
        "",
        "/dev/zero: larger than 262144 bytes; split it, if it is a policy file\n",
    )


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_one_document(form: str, parse: object) -> None:
    Path("a.yaml").write_text(GOOD)
    Path("b.yaml").write_text(BAD.replace("good", "bad"))
    result = run("a.yaml", "b.yaml", "-o", form)
    problem = {
        "line": 4,
        "field": "spec.weight",
        "value": "0",
        "message": "out of range",
        "remedy": "use an integer from 1 to 10000",
    }
    assert (result.exit_code, result.stderr) == (1, "")
    assert callable(parse)
    assert parse(result.stdout) == {
        "ok": False,
        "files": [
            {"file": "a.yaml", "policies": ["good"], "problems": [], "notes": []},
            {"file": "b.yaml", "policies": [], "problems": [problem], "notes": []},
        ],
    }


def test_programs_see_success_too() -> None:
    result = run("-", "-o", "json", stdin=GOOD)
    assert json.loads(result.stdout) == {
        "ok": True,
        "files": [{"file": "-", "policies": ["good"], "problems": [], "notes": []}],
    }
    assert result.exit_code == 0


def test_no_file_is_a_usage_error() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Missing argument 'FILE...'" in result.stderr


def test_help_teaches_by_example() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "  ballast check policies/ -o json\n" in result.stdout
