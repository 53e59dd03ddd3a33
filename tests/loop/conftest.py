"""What the engine is given by the loop."""

import pytest

from controller.engine.snapshot import Snapshot
from controller.loop import control


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot]:
    """Every snapshot the engine was given."""
    seen: list[Snapshot] = []
    step = control.step

    def spy(state, snapshot, now):
        seen.append(snapshot)
        return step(state, snapshot, now)

    monkeypatch.setattr(control, "step", spy)
    return seen
