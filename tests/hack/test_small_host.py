"""The made-up host whose memory somebody eats up: what is eaten is real, and counted."""

from controller.host import meminfo
from faulting.smallhost import MIB, SmallHost
from lab.daemons import until

TOTAL_MIB = 400
GUESTS_MIB = 100
DEADLINE_S = 20


class Guests:
    def resident(self) -> float:
        return GUESTS_MIB


def test_what_is_eaten_is_missing_and_comes_back(tmp_path):
    with SmallHost(TOTAL_MIB, tmp_path / "proc", Guests()) as host:
        free = meminfo.read(host.proc)
        assert free.total == TOTAL_MIB * MIB
        assert 0 <= TOTAL_MIB - GUESTS_MIB - free.available / MIB < 50  # what the eater's interpreter needs
        host.eat(until_mib=200)
        host.eat(until_mib=200)
        until(lambda: meminfo.read(host.proc).available <= 200 * MIB, DEADLINE_S, "eaten")
        assert host.available_mib() > 100
        host.give_back()
        until(lambda: meminfo.read(host.proc).available == 300 * MIB, DEADLINE_S, "given back")
