"""What is tried, and which tests have to notice."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    """Code, and the fast tests it answers to; paths from the root of the project, folders with all that is in them."""

    code: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, root: Path) -> list[str]:
        """Its Python files, sorted. OSError: a path is not there."""
        found = []
        for path in self.code:
            if not (root / path).exists():
                raise FileNotFoundError(f"{path} is not there: correct the table in hack/mutating/packages.py")
            found += [root / path] if (root / path).is_file() else [*(root / path).rglob("*.py")]
        return sorted(str(path.relative_to(root)) for path in found)


LOOP = tuple(f"tests/loop/test_{name}.py" for name in ("control_loop", "felt_growth", "system_clock"))
"""The others of that folder are about policy files, and about what is told."""
TOLD = "tests/loop/test_decision_history.py"

PACKAGES = {
    "engine": Package(
        ("controller/engine", "controller/planner.py"),
        ("tests/engine", *LOOP, TOLD),
    ),
    "forecast": Package(("controller/forecast",), ("tests/forecast",)),
    "host": Package(("controller/host",), ("tests/host",)),
    "loop": Package(("controller/loop",), LOOP),
    "aggregation": Package(
        ("controller/aggregation",), ("tests/aggregation", "tests/cluster/test_cluster_numbers_told.py")
    ),
    "cluster": Package(("controller/cluster",), ("tests/cluster", "tests/aggregation")),
    "observe": Package(("controller/observe",), ("tests/observe", *LOOP, TOLD, "tests/cli/test_explain_command.py")),
}
