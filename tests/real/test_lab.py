"""The lab itself: what it shows is true, and nothing of it stays behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import libvirt
import pytest

from controller.cli import endpoint
from lab.ballast import BallastProcess
from lab.daemons import Daemons, alive, end, sweep, until
from lab.errors import LabError
from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd

LAB = Path(__file__).parents[2] / "hack"
PATIENCE_S = 60.0


def test_guest_boots_and_its_balloon_reaches_the_definition(start_guests):
    (guest,) = start_guests(GuestSpec("booted", maximum=256, current=192))
    assert guest.actual() == 192
    assert guest.statistics()["usable"] > 0


def test_memory_in_use_shows_up_as_demand(start_guests):
    (guest,) = start_guests(GuestSpec("user"))
    idle = guest.demand()
    guest.use(64)
    guest.wait_fresh()
    assert guest.demand() - idle == pytest.approx(64, abs=3)
    guest.use(0)
    guest.wait_fresh()
    assert guest.demand() == pytest.approx(idle, abs=3)


@pytest.mark.parametrize("autodeflate", [False, True])
def test_balloon_really_moves(start_guests, autodeflate):
    (guest,) = start_guests(GuestSpec("moved", autodeflate=autodeflate))
    guest.domain.setMemory(160 * 1024)
    guest.wait_until(lambda moved: moved.actual() == 160, PATIENCE_S, "at 160 MiB")
    guest.domain.setMemory(256 * 1024)
    guest.wait_until(lambda moved: moved.actual() == 256, PATIENCE_S, "back at 256 MiB")


def test_a_balloon_that_is_at_rest_is_so_for_libvirt_as_well(start_guests):
    (guest,) = start_guests(GuestSpec("resting"))
    for mib in (160, 256):
        guest.domain.setMemory(mib * 1024)
        guest.wait_until(lambda resting, mib=mib: resting.has(mib), PATIENCE_S, f"at {mib} MiB")
        assert f"<currentMemory unit='KiB'>{mib * 1024}<" in guest.domain.XMLDesc()


def test_an_agent_is_listened_to_before_it_says_anything(private_libvirtd, monkeypatch):
    lives = []

    def listening(guest: Guest, *given: object) -> None:
        take(guest, *given)
        lives.append(guest.domain.state()[0])

    take = Guest._take
    monkeypatch.setattr(Guest, "_take", listening)
    for persistent in (False, True):
        with Guest(private_libvirtd, GuestSpec("heard", persistent=persistent)) as guest:
            guest.wait_ready()
    assert lives == [libvirt.VIR_DOMAIN_PAUSED] * 2


def test_statistics_are_news_when_the_guest_took_them_since(monkeypatch):
    """What comes first may have been under way."""
    guest, told = object.__new__(Guest), [10, 10, 11, 11, 12]
    monkeypatch.setattr(Guest, "statistics", lambda _: {"last_update": told.pop(0)})
    come = guest.news()
    assert [come() for _ in range(4)] == [False, False, False, True]


def test_a_ballast_that_answers_late_is_waited_for_longer_than_its_own_commands_do(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.1)
    (tmp_path / "policies").mkdir()
    with BallastProcess(tmp_path / "policies", "test:///default", tmp_path / "log", keep=False) as ballast:
        ballast.wait_for_domains(0)
        os.kill(ballast.pid, signal.SIGSTOP)
        going_on = threading.Timer(0.5, os.kill, (ballast.pid, signal.SIGCONT))
        going_on.start()
        state = ballast.state()
        going_on.join()
    assert state["node"]["name"]


def test_profile_is_followed(start_guests):
    (guest,) = start_guests(GuestSpec("profiled"))
    guest.run_profile([(0, 10), (5, 10), (5, 50)])
    guest.wait_until(lambda profiled: profiled.wanted()[-1:] == [50], PATIENCE_S, "step to 50 MiB")
    assert guest.wanted() == [10, 50]


def test_workload_counts_the_operations_it_does_in_its_memory(start_guests):
    (guest,) = start_guests(GuestSpec("serving"))
    guest.use(64)
    guest.serve(1000)
    guest.wait_until(lambda serving: serving.evidence().operations >= 1000, PATIENCE_S, "1,000 operations done")
    guest.serve(0)
    guest.use(64)  # the newest order is obeyed: the last batch is done
    done = guest.evidence().operations
    guest.wait_fresh()
    assert guest.evidence().operations == done


def test_memory_pushed_to_swap_is_told_as_lost_and_as_held_again(start_guests):
    (guest,) = start_guests(GuestSpec("pushed", maximum=256, swap=256))
    guest.use(150)
    assert guest.wait_for("held").values[2] == 0
    guest.domain.setMemory(150 * 1024)
    lost = guest.wait_for("lost")
    assert lost.values[1] == 150
    assert lost.values[2] >= 0
    guest.domain.setMemory(256 * 1024)
    guest.wait_until(lambda pushed: _faults(pushed, lost.at), PATIENCE_S, "all held again")
    assert _faults(guest, lost.at)[0] > 0  # how many depends on how much the kernel reads ahead
    assert guest.evidence().swapped_out_pages > 0


def test_files_that_are_read_fill_the_page_cache(start_guests):
    (guest,) = start_guests(GuestSpec("reading", swap=128))
    before = guest.statistics()["disk_caches"]
    guest.read_files(64)
    guest.wait_fresh()
    assert guest.statistics()["disk_caches"] - before >= 64 * 1024


def _faults(guest: Guest, at: float) -> list[int]:
    """Major faults before each time that all was held again since `at`."""
    return [event.values[2] for event in guest.events() if event.at > at and event.word == "held"]


def test_more_than_the_allocation_without_swap_is_an_oom_kill_in_evidence(start_guests):
    (guest,) = start_guests(GuestSpec("killed", current=160))
    with pytest.raises(LabError, match="OOM killer ended the workload at 200 MiB"):
        guest.use(200)
    assert guest.evidence().oom_kills == 1
    assert guest.evidence().panics == 0
    guest.use(20)


def test_more_than_the_allocation_with_swap_is_swapping(start_guests):
    (guest,) = start_guests(GuestSpec("swapping", current=160, swap=128))
    guest.use(140, wait=False)
    guest.wait_until(lambda swapping: swapping.statistics()["swap_in"] > 0, PATIENCE_S, "swapping in")
    assert guest.evidence().oom_kills == 0


def test_panic_freezes_statistics_and_shows_in_evidence(start_guests):
    (guest,) = start_guests(GuestSpec("panicked"))
    assert guest.evidence().panics == 0
    guest.panic()
    assert guest.evidence().panics == 1
    assert guest.alive()


def test_guests_outlive_a_killed_libvirtd_and_are_found_again(private_libvirtd, start_guests):
    (guest,) = start_guests(GuestSpec("survivor"))
    before = private_libvirtd.pid
    private_libvirtd.restart()
    guest.reconnect(private_libvirtd)
    assert private_libvirtd.pid != before
    assert guest.alive()
    guest.wait_fresh()


def test_nothing_is_left_after_the_context(left_of):
    with PrivateLibvirtd() as daemon, Guest(daemon, GuestSpec("last")):
        pass
    assert left_of(daemon.root) == []


def test_nothing_is_left_after_sigkill_of_the_owner(orphaned, left_of):
    owner, root, _ = orphaned
    owner.kill()
    until(lambda: left_of(root) == [], PATIENCE_S, "end of all that was orphaned")


def test_a_daemon_that_ends_at_once_is_told_with_its_log():
    daemons = Daemons()
    log = daemons.root / "failing.log"
    pid = daemons.start(["sh", "-c", "echo disk full"], log)
    with pytest.raises(LabError, match="failing: it ended; its log ends:\ndisk full"):
        daemons.wait(pid, log, lambda: False, 30)
    daemons.stop()


def test_what_is_kept_outlives_its_owner_until_it_is_ended(left_of):
    script = f"""
import sys
sys.path.insert(0, {str(LAB)!r})
from lab.daemons import Daemons
daemons = Daemons()
daemons.start(["sleep", "1000"], daemons.root / "sleep.log")
daemons.keep()
print(daemons.root)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    root = Path(done.stdout.strip())
    assert alive(root)
    end(root)
    assert not alive(root)
    assert left_of(root) == []


def test_what_even_the_reaper_could_not_end_is_swept_at_the_next_start(orphaned, left_of):
    owner, root, reaper = orphaned
    os.kill(reaper, signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert len(left_of(root)) == 3  # libvirtd, guest, folder
    sweep()
    until(lambda: left_of(root) == [], PATIENCE_S, "end of libvirtd and guest")


@pytest.fixture
def orphaned(monkeypatch):
    """A lab with one guest in a process of its own: the process, its folder, its reaper's process id.

    It is where no other process that begins a lab sweeps it.
    """
    script = f"""
import signal, sys
sys.path.insert(0, {str(LAB)!r})
from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd
daemon = PrivateLibvirtd()
guest = Guest(daemon, GuestSpec("orphan"))
print(daemon.root, daemon.reaper_pid, flush=True)
signal.pause()
"""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        environment = os.environ | {"TMPDIR": folder}
        with subprocess.Popen(
            [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
        ) as owner:
            root, reaper = owner.stdout.readline().split()
            yield owner, Path(root), int(reaper)
            owner.kill()
