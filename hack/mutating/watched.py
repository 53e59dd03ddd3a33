"""pytest's part: which functions each test runs, and how long it takes; later only chosen tests, in a chosen order."""

import json
import sys
import threading
import time
from collections.abc import Generator, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType

import pytest
from hypothesis import Phase, settings

PROFILE = "mutants"
CACHED = type(lru_cache(lambda: None))


def no_shrinking() -> None:
    """A failing example is enough; the smallest takes long to find. To be called when conftest.py has its profile."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(PROFILE, settings(settings.get_profile("ballast"), phases=phases))
    settings.load_profile(PROFILE)


class Survey:
    """Runs all tests and writes, as JSON, what `Coverage` reads."""

    def __init__(self, root: Path, report: Path) -> None:
        self._root = root
        self._report = report
        self._shared: set[CodeType] = set()
        """Code that ran while nothing said for which test: imports, collection, fixtures of more than one test."""
        self._running = self._shared
        self._tests: dict[str, tuple[float, set[CodeType]]] = {}

    def pytest_configure(self) -> None:
        no_shrinking()
        threading.settrace(self._called)
        sys.settrace(self._called)

    def pytest_collection_finish(self) -> None:
        """What a function has kept for a test before it is not called for again: any test may depend on it."""
        values = [value for module in [*sys.modules.values()] for value in vars(module).values()]
        cached = [value.__wrapped__ for value in values if isinstance(value, CACHED)]
        self._shared |= {function.__code__ for function in cached if isinstance(function, FunctionType)}

    def _called(self, frame: FrameType, event: str, _argument: object) -> None:
        """Told of every call; returning None, of nothing else, which keeps tests fast."""
        if event == "call":
            self._running.add(frame.f_code)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        codes: set[CodeType] = set()
        began, self._running = time.monotonic(), codes
        done = yield
        self._running = self._shared
        self._tests[item.nodeid] = time.monotonic() - began, codes
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        before = self._running
        if fixturedef.scope != "function":
            self._running = self._shared
        made = yield
        self._running = before
        return made

    def pytest_unconfigure(self) -> None:
        sys.settrace(None)
        tests = {name: [seconds, self._functions(codes)] for name, (seconds, codes) in self._tests.items()}
        self._report.write_text(json.dumps({"tests": tests, "shared": self._functions(self._shared)}))

    def _functions(self, codes: set[CodeType]) -> list[tuple[str, int]]:
        inside = f"{self._root}/"
        return [
            (code.co_filename.removeprefix(inside), code.co_firstlineno)
            for code in codes
            if code.co_filename.startswith(inside)
        ]


class Chosen:
    """Runs these tests only, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(tests)}

    def pytest_configure(self) -> None:
        no_shrinking()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._places), key=self._place)

    def _place(self, item: pytest.Item) -> int:
        return self._places[item.nodeid]
