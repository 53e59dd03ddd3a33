"""`./hack/mutants`: the faults it makes, what it samples and accepts, and its verdicts on a small project."""

import ast
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mutating import report
from mutating.accepted import AcceptedError, read, without
from mutating.mutant import REMOVED, Mutant, mutants_of, sample
from mutating.packages import PACKAGES, Package
from mutating.trials import MutantTrial, Verdict

ROOT = Path(__file__).parents[2]


def faults(line: str) -> set[tuple[str, str, str]]:
    """Operator, before and after of every fault in a function's line."""
    made = mutants_of("small.py", f"def small():\n    {line}\n")
    return {(mutant.operator, mutant.before, mutant.after) for mutant in made}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a + b", {("arithmetic", "a + b", "a - b")}),
        ("return a / b", {("arithmetic", "a / b", "a * b")}),
        ("x += b", {("arithmetic", "x += b", "x -= b"), ("statement", "x += b", REMOVED)}),
        ("return a < b", {("comparison", "a < b", "a <= b"), ("comparison", "a < b", "a > b")}),
        ("return a >= b", {("comparison", "a >= b", "a > b"), ("comparison", "a >= b", "a < b")}),
        ("return a == b", {("comparison", "a == b", "a != b")}),
        ("return a is b", {("comparison", "a is b", "a is not b")}),
        ("return a in b", {("comparison", "a in b", "a not in b")}),
        (
            "return a and b",
            {("boolean", "a and b", "a or b"), ("condition", "a and b", "a"), ("condition", "a and b", "b")},
        ),
        ("return not a", {("boolean", "not a", "a")}),
        ("return True", {("boolean", "return True", "return False")}),
        ("return a & b", {("mask", "a & b", "a | b"), ("condition", "a & b", "a"), ("condition", "a & b", "b")}),
        ("x |= b", {("mask", "x |= b", "x &= b"), ("statement", "x |= b", REMOVED)}),
        ("return ~a", {("mask", "~a", "a")}),
        ("return -a", {("unary", "-a", "a")}),
        ("return f(0)", {("constant", "f(0)", "f(1)"), ("constant", "f(0)", "f(-1)")}),
        (
            "x = 3",
            {("constant", "x = 3", after) for after in ("x = 4", "x = 2", "x = 6", "x = 1")},
        ),
        ("x = 0.25", {("constant", "x = 0.25", "x = 0.5"), ("constant", "x = 0.25", "x = 0.125")}),
        ("x = 3600", {("constant", "x = 3600", "x = 7200"), ("constant", "x = 3600", "x = 1800")}),
        (
            "return f([-1])[0.5]",
            {("unary", "-1", "1")}
            | {("constant", "f([-1])", after) for after in ("f([-2])", "f([-0])")}
            | {("constant", "f([-1])[0.5]", after) for after in ("f([-1])[1.0]", "f([-1])[0.25]")},
        ),
        ("x = 'text'", set()),
        ("return b if a else c", {("condition", "b if a else c", f"b if {test} else c") for test in (True, False)}),
        ("while a: b", {("condition", "while a", "while False")}),
        ("return [a for a in b if c]", {("condition", "for a in b if c", "for a in b")}),
        (
            "return np.where(a, b, c)",
            {("condition", "np.where(a, b, c)", "b"), ("condition", "np.where(a, b, c)", "c")},
        ),
        ("return np.clip(a, b, c)", {("condition", "np.clip(a, b, c)", "a")}),
        ("return min(a, b)", {("opposite", "min(a, b)", "max(a, b)")}),
        ("return np.maximum(a, b)", {("opposite", "np.maximum(a, b)", "np.minimum(a, b)")}),
        ("return np.fmin(a, b)", {("opposite", "np.fmin(a, b)", "np.fmax(a, b)")}),
        ("return a.any()", {("opposite", "a.any()", "a.all()")}),
        ("a[b] = c", {("statement", "a[b] = c", REMOVED)}),
        ("a.b = c", {("statement", "a.b = c", REMOVED)}),
        ("a = c", set()),
        ("f(a)", {("statement", "f(a)", REMOVED)}),
        ("return", {("statement", "return", REMOVED)}),
        ("return None", set()),
    ],
)
def test_faults_of(line, expected):
    assert faults(line) == expected


def test_a_condition_is_forced_both_ways_and_its_body_not_shown():
    made = mutants_of("small.py", "def small():\n    if a:\n        return b\n    return c\n")
    assert [(mutant.before, mutant.after) for mutant in made] == [("if a", "if True"), ("if a", "if False")]


def test_what_no_running_program_has_values_of_stays():
    source = "Alias = A | B\n@f(1)\ndef small(a: f(1) = None) -> f(1):\n    b: f(1) = c\nclass E(IntEnum):\n    A = 1\n"
    assert mutants_of("small.py", source) == []


def test_a_mutant_tells_where_it_is_and_differs_from_its_file_in_that_place_only():
    source = "A = 1\n\nclass C:\n\n    @property\n    def f(self):\n        return [a + b for a in c]\n"
    mutant = next(each for each in mutants_of("small.py", source) if each.operator == "arithmetic")
    assert (mutant.function, mutant.function_line, mutant.line) == ("C.f", 5, 7)
    assert compile(mutant.mutated(), "small.py", "exec")
    assert ast.unparse(mutant.mutated()) == ast.unparse(ast.parse(source)).replace("a + b", "a - b")
    assert ast.unparse(mutant.tree) == ast.unparse(ast.parse(source))


def mutants(source: str = "def f():\n    return a * 100 + b\n") -> list[Mutant]:
    return mutants_of("small.py", source)


class TestSample:
    def test_the_same_seed_chooses_the_same_and_another_one_others(self):
        every = mutants("def f():\n" + "    g(a + b)\n" * 50)
        assert sample(every, 10, seed=1) == sample(every, 10, seed=1)
        assert sample(every, 10, seed=1) != sample(every, 10, seed=2)

    def test_every_place_comes_once_before_any_comes_twice(self):
        chosen = sample(mutants("def f():\n" + "    g(5)\n" * 10), 20, seed=0)
        assert len({mutant.site for mutant in chosen}) == 20

    def test_without_a_size_it_is_all(self):
        assert set(sample(mutants(), None, seed=0)) == set(mutants())


def entry(**changed: str) -> str:
    fields = {"file": "small.py", "function": "f", "before": "a * 100", "after": "a * 200", "reason": "because"}
    return "[[accepted]]\n" + "".join(f"{name} = {json.dumps(text)}\n" for name, text in {**fields, **changed}.items())


class TestAccepted:
    def test_what_is_accepted_is_left_out_and_nothing_else(self, tmp_path):
        path = tmp_path / "accepted.toml"
        path.write_text(entry())
        left = without(mutants(), read(path), path)
        assert {mutant.after for mutant in set(mutants()) - {*left}} == {"a * 200"}

    @pytest.mark.parametrize("name", ["file", "function", "before", "after"])
    def test_an_entry_that_no_longer_matches_is_an_error(self, tmp_path, name):
        path = tmp_path / "accepted.toml"
        path.write_text(entry(**{name: "other"}))
        with pytest.raises(AcceptedError, match="correct the entry or remove it"):
            without(mutants(), read(path), path)

    @pytest.mark.parametrize("text", [entry(reason=" "), entry(more="x"), "[[accepted]]\nfile = 'small.py'\n", "["])
    def test_a_broken_list_is_an_error_that_names_the_file(self, tmp_path, text):
        path = tmp_path / "accepted.toml"
        path.write_text(text)
        with pytest.raises(AcceptedError, match=r"accepted\.toml"):
            read(path)

    def test_the_projects_own_list_matches_its_code(self):
        path = ROOT / "tests" / "mutants_accepted.toml"
        entries = read(path)
        files = {file for package in PACKAGES.values() for file in package.files(ROOT)} & {
            each.file for each in entries
        }
        without([mutant for file in files for mutant in mutants_of(file, (ROOT / file).read_text())], entries, path)


class TestPackages:
    def test_all_paths_are_there(self):
        for package in PACKAGES.values():
            assert package.files(ROOT)
            assert [path for path in package.tests if not (ROOT / path).exists()] == []

    def test_a_path_that_is_gone_is_an_error(self):
        with pytest.raises(FileNotFoundError, match="controller/gone is not there"):
            Package(("controller/gone",), ()).files(ROOT)


def test_unreached_is_survived_and_timed_out_is_killed():
    (mutant, *_) = mutants()
    assert report.killed_percent([MutantTrial("p", mutant, verdict) for verdict in Verdict]) == 50


SMALL = """\
from functools import lru_cache

BOTTOM = 2


def steps(first: int, size: int) -> int:
    number = first
    while number < BOTTOM:
        number = number + size
    return number


def larger(a: int, b: int) -> int:
    return a if a > b else b


def unwatched(a: int) -> int:
    return -a


@lru_cache
def negative(a: int) -> bool:
    return a < 0
"""
TESTS = """\
from controller.small import larger, negative, steps


def test_steps():
    assert steps(0, 1) == 2


def test_larger():
    assert larger(1, 2) == larger(2, 1) == 2


def test_asks():
    negative(0)


def test_negative():
    assert not negative(0)
"""
CONFTEST = "from hypothesis import settings\nsettings.register_profile('ballast', database=None)\n"
DRIVER = """\
import signal
import sys
from pathlib import Path
from mutating import __main__, children, packages, trials

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
__main__.ROOT = Path.cwd()
children.PRELOADED = ()
trials.SPARE = 1
packages.PACKAGES.clear()
packages.PACKAGES["small"] = packages.Package(("controller",), ("tests",))
__main__.main(["--only", "small", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for folder in ("controller", "tests"):
        (root / folder).mkdir()
    (root / "controller" / "__init__.py").touch()
    (root / "controller" / "small.py").write_text(SMALL)
    (root / "tests" / "conftest.py").write_text(CONFTEST)
    (root / "tests" / "test_small.py").write_text(TESTS)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['real']\n")
    return root


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def scratch(folder: Path) -> Path:
    """Where the command has its temporary files; the name says whose."""
    return folder / f"scratch-{folder.name}"


def command(project: Path, folder: Path, *options: str, accepted: str = "") -> subprocess.Popen[str]:
    """`./hack/mutants` on the project; what it writes goes to the folder."""
    scratch(folder).mkdir()
    (folder / "accepted.toml").write_text(accepted)
    files = ["--equivalent", str(folder / "accepted.toml"), "--json", str(folder / "told.json")]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *files, *options],
        cwd=project,
        env={"PYTHONPATH": str(ROOT / "hack"), "PATH": "/usr/bin:/bin", "TMPDIR": str(scratch(folder))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_verdicts_on_a_small_project_which_stays_as_it_is(project, tmp_path):
    before = content(project)
    equivalent = entry(file="controller/small.py", function="larger", before="a > b", after="a >= b")
    run = command(project, tmp_path, "--least", "95", accepted=equivalent)
    printed, complaint = run.communicate()
    trials = json.loads((tmp_path / "told.json").read_text())["trials"]
    assert {(trial["before"], trial["after"]): trial["verdict"] for trial in trials} == {
        ("BOTTOM = 2", "BOTTOM = 3"): "killed",
        ("BOTTOM = 2", "BOTTOM = 1"): "killed",
        ("BOTTOM = 2", "BOTTOM = 4"): "killed",
        ("while number < BOTTOM", "while False"): "killed",
        ("number < BOTTOM", "number <= BOTTOM"): "killed",
        ("number < BOTTOM", "number > BOTTOM"): "killed",
        ("number + size", "number - size"): "timed out",
        ("a if a > b else b", "a if True else b"): "killed",
        ("a if a > b else b", "a if False else b"): "killed",
        ("a > b", "a < b"): "killed",
        ("-a", "a"): "unreached",
        ("a < 0", "a <= 0"): "killed",
        ("a < 0", "a > 0"): "survived",
        ("a < 0", "a < 1"): "killed",
        ("a < 0", "a < -1"): "survived",
    }
    killers = {trial["after"]: trial["killer"] for trial in trials if trial["function"] == "larger"}
    assert all(killer.startswith("FAILED tests/test_small.py::test_larger") for killer in killers.values())
    assert "controller/small.py:18 unwatched: unreached, unary\n  - -a\n  + a\n" in printed
    assert (run.returncode, complaint.splitlines()[-1]) == (1, "Error: 80.0 % killed, fewer than 95 %")
    assert content(project) == before
    assert [*scratch(tmp_path).iterdir()] == []


@pytest.mark.slow
def test_enough_killed_is_a_success(project, tmp_path):
    run = command(project, tmp_path, "--sample", "1", "--seed", "1", "--least", "0")
    run.communicate()
    assert run.returncode == 0
    assert len(json.loads((tmp_path / "told.json").read_text())["trials"]) == 1


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_leaves_nothing(project, tmp_path, left_of, how):
    run = command(project, tmp_path)
    assert run.stderr is not None
    assert run.stderr.readline() == "tests without a fault ...\n"
    run.send_signal(how)
    _, complaint = run.communicate()
    assert (run.returncode, complaint.strip()) == (1, "Aborted!")
    assert left_of(scratch(tmp_path)) == [str(scratch(tmp_path))]
    assert [*scratch(tmp_path).iterdir()] == []


def test_tests_that_fail_without_a_fault_are_told_and_nothing_is_tried(project, tmp_path):
    wrong = project / "tests" / "test_wrong.py"
    wrong.write_text("def test_wrong():\n    assert 1 == 2\n")
    run = command(project, tmp_path)
    _, complaint = run.communicate()
    wrong.unlink()
    assert run.returncode == 1
    assert "FAILED tests/test_wrong.py::test_wrong" in complaint
    assert not (tmp_path / "told.json").exists()
