"""Manual pages say what `--help` says, in a form that groff takes."""

import shutil
import subprocess

import pytest

from controller.cli.main import COMMANDS
from releasing.manual import pages

PAGES = pages("1.2.3")


def test_there_is_a_page_for_the_program_and_for_each_command():
    assert PAGES.keys() == {"ballast.1"} | {f"ballast-{name}.1" for name in COMMANDS}


def test_a_page_tells_usage_options_and_the_version():
    page = PAGES["ballast-run.1"]
    assert page.startswith('.TH BALLAST-RUN 1 "" "Ballast 1.2.3"\n.SH NAME\nballast\\-run \\- ')
    assert "\n.SH SYNOPSIS\nballast run [OPTIONS]\n" in page
    assert "\n.TP\n.B \\-\\-policies " in page


def test_lines_that_stay_as_they_are_in_the_help_stay_so():
    assert "\n.nf\nTo begin, look without changing anything" in PAGES["ballast.1"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff formats manual pages, and not every machine has it")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_complain_about(name):
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"], input=PAGES[name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
