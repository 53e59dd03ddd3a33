"""Which tests a mutant has to pass: those that run its function, the fastest first."""

import json
from dataclasses import dataclass
from pathlib import Path

from mutating.mutant import Mutant

Function = tuple[str, int]
"""File and first line."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a run without any fault has told."""

    seconds: dict[str, float]
    """Per test, the fastest first."""
    functions: dict[str, frozenset[Function]]
    """Run by each test."""
    shared: frozenset[Function]
    """Run on behalf of any test: at import, by fixtures of more than one."""

    @classmethod
    def read(cls, report: Path) -> "Coverage":
        """From the report of a `Survey`."""
        told = json.loads(report.read_text())
        tests = sorted(told["tests"].items(), key=lambda test: test[1][0])
        return cls(
            {name: seconds for name, (seconds, _) in tests},
            {name: _functions(codes) for name, (_, codes) in tests},
            _functions(told["shared"]),
        )

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Tests that may notice; all of them where the fault is outside of functions."""
        function = mutant.file, mutant.function_line
        if mutant.function_line == 0 or function in self.shared:
            return [*self.seconds]
        return [name for name in self.seconds if function in self.functions[name]]


def _functions(codes: list[list[object]]) -> frozenset[Function]:
    return frozenset((str(file), int(str(line))) for file, line in codes)
