"""What tests on real parts share: the lab on the path, the mark, and no skipping.

A real test that cannot run fails with the remedy: ./hack/setup makes it possible.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# Bytecode is kept whatever the environment says, also by processes that tests start: to compile all tests anew takes
# each pytest worker eight seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TESTS = Path(__file__).parent
REAL = TESTS / "real"
"""Its tests are all marked `real`."""
REAL_S = 600
"""Seconds of a real test, and of what is started for the first that needs it: on a busy machine that takes minutes."""

sys.path.insert(0, str(TESTS.parent / "hack"))


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis' own number of examples, and a quarter of it without slow tests. A busy machine is no failure.

    Examples are the same everywhere, each time: what fails, fails again. `./hack/fuzz` looks for new ones, on the path
    of its seed.
    """
    examples = 25 if "not slow" in config.option.markexpr else 100
    fuzzing = "BALLAST_FUZZ_STEPS" in os.environ
    settings.register_profile("ballast", deadline=None, max_examples=examples, derandomize=not fuzzing, database=None)
    settings.load_profile("ballast")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as processors: tests of deadlines wait for them."""
    return 3 * len(os.sched_getaffinity(0)) // 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays, 400,000 objects: it is not searched for garbage, neither now nor between tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(REAL):
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(REAL_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A real test that is skipped has not been passed."""
    report = yield
    if report.skipped and item.get_closest_marker("real") is not None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; real tests must run: ./hack/setup makes that possible"
    return report


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command sets up the process's logging, which other tests share."""
    root, ours = logging.getLogger(), logging.getLogger("controller")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def descriptors() -> Callable[[], list[str]]:
    """What is open in this process now. What earlier tests left is closed before, not whenever garbage is collected."""
    gc.collect()
    return lambda: os.listdir("/proc/self/fd")


@pytest.fixture
def one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replays run in the test's own process: it takes a second of CPU to start two others."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})


@pytest.fixture(scope="session")
def page() -> Callable[[str], str]:
    """`page("crds/README.md")`: its text on one line. Of whatever it tells in numbers, the code has the same."""
    return lambda path: " ".join((TESTS.parent / path).read_text().split())


@pytest.fixture
def left_of() -> Callable[[Path], list[str]]:
    """`left_of(root)`: what is still there of the lab in the folder `root`.

    Command lines of processes that name it, mounts that do, cgroups, the folder itself.
    """

    def left(root: Path) -> list[str]:
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if root.name in line]
        # Others' cgroups come and go meanwhile, which `os.walk` takes as it comes.
        cgroups = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name == root.name]
        return [*_processes_naming(str(root)), *mounts, *cgroups, *([str(root)] if root.exists() else [])]

    return left


def _processes_naming(root: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            names_root = root in line or root.encode() in (process / "environ").read_bytes()
        except OSError:  # gone since the listing
            continue
        if names_root:
            found.append(line)
    return found


@pytest.fixture
def page_reporting(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[bool]]:
    """`page_reporting(module)`: of each replay that the module makes from now on, whether guests report free pages."""

    def told_to(module: ModuleType) -> list[bool]:
        told: list[bool] = []
        replay: Callable[..., object] = module.replay

        def replayed(*what: object, free_page_reporting: bool) -> object:
            told.append(free_page_reporting)
            return replay(*what, free_page_reporting=free_page_reporting)

        monkeypatch.setattr(module, "replay", replayed)
        return told

    return told_to
