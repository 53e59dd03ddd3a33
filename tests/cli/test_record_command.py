"""`ballast record`: which options are refused before anything is recorded."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import main


@pytest.mark.parametrize("option", ["--interval", "--duration"])
@pytest.mark.parametrize("seconds", ["nan", "-1"])
def test_seconds_that_are_no_time_are_a_usage_error(
    option: str, seconds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.cli.record_service.record_host", lambda *_: pytest.fail("recorded"))
    result = CliRunner().invoke(main, ["record", "--out", str(tmp_path / "out.csv"), option, seconds])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output
