"""Ballast as its users run it, on real guests: `ballast run` as a child process, watched from outside."""

import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import libvirt
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from controller.cli.main import main
from lab.ballast import BallastProcess
from lab.daemons import until
from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd

METADATA = '<ballast:memory xmlns:ballast="https://ballast.dev/libvirt/v1alpha1" optOut="yes"/>'
PATIENCE_S = 60.0


def policy(**spec: Any) -> dict[str, Any]:
    """Quick in all respects, so that tests are."""
    quick = {
        "mode": "Enforce",
        "limits": {"minimum": "96Mi", "minimumPercent": 1},
        "headroom": {"quantity": "48Mi"},
        "spare": "Reclaim",
    }
    advanced = {"shrink": {"stabilizationSeconds": 3}, "monitoring": {"maximumIntervalSeconds": 1}}
    return {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": "test"},
        "spec": quick | spec | {"advanced": advanced | spec.get("advanced", {})},
    }


class Controlled:
    """A running `ballast run` and what it says."""

    def __init__(self, stack: ExitStack, folder: Path, uri: str, **spec: Any) -> None:
        self.file = folder / "policies" / "policy.yaml"
        self.file.parent.mkdir(exist_ok=True)
        self.set(**spec)
        self._stack, self._folder, self._uri = stack, folder, uri
        self.log = folder / "ballast.log"
        self.process = self.start()

    def start(self) -> BallastProcess:
        self.process = self._stack.enter_context(BallastProcess(self.file.parent, self._uri, self.log, keep=False))
        self.process.wait_for_domains(0)
        until(self.ready, PATIENCE_S, "first look done")
        return self.process

    def set(self, **spec: Any) -> None:
        self.file.write_text(yaml.safe_dump(policy(**spec)))

    def domain(self, guest: Guest) -> dict[str, Any]:
        every = {domain["name"]: domain for domain in self.process.state()["domains"]}
        return every[guest.spec.name]

    def reason(self, guest: Guest) -> str:
        return str(self.domain(guest)["reason"])

    def wait_reason(self, guest: Guest, reason: str) -> None:
        until(lambda: self.reason(guest) == reason, PATIENCE_S, f"{guest.spec.name} reported as {reason}")

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def reallocations(self, reason: str) -> float:
        """By its metrics."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        (moves,) = [each for each in families if each.name == "ballast_reallocations"]
        return sum(each.value for each in moves.samples if each.labels.get("reason") == reason)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        address = self.process.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(address, timeout=PATIENCE_S)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.fixture
def control(private_libvirtd: PrivateLibvirtd, tmp_path: Path) -> Iterator[Callable[..., Controlled]]:
    """`control(**spec)` runs Ballast under a policy with that spec; no traceback may appear in its log."""
    with ExitStack() as stack:
        yield lambda **spec: Controlled(stack, tmp_path, private_libvirtd.uri, **spec)
    assert "Traceback" not in (tmp_path / "ballast.log").read_text()


@pytest.mark.parametrize("autodeflate", [False, True])
def test_a_step_of_demand_grows_the_guest_in_time(start_guests, control, autodeflate):
    (guest,) = start_guests(GuestSpec("step", maximum=384, current=160, swap=128, autodeflate=autodeflate))
    guest.use(30)
    control()
    guest.use(180)
    guest.wait_until(lambda guest: guest.actual() >= guest.demand() + 30, PATIENCE_S, "grown beyond its demand")
    assert guest.actual() >= 180
    assert guest.evidence().oom_kills == 0


def test_a_guest_that_is_felt_to_grow_gets_more_before_it_has_told(start_guests, control):
    """Statistics that come as it begins may be quicker than what the host feels: such a step is made again."""
    (guest,) = start_guests(GuestSpec("felt", maximum=512, swap=256, free_page_reporting=True))
    controlled = control()

    def felt() -> bool:
        guest.use(40)
        guest.wait_until(lambda guest: guest.actual() < 200, PATIENCE_S, "shrunk")
        guest.use(220)
        guest.wait_until(lambda guest: guest.actual() >= 260, PATIENCE_S, "grown")
        return controlled.reallocations("FeltGrow") > 0

    until(felt, 2 * PATIENCE_S, "given memory because it was felt to grow")
    assert guest.evidence().oom_kills == 0


def test_an_idle_guest_shrinks_and_never_below_demand(start_guests, control):
    (guest,) = start_guests(GuestSpec("idle", maximum=512))
    guest.use(40)
    controlled = control()

    def settled(guest: Guest) -> bool:
        assert guest.actual() >= guest.demand()
        return guest.actual() < 256 and controlled.reason(guest) == "WithinThreshold"

    guest.wait_until(settled, PATIENCE_S, "shrunk to its need")
    assert guest.evidence().oom_kills == 0


def test_two_guests_swap_memory_under_a_budget_too_small_for_both(start_guests, control):
    first, second = start_guests(
        GuestSpec("first", maximum=384, current=240, swap=256), GuestSpec("second", maximum=384, current=240, swap=256)
    )
    control(budget={"maximum": "480Mi"})
    sums = []

    def has(guest: Guest, mib: int) -> Callable[[Guest], bool]:
        def condition(_: Guest) -> bool:
            before, middle, after = first.actual(), second.actual(), first.actual()
            if before == after:  # so that both are of one moment
                sums.append(before + middle)
            return guest.actual() >= mib

        return condition

    for one, other in ((first, second), (second, first)):
        other.use(20)
        one.use(220)
        one.wait_until(has(one, 290), PATIENCE_S, "given what the other does not use")
    assert max(sums) <= 480
    assert first.evidence().oom_kills + second.evidence().oom_kills == 0


def test_a_balloon_that_does_not_move_is_stuck_and_not_hammered(start_guests, control):
    (guest,) = start_guests(GuestSpec("stiff", maximum=256))
    guest.clutter(100_000)
    controlled = control(headroom={"quantity": "12Mi"}, advanced={"threshold": {"percent": 1, "quantity": "4Mi"}})
    controlled.wait_reason(guest, "Stuck")
    then = controlled.domain(guest)
    until(lambda: controlled.domain(guest)["looks"] >= then["looks"] + 5, PATIENCE_S, "looked at again")
    now = controlled.domain(guest)
    assert (now["reason"], now["reallocations"]) == ("Stuck", then["reallocations"])
    assert guest.evidence().oom_kills == 0


def test_what_must_not_be_touched_is_left_alone_with_its_reason(start_guests, control):
    paused, bare, opted_out = start_guests(
        GuestSpec("paused", maximum=256),
        GuestSpec("bare", maximum=256, balloon=False),
        GuestSpec("opted-out", maximum=256, metadata=METADATA),
    )
    paused.domain.suspend()
    controlled = control()
    for guest, reason in ((paused, "Paused"), (bare, "NoBalloon"), (opted_out, "OptedOut")):
        controlled.wait_reason(guest, reason)
    until(lambda: controlled.domain(opted_out)["looks"] >= 1, PATIENCE_S, "opted-out looked at")
    assert [domain["reallocations"] for domain in controlled.process.state()["domains"]] == [0, 0, 0]
    assert opted_out.actual() == 256


def test_observe_moves_nothing_and_says_what_it_would_do(start_guests, control):
    (guest,) = start_guests(GuestSpec("observed", maximum=512))
    controlled = control(mode="Observe")
    controlled.wait_reason(guest, "ForecastShrink")
    assert controlled.domain(guest)["target"] < 512 * 2**20
    assert guest.actual() == 512
    told = CliRunner().invoke(main, ["explain", "observed", "--url", controlled.process.url]).output
    assert "Enforce would change it: 512 MiB -> " in told


def test_a_guest_destroyed_in_the_middle_of_a_step_harms_nobody(start_guests, control):
    doomed, other = start_guests(GuestSpec("doomed", maximum=384), GuestSpec("other", maximum=384))
    controlled = control()
    until(lambda: controlled.domain(doomed)["reallocations"] >= 1, PATIENCE_S, "doomed moved")
    doomed.domain.destroy()
    other.wait_until(lambda guest: guest.actual() < 256, PATIENCE_S, "the other is still served")
    until(lambda: len(controlled.process.state()["domains"]) == 1, PATIENCE_S, "doomed forgotten")


def test_libvirtd_killed_and_restarted_is_found_again(private_libvirtd, start_guests, control):
    (guest,) = start_guests(GuestSpec("survivor", maximum=384, swap=256))
    controlled = control()
    guest.wait_until(lambda guest: guest.actual() < 256, PATIENCE_S, "shrunk before")
    private_libvirtd.kill()
    try:
        until(lambda: not controlled.ready(), PATIENCE_S, "loss noticed")
    finally:
        private_libvirtd.start()
    guest.reconnect(private_libvirtd)
    until(controlled.ready, PATIENCE_S, "connection found again")
    guest.use(200)
    guest.wait_until(lambda guest: guest.actual() >= 230, PATIENCE_S, "grown after")
    assert guest.evidence().oom_kills == 0


def test_a_killed_ballast_leaves_guests_as_they_are_and_its_successor_goes_on(start_guests, control):
    shrinking, growing = start_guests(
        GuestSpec("shrinking", maximum=384), GuestSpec("growing", maximum=384, current=192, swap=256)
    )
    controlled = control(budget={"maximum": "576Mi"})
    growing.use(220, wait=False)
    until(lambda: controlled.domain(shrinking)["reallocations"] >= 1, PATIENCE_S, "reallocation begun")
    os.kill(controlled.process.pid, signal.SIGKILL)
    sizes = shrinking.actual(), growing.actual()
    assert all(size >= 96 for size in sizes)
    controlled.start()
    growing.wait_until(lambda guest: guest.actual() >= 280, PATIENCE_S, "given what it needs by the successor")
    assert shrinking.evidence().oom_kills + growing.evidence().oom_kills == 0


def test_a_panicked_guest_with_frozen_statistics_is_not_shrunk(start_guests, control):
    (guest,) = start_guests(GuestSpec("panicked", maximum=384))
    guest.use(200)
    controlled = control(advanced={"shrink": {"stabilizationSeconds": 3600}})
    until(lambda: controlled.domain(guest)["demand"] is not None, PATIENCE_S, "its demand known")
    guest.panic()
    told = guest.statistics()["last_update"]
    until(lambda: time.time() > told + 3, PATIENCE_S, "what it last told too old to shrink it for")
    controlled.set()
    controlled.wait_reason(guest, "StaleStatistics")
    assert (guest.actual(), controlled.domain(guest)["reallocations"]) == (384, 0)


def test_a_guest_in_need_is_grown_in_the_middle_of_its_backup(private_libvirtd, start_guests, control):
    (guest,) = start_guests(GuestSpec("backed-up", maximum=384, current=160, swap=128))
    guest.use(30)
    controlled = control()
    socket = private_libvirtd.root / "guests" / "backup.sock"
    server = f"<server transport='unix' socket='{socket}'/>"
    guest.domain.backupBegin(f"<domainbackup mode='pull'>{server}</domainbackup>", None)
    guest.use(180)
    guest.wait_until(lambda guest: guest.actual() >= guest.demand() + 30, PATIENCE_S, "grown beyond its demand")
    assert guest.domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    assert controlled.reason(guest) != "Busy"
    guest.domain.abortJob()


def test_a_period_is_put_back_in_the_end_though_the_guest_was_saved_and_restored(
    private_libvirtd, start_guests, control
):
    (guest,) = start_guests(GuestSpec("travelling", maximum=256, stats_period=None, persistent=True))
    controlled = control()
    until(lambda: "<stats period='1'/>" in guest.domain.XMLDesc(), PATIENCE_S, "period set")
    image = str(private_libvirtd.root / "guests" / "travelling.saved")
    guest.domain.save(image)
    until(lambda: not controlled.process.state()["domains"], PATIENCE_S, "gone")
    private_libvirtd.connect().restore(image)
    guest.rejoin(private_libvirtd)
    until(lambda: len(controlled.process.state()["domains"]) == 1, PATIENCE_S, "back")
    assert "<stats period='1'/>" in guest.domain.XMLDesc()
    os.kill(controlled.process.pid, signal.SIGTERM)
    until(lambda: "<stats" not in guest.domain.XMLDesc(), PATIENCE_S, "period put back")


def test_a_shrink_under_way_is_taken_back_when_ballast_ends(start_guests, control):
    (guest,) = start_guests(GuestSpec("shrinking", maximum=512))
    guest.clutter(100_000)  # so that it cannot give all that it is asked for, and its shrink goes on
    controlled = control()
    guest.wait_until(lambda guest: guest.actual() < 500, PATIENCE_S, "a shrink under way")
    os.kill(controlled.process.pid, signal.SIGTERM)
    guest.wait_until(lambda guest: guest.actual() == 512, PATIENCE_S, "given back")


def test_deleting_the_policy_gives_the_definition_back(start_guests, control):
    (guest,) = start_guests(GuestSpec("released", maximum=384))
    controlled = control()
    guest.wait_until(lambda guest: guest.actual() < 256, PATIENCE_S, "shrunk")
    controlled.file.unlink()
    guest.wait_until(lambda guest: guest.actual() == 384, PATIENCE_S, "given back")


def test_a_broken_policy_is_refused_while_the_last_good_one_keeps_working(start_guests, control):
    (guest,) = start_guests(GuestSpec("served", maximum=384, swap=256))
    controlled = control()
    guest.wait_until(lambda guest: guest.actual() < 256, PATIENCE_S, "shrunk")
    controlled.file.write_text(controlled.file.read_text().replace("48Mi", "48Qx"))
    until(lambda: "48Qx" in controlled.log.read_text(), PATIENCE_S, "refusal in the log")
    refusal = next(line for line in controlled.log.read_text().splitlines() if "48Qx" in line)
    assert "policy.yaml:" in refusal
    assert "spec.headroom.quantity" in refusal
    guest.use(200)
    guest.wait_until(lambda guest: guest.actual() >= 230, PATIENCE_S, "still grown")


def test_the_state_is_json_and_metrics_are_served(start_guests, control):
    (guest,) = start_guests(GuestSpec("seen", maximum=256))
    controlled = control(mode="Observe")
    until(controlled.ready, PATIENCE_S, "ready")
    status, text = controlled.get("/metrics")
    assert status == 200
    assert 'domain="seen"' in text
    assert controlled.domain(guest)["uuid"] == guest.uuid
