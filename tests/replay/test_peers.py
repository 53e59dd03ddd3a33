"""Peers decide as their projects say they do; numbers by hand from their published rules."""

import numpy as np
import pytest
from made_traces import trace

from controller.replay.controllers import PEERS
from controller.replay.peers import mom, pi, proxmox, qmemman, virtui, vpa
from controller.replay.run import replay
from controller.replay.trace import Series, Trace

GIB = 1024.0
MB = 10**6


@pytest.mark.parametrize(
    ("size", "unused", "free", "target"),
    [(1, 0.8, 0.50, 1.05), (2, 1, 0.10, 1.90), (2, 0.1, 0.10, 2), (2, 0.05, 0.04, 1.93), (1, 0, 0.50, 1.20)],
)
def test_mom_sizes_a_guest(size, unused, free, target):
    wanted = mom.targets(np.array([size * GIB]), np.array([(size - unused) * GIB]), free, np.array([16 * GIB]))

    assert wanted[0] == pytest.approx(target * GIB)


def test_mom_leaves_small_changes():
    assert mom.targets(np.array([1000.0]), np.array([801.0]), 0.5, np.array([1002.0])).tolist() == [1000.0]


def guest(size, minimum=1000, free=0, shares=1000, maximum=2000):
    return proxmox.ProxmoxGuest(size * MB, minimum * MB, maximum * MB, free * MB, shares)


FULL = guest(2000, minimum=2000, shares=2000)

PROXMOX = [
    ([guest(1000, shares=2000), guest(1000)], 90, [1060, 1030]),
    ([guest(1000, shares=2000), guest(1000)], 150, [1100, 1050]),
    ([guest(1000, shares=2000), guest(1000)], 270, [1100, 1090]),
    ([FULL, guest(1000)], 18, [2000, 1018]),
    ([FULL, guest(1000)], 500, [2000, 1100]),
    ([FULL, guest(1007), guest(1000, free=512)], 11, [2000, 1018, 1000]),
    ([FULL, guest(1007), guest(1000, free=512)], 80, [2000, 1087, 1000]),
    ([FULL, guest(1007), guest(1000, free=512)], 200, [2000, 1107, 1000]),
]


@pytest.mark.parametrize(("guests", "goal", "sizes"), PROXMOX)
def test_proxmox_shares_out_a_goal(guests, goal, sizes):
    assert [size // MB for size in proxmox.cycle(guests, goal * MB, step=100 * MB)] == sizes


@pytest.mark.parametrize(
    ("goal", "sizes"), [(180, [1120, 1060]), (270, [1180, 1090]), (600, [1300, 1300]), (900, [1600, 1300])]
)
def test_proxmox_reaches_a_goal_over_several_cycles(goal, sizes):
    guests, left = [guest(1000, shares=2000), guest(1000)], goal * MB
    for _ in range(20):
        new = proxmox.cycle(guests, left, step=100 * MB)
        for one, size in zip(guests, new, strict=True):
            left -= size - one.size
            one.free += size - one.size
            one.size = size

    assert [one.size // MB for one in guests] == sizes


@pytest.mark.parametrize("goal", [10, -10, 0])
def test_proxmox_leaves_small_goals(goal):
    assert proxmox.cycle([guest(1500, free=900)], goal * MB) == [1500 * MB]


def test_proxmox_takes_from_the_rich_first():
    assert proxmox.cycle([guest(1500, free=900), guest(1500)], -50 * MB) == [1450 * MB, 1500 * MB]


def test_qmemman_prefers_three_tenths_more_than_is_used():
    assert qmemman.preferred(np.array([10, 1000, 4000]), np.full(3, 4096)).tolist() == [200, 1300, 4096]


def test_qmemman_shares_a_surplus_by_preference():
    size, used = np.array([1000.0, 1000.0]), np.array([1000.0, 500.0])

    assert qmemman.targets(size, used, np.full(2, 9000.0), free=1900).tolist() == pytest.approx([2600, 1300])


def test_qmemman_hands_on_what_a_guest_cannot_take():
    size, used = np.array([1000.0, 1000.0]), np.array([1000.0, 500.0])

    assert qmemman.targets(size, used, np.array([1400, 9000]), free=1900).tolist() == pytest.approx([1400, 2500])


def test_qmemman_first_brings_donors_down_when_memory_is_short():
    size, used = np.array([1000.0, 2000.0]), np.array([1000.0, 1400.0])

    assert qmemman.targets(size, used, np.full(2, 9000.0), free=0).tolist() == pytest.approx([1000, 1820])


def test_qmemman_then_gives_what_is_free_to_the_others_by_preference():
    size, used = np.array([1000.0, 1820.0, 500.0]), np.array([1000.0, 1400.0, 500.0])

    wanted = qmemman.targets(size, used, np.full(3, 9000.0), free=195)

    assert wanted.tolist() == pytest.approx(
        [1000 + 195 * 1300 / 3770, 1820 + 195 * 1820 / 3770, 500 + 195 * 650 / 3770]
    )


def test_qmemman_gives_only_what_donors_have_given_back():
    demand = {"a": [400.0] * 3 + [900.0] * 9, "b": [900.0] * 3 + [10.0] * 9}

    result = replay(trace(maximum=2000, **demand), qmemman.Qmemman(), 2000)

    assert result.figures.overcommit < 1e-3


def test_pi_takes_what_the_host_lacks_and_never_what_is_used():
    size, used, maximum = np.array([4000.0, 4000.0]), np.array([100.0, 3900.0]), np.array([8000.0, 8000.0])

    assert pi.targets(size, used, maximum, available=0.12, integral=0.4).tolist() == pytest.approx([3520, 3900 + 100])


def test_pi_takes_used_memory_when_the_host_is_full():
    assert pi.targets(np.array([4000.0]), np.array([3900.0]), np.array([8000.0]), 0.0, 1.0).tolist() == [2800]


def test_pi_leaves_a_third_and_small_changes():
    maximum = np.array([9000.0])

    assert pi.targets(np.array([3000.0]), np.array([0.0]), maximum, 0.0, 1.0).tolist() == [3000]
    assert pi.targets(np.array([9000.0]), np.array([0.0]), maximum, 0.0, 1.0).tolist() == [7650]


def test_vpa_recommends_the_bucket_of_the_peak():
    peaks = vpa.PeakHistogram(0.0)
    for time, use in enumerate([100.0, 900.0, 300.0]):
        peaks.add(time, use)

    assert peaks.percentile(0.9) >= 900
    assert peaks.percentile(0.9) < 900 * 1.06


def test_vpa_lets_a_day_with_a_peak_fade():
    peaks = vpa.PeakHistogram(0.0)
    peaks.add(0, 4000.0)
    recommended = []
    for day in range(1, 8):
        peaks.add(day * 86400.0, 1000.0)
        recommended.append(round(peaks.percentile(0.9), -3))

    assert recommended == [4000, 4000, 1000, 1000, 1000, 1000, 1000]


def test_vpa_gives_more_after_a_kill():
    assert [vpa.after_kill(peak) for peak in (100.0, 1000.0)] == [200, 1200]


@pytest.mark.parametrize(
    ("used", "target"),
    [(0.65, 13000), (0.64, 10000), (0.56, 10000), (0.55, 9000), (0.10, 9000), (1.0, 13000)],
)
def test_virtui_sizes_a_guest(used, target):
    assert virtui.targets(np.array([10000.0]), np.array([used]), np.array([64000.0])).tolist() == pytest.approx(
        [target]
    )


def test_virtui_grows_no_further_than_the_maximum():
    assert virtui.targets(np.array([10000.0]), np.array([0.9]), np.array([11000.0])).tolist() == [11000]


@pytest.mark.parametrize(("size", "maximum", "target"), [(9000, 64000, 8192), (4000, 64000, 4000), (6000, 6000, 6000)])
def test_virtui_leaves_eight_gib_or_the_maximum(size, maximum, target):
    wanted = virtui.targets(np.array([size], float), np.array([0.1]), np.array([maximum], float))

    assert wanted.tolist() == [target]


def test_virtui_waits_20_s_after_boot_and_10_s_between_shrinks():
    result = replay(trace(maximum=40000, a=[100.0] * 45), virtui.Virtui(), 18000)

    begun = result.record.times[0][1:] - np.array([1800, 1620, 1458]) / 921.6 / 2
    assert begun.tolist() == pytest.approx([20, 30, 40])


def test_virtui_grows_at_every_look_and_minds_no_host():
    result = replay(trace(maximum=40000, a=[9900.0] * 8, b=[9900.0] * 8), virtui.Virtui(), 20000)

    assert result.record.allocations[0].tolist() == pytest.approx([10000, 13000, 16900])
    assert result.figures.overcommit > 0


def gap(first, last, demand):
    """Samples every second but from `first` to `last`, where the guest's newest report is a second younger."""
    times = np.concatenate([np.arange(first + 1.0), [last, last + 1.0]])
    return Trace(("a",), (Series(times, np.full(len(times), demand), np.full(len(times), 40000.0)),))


def test_virtui_acts_once_on_a_report():
    result = replay(gap(3, 20, 30000.0), virtui.Virtui(), 10000)

    *steps, half_way, last = result.record.allocations[0].tolist()
    assert [*steps, last] == pytest.approx([10000, 13000, 16900, 21970])
    assert steps[-1] < half_way < last


@pytest.mark.parametrize(("newest", "shrinks"), [(16, 0), (17, 1)])
def test_virtui_skips_reports_that_are_two_looks_old(newest, shrinks):
    result = replay(gap(newest - 1, 29, 100.0), virtui.Virtui(), 10000)

    assert len(result.record.allocations[0]) - 1 == shrinks


def test_the_clairvoyant_harms_nobody_while_demand_fits():
    figures = replay(trace(a=[100, 900, 200, 50, 1], b=[50, 100, 700, 900, 1]), PEERS["clairvoyant"](), 1000).figures

    assert (figures.harm, figures.slack, figures.looks_per_domain_hour) == (0, 0, 0)


def test_the_clairvoyant_misses_just_what_does_not_fit():
    figures = replay(trace(a=[900] * 5, b=[600] * 5), PEERS["clairvoyant"](), 1000).figures

    assert figures.harm == pytest.approx(500 / 1500)
    assert figures.worst_domain_shortfall == pytest.approx(1 / 3)


def test_static_max_knows_no_shortfall_and_static_shares_no_overcommit():
    demand = trace(a=[900, 10, 900, 10], b=[900, 900, 10, 10], maximum=1000)
    static, most = (replay(demand, PEERS[name](), 1000).figures for name in ("static", "max"))

    assert (static.overcommit, static.reallocations_per_domain_hour) == (0, 0)
    assert (most.shortfall, most.reallocations_per_domain_hour) == (0, 0)
    assert most.overcommit > 0


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_replays_alike_twice(name):
    values = np.random.default_rng(7).integers(0, 2000, (3, 90)).astype(float).tolist()
    demand = trace(step=2, maximum=2048, a=values[0], b=values[1], c=values[2][:40])

    assert replay(demand, PEERS[name](), 4000).figures == replay(demand, PEERS[name](), 4000).figures


@pytest.mark.parametrize(
    ("name", "looks"),
    [("static", 0), ("mom", 720), ("proxmox", 360), ("pi", 720), ("vpa", 60), ("virtui", 1800), ("clairvoyant", 0)],
)
def test_peers_look_at_their_own_interval(name, looks):
    demand = trace(step=1, a=[100.0] * 1801)

    assert replay(demand, PEERS[name](), 4000).figures.looks_per_domain_hour == looks
