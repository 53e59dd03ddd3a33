"""The sample policies are what a user would write: each passes the check, and they stand beside each other."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import main

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


def test_all_of_them_pass_the_check_together():
    result = CliRunner().invoke(main, ["check", str(SAMPLES)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda path: path.stem)
def test_each_is_named_as_its_file_and_says_what_it_is_for(sample):
    text = sample.read_text()
    assert text.startswith("# ")
    assert f"\n  name: {sample.stem}\n" in text
