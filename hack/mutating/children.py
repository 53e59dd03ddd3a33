"""Runs pytest in forked children: third-party imports are paid once, and a fault ends with its child."""

import ctypes
import importlib
import math
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import CodeType

import pytest

from mutating.mutant import Mutant

PRELOADED = ("kubernetes.client", "libvirt", "numpy", "prometheus_client", "pydantic", "yaml")
"""What takes longest to import; nothing of the project, whose modules each child imports with its own fault."""

OPTIONS = (
    *("-q", "-x", "-m", "not real and not slow", "-p", "no:cacheprovider"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of what has been imported before
)

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""

SLOWNESS = 5
"""Seconds that may pass for each of CPU: on a busy machine, and in tests that wait. What loops for ever is ended by its
CPU, which a busy machine does not change; only what waits for ever takes so long."""

INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM}

MEMORY_LIMIT = 8 * 2**30
"""Bytes of address space: a fault that fills memory for ever gets a MemoryError, not the machine."""


@dataclass(frozen=True, slots=True)
class PytestRun:
    """One run of pytest."""

    plugin: object
    paths: Sequence[str]
    limit: int | None = None
    """Seconds of CPU; `SLOWNESS` times as many may pass. None: as long as it takes."""
    mutant: Mutant | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run."""

    run: PytestRun
    exit_code: int | None
    """pytest's; None if its time was over."""
    output: Path


@dataclass(frozen=True, slots=True)
class _Child:
    run: PytestRun
    process: ForkProcess
    ends_at: float
    folder: Path


class Children:
    """Runs pytest in `tree`, a copy of the project; what the runs write goes to `scratch`."""

    def __init__(self, tree: Path, scratch: Path, jobs: int) -> None:
        self._tree = tree
        self._scratch = scratch
        self._jobs = jobs
        self._started = 0
        for module in PRELOADED:
            importlib.import_module(module)

    def run(self, runs: Iterable[PytestRun]) -> Iterator[Ended]:
        """Run all, `jobs` at a time; each as it ends. Whatever is left when the caller stops is killed."""
        waiting = iter(runs)
        children: list[_Child] = []
        try:
            while True:
                while len(children) < self._jobs and (run := next(waiting, None)) is not None:
                    with _uninterrupted():
                        children.append(self._start(run))
                if not children:
                    return
                child, by_itself = _await_one(children)
                children.remove(child)
                yield _bury(child, by_itself)
        finally:
            for child in children:
                _bury(child, by_itself=False)

    def _start(self, run: PytestRun) -> _Child:
        self._started += 1
        folder = self._scratch / str(self._started)
        folder.mkdir()
        process = multiprocessing.get_context("fork").Process(target=_pytest, args=(self._tree, folder, run))
        process.start()
        ends_at = math.inf if run.limit is None else time.monotonic() + SLOWNESS * run.limit
        return _Child(run, process, ends_at, folder)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals wait: an exception in what Python does around a fork would be lost, and a child known to nobody."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await_one(children: Sequence[_Child]) -> tuple[_Child, bool]:
    """The first child that ends, or whose time is over; and which of both."""
    first = min(children, key=lambda child: child.ends_at)
    left = None if first.ends_at == math.inf else max(0.0, first.ends_at - time.monotonic())
    ended = wait([child.process.sentinel for child in children], left)
    return next(((child, True) for child in children if child.process.sentinel in ended), (first, False))


def _bury(child: _Child, by_itself: bool) -> Ended:
    """With whatever it has started."""
    assert child.process.pid
    with suppress(ProcessLookupError):  # no group: it had only just been started, or nothing is left of it
        os.killpg(child.process.pid, signal.SIGKILL)
    if not by_itself:
        child.process.kill()
    child.process.join()
    shutil.rmtree(child.folder / "tmp", ignore_errors=True)
    code = child.process.exitcode
    late = not by_itself or code in {-signal.SIGXCPU, -signal.SIGKILL}
    return Ended(child.run, None if late else code, child.folder / "output")


def _pytest(tree: Path, folder: Path, run: PytestRun) -> None:
    """In the child: pytest's exit code becomes its own, whatever threads a test has left behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgrp()  # Ctrl-C is the parent's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
    if run.limit is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (run.limit, run.limit))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    if run.mutant is not None:
        sys.meta_path.insert(0, _Finder(tree, run.mutant))
    code = pytest.main([*OPTIONS, f"--basetemp={folder / 'tmp'}", *run.paths], plugins=[run.plugin])
    sys.stdout.flush()
    os._exit(code)


class _Finder(MetaPathFinder):
    """Finds the one module that has the fault."""

    def __init__(self, tree: Path, mutant: Mutant) -> None:
        self._mutant = mutant
        self._path = tree / mutant.file
        self._name = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        return spec_from_file_location(name, self._path, loader=_MutantLoader(name, str(self._path), self._mutant))


class _MutantLoader(SourceFileLoader):
    """Loads it; nothing of it is written anywhere."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, _name: str) -> CodeType:
        with warnings.catch_warnings(action="ignore"):
            return compile(self._mutant.mutated(), self.path, "exec")
