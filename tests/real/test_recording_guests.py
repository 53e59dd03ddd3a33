"""`ballast record` on a real guest, ended by a signal."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.replay.trace import read
from lab.daemons import until
from lab.guest import GuestSpec


def test_a_guests_demand_is_recorded_until_a_signal_ends_it(start_guests, private_libvirtd, tmp_path: Path):
    (guest,) = start_guests(GuestSpec("recorded", maximum=256))
    path = tmp_path / "trace.csv.gz"
    command = [sys.executable, "-m", "controller", "record", "--out", str(path), "--connect", private_libvirtd.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recording:
        try:
            until(lambda: path.exists() and path.stat().st_size > 400, 60, "some samples are recorded")
        finally:
            recording.send_signal(signal.SIGTERM)
        printed, _ = recording.communicate(timeout=30)
    trace = read(path)
    assert (recording.returncode, trace.domains) == (0, ("recorded",))
    assert printed == f"{path}: {len(trace.series[0].times)} samples\n"
    assert trace.series[0].maximum[-1] == 256
    assert trace.series[0].demand[-1] == pytest.approx(guest.demand(), abs=4)
    # What a guest uses is in the host's memory; QEMU needs some for itself, but not as much as the guest.
    assert trace.series[0].demand[-1] < trace.series[0].resident[-1] < 2 * 256
