"""Every constant of behaviour that is a choice rather than a fact of libvirt, QEMU or the kernel.

One frozen value, passed into `step` and from there to the stages, so that a test or a sweep can vary it.
"""

from dataclasses import dataclass

KIB = 2.0**10
MIB = 2.0**20


@dataclass(frozen=True, slots=True)
class Tuning:
    """Seconds and bytes, unless said otherwise."""

    # Everywhere: what failed, or did harm, is tried again after a while, and after twice that if it fails again.
    rest_shortest: float = 5.0
    """Of an order that libvirt refused, of growth that was felt falsely, and of a look at statistics that cannot be
    acted on, however often: the next try may well succeed."""
    rest_first: float = 60.0
    rest_longest: float = 3600.0
    """Of a balloon that is stuck, of lending that the host had no room for, and of pressure of guests that were short
    before: what could not be done now seldom can be a second later, and each try costs a guest reclaim."""

    # Observation: which statistics count.
    stale_after: float = 10.0
    """Silence of a guest that is no cause for alarm, at least: a busy guest may miss some reports of one second."""
    stale_periods: float = 3.0
    """Likewise, in statistics periods or shortest intervals, whichever is longer: one report may be lost, one late."""
    boot_time: float = 120.0
    """From a guest's start or reset until its balloon driver reports, at most."""
    doubt_first: float = 960.0
    doubt_longest: float = 86400.0
    """How long a guest is not believed that could not give up what it promised; doubled each time in between. A kernel
    that could not free its slab for a balloon will not be able to a minute later."""

    newest: float = 2.0
    """A sample may be so old, at most, when memory is taken on its word; two shortest intervals where longer."""

    # Guest pressure.
    low: float = 0.03
    """A guest with less than this part of its allocation usable is about to reclaim in the path of its allocations:
    with less than that unused it reclaims for whatever its balloon asks for."""
    nothing_left: float = 0.015
    nothing_left_bytes: float = 8 * MIB
    """With less usable than this part, or these bytes, a guest may need any amount. Its kernel keeps a little free all
    the while, by swapping and by reading programs again; a small one more."""
    easy: float = 0.25
    """With more than this part usable a guest is not short of memory, however much it reads back: what was swapped out
    comes home into free memory, and Windows counts files read as swapped in."""
    read_back: float = 2.0**-14
    """Part of its allocation, a second, that a guest reads back from disk when it is short: all of it in less than five
    hours, 64 KiB/s of a GiB. A guest that was ever squeezed reads single pages back for hours."""
    read_back_bytes: float = 40 * KIB
    """Likewise in bytes a second, at least: ten pages, each of which somebody waits for."""
    swapped_half_life: float = 600.0
    """After which half of what a guest had to swap out, and has not read back since, is taken to be wanted no more."""
    silent_need: float = 3600.0
    """How long a guest's last word of need counts when it falls silent, as guests do that swap hard."""

    # What the host feels.
    felt_least: float = 8 * MIB
    """Growth of QEMU's resident size since its guest told of it that counts."""
    felt_answer: float = 0.5
    """From a guest's next statistics until its balloon has moved, if that was not timed: a look, a decision, 0.2 s of
    the balloon."""

    # Balloon.
    refusal_in_need: float = 30.0
    """The longest rest after a refusal for a guest under pressure: the job on its domain may end at any time."""
    outside_hold: float = 30.0
    """How long a size set by someone else is left alone, at least; the stabilisation window where longer."""
    miss: float = 4 * MIB
    """By which a balloon may miss its target for good: two of the largest pages that a balloon moves in on x86."""

    prompt: float = 3.0
    """In which a balloon gives what it was asked for, as a rule."""

    # What comes back to the host of what guests give up.
    own_memory: float = 256 * MIB
    """QEMU may hold beyond its guest's memory: 50 to 200 MiB seen (devices, displays, translated code). So much of what
    a guest seems to have touched it may never have."""
    own_varies: float = 16 * MIB
    """With less missing than which nothing is said, and less grown of late than which nothing is felt: QEMU's own
    memory comes and goes by as much, and khugepaged fills as much of what balloons have emptied in one scan."""
    failed: float = 0.25
    """Part of what has to come back, with less than which a balloon is taken to bring nothing; and of what was felt
    with less than which demand has not grown: files were read, or it was QEMU's own."""
    worked: float = 0.5
    """Part of what was taken, with which it is taken to work."""
    confirmed: float = 2
    """Samples in a row that have to say so: size and resident memory are not told at the same moment."""

    # Host.
    horizon: float = 10.0
    """Ahead for which the host's own use is forecast: by then every balloon asked for has moved."""
    percentile: float = 0.95
    """Quantile of that forecast, in (0, 1): too much own use costs guests little, too little makes the host swap."""
    mark_margin: float = 0.2
    """Part of the low-memory mark by which lending stays clear of it: own use varies by about 1 % of the host."""

    # Estimate and exposure: how far demand may rise.
    peak_minute: float = 60.0
    peak_minutes: float = 600.0
    peak_hour: float = 3600.0
    peak_day: float = 86400.0
    """After which half is left of what a peak is above demand, and after an hour of a burst that was felt: demand comes
    back to where it was on every scale of time."""
    peak_looks: float = 20.0
    """Shortest intervals that half-lives of peaks last at least: where looks are minutes apart, a minute is no scale of
    time."""
    spread: float = 0.7
    """Standard deviation of the logarithm of highest demand over maximum, before any is known: a factor of two. It
    counts as one domain."""
    unknown: float = 4.0
    """Weight of what may come beyond a domain's highest demand, by its maximum, beside how far that is from here."""
    settled: float = 1000.0
    """Looks at a domain after which that weighs half: it has had time to show what it needs."""
    borrowed: float = 50.0
    """Intervals of all domains of the node that count in each domain's own tail: with as many of its own, its own
    past counts as much as theirs."""
    prior: float = 20.0
    """Intervals for which the tail counts that is assumed before anything is known."""

    # Allocation.
    growth: float = 0.6
    """Part of its allocation that a guest under pressure gets on top at first, doubled from sample to sample."""
    growth_known: float = 0.2
    """The same where it has a little left, or is on its way to where it has been."""
    most_doublings: float = 6
    """Of `growth`: by then a guest has asked for forty times its size."""
    search_reach: float = 4.0
    """Times what a guest under pressure is missing, that its reach is at least: it gets memory before those at ease."""
    pool: float = 0.02
    """Part of the budget that is not spread but kept for whoever is next in need, and collected on top when memory is
    taken from others: the next in need need not wait, and donors are not asked for a little every time."""

    # Polling.
    interval_growth: float = 1.25
    """Factor by which an interval grows from look to look at most, so that no look is further ahead than a quarter of
    the time for which the domain has been calm: what it has not shown for that long it may show next (Laplace's rule of
    succession gives the chance as that part). From 1 s to 60 s in five minutes."""
    felt_room: float = 0.06
    """Part of its allocation that a guest must have left when it comes to be felt, twice the least that its kernel
    needs; and that it can take unfelt at most: for peaks that nobody sees no room is kept."""
    safety: float = 0.5
    """Part of the time until the upper forecast reaches the allocation that may pass unseen: it is seen twice. And of
    its headroom that it may eat before the domain grows, whatever the threshold: one as large as the headroom would let
    the domain run dry."""
    grid: float = 0.25
    """Between moments at which looks fall due: so many reports are about as old as half of it when they are found, and
    what thousands of guests report takes four steps a second. One look in sixteen comes too early to find any."""

    # Prices, in seconds of the mean demand of the node's domains.
    move_price: float = 0.3
    """What a move has to save of expected shortfall."""
    look_price: float = 0.0007
    """What a look has to save."""
