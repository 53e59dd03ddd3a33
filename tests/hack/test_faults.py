"""`./hack/faults`: what it lists, what is good, and what it takes from Ballast's log."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from faulting.__main__ import FAMILIES, FAULTS, _lasting, main
from faulting.fault import FaultResult
from faulting.log import Claim, claims, remarks, tracebacks

ROOT = Path(__file__).parents[2]
TIME = "2025-01-31T12:00:0{}.000+00:00"
NOON = 1738324800.0


def line(second, **fields):
    return json.dumps({"time": TIME.format(second), "level": "info", "message": "", **fields})


def written(tmp_path, *lines):
    log = tmp_path / "ballast.log"
    log.write_text("\n".join(lines))
    return log


def action(second, **fields):
    fields = {"domain": "a", "key": "u@qemu:///system", "from_mib": 300, "to_mib": 200} | fields
    return line(second, event="action", **fields)


def test_claims_are_read_from_the_log_also_where_a_line_was_cut_off(tmp_path):
    log = written(tmp_path, action(1), action(2)[:30])
    assert claims(log) == [Claim(NOON + 1, "u", 200)]


def test_a_person_sees_notices_and_warnings_once_and_no_chatter(tmp_path):
    notice = {"event": "notice", "domain": "a", "reason": "Stuck"}
    lost = {"level": "warning", "message": "lost"}
    log = written(
        tmp_path,
        line(1, message="before", level="error"),
        line(2, **notice),
        line(3, **notice),
        line(4, **lost),
        action(5),
    )
    assert remarks(log, NOON + 2) == ["a: Stuck", "lost"]


def test_a_traceback_is_counted(tmp_path):
    assert tracebacks(written(tmp_path, line(1), "Traceback (most recent call last):")) == 1


def test_a_result_is_good_only_without_harm_loss_and_with_recovery():
    assert FaultResult("f", "", 0, 0, 1.0, "").good
    assert not FaultResult("f", "", 1, 0, 1.0, "").good
    assert not FaultResult("f", "", 0, 1, 1.0, "").good
    assert not FaultResult("f", "", 0, 0, None, "").good


def test_every_fault_is_listed():
    listed = CliRunner().invoke(main, ["--list"])
    assert [text.split()[0] for text in listed.output.splitlines()] == [*FAULTS]


def told(page, heading):
    """What the table below this heading says is done, by fault."""
    section = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("family", "page", "heading"),
    [("host", "hack/EVIDENCE.md", "Faults on a host"), ("cluster", "hack/EVIDENCE.md", "Faults of a cluster")],
)
def test_a_page_tells_of_every_fault_of_a_family_and_no_other_what_is_done(family, page, heading):
    assert told(page, heading) == {fault.name: fault.done for fault in FAMILIES[family]}


def test_only_faults_that_just_go_on_can_be_told_for_how_long():
    lasting = _lasting(FAULTS["guest-trickles"], 600.0)
    assert (lasting.name, lasting.lasts_s) == ("guest-trickles", 600.0)
    assert _lasting(FAULTS["guest-paused"], 600.0) is FAULTS["guest-paused"]
    assert _lasting(FAULTS["guests-at-once"], 600.0) is FAULTS["guests-at-once"]
