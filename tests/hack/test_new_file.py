"""Files that tools write at their end."""

import click
import pytest
from click.testing import CliRunner

from lab.newfile import NewFile


@click.command()
@click.option("--json", "file", type=NewFile())
def tool(file):
    if file is not None:
        file.write_text("told")


def test_a_file_in_an_existing_folder_is_written(tmp_path):
    assert CliRunner().invoke(tool, ["--json", str(tmp_path / "new.json")]).exit_code == 0
    assert (tmp_path / "new.json").read_text() == "told"
    assert CliRunner().invoke(tool).exit_code == 0


@pytest.mark.parametrize(
    ("name", "told"), [("missing/new.json", "name a file in an existing folder"), (".", "is a directory")]
)
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, name, told):
    found = CliRunner().invoke(tool, ["--json", str(tmp_path / name)])
    assert found.exit_code == 2
    assert told in found.output
