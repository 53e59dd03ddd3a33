"""Which samples of several domains were taken in one round, though a recorder reads one domain after the other.

In a round each domain is sampled once at most. A domain's place within the round stays what it was, so a missing
sample, or a recorder that is slower than it says, moves none into the next.
"""

from collections.abc import Sequence

import numpy as np

from controller.engine.tables import Floats, Ints


def rounds(times: Sequence[Floats], step_s: float) -> list[Ints]:
    """The round of every sample, counted from 0 on, for each domain; `times` are the domains' own, rising.

    `step_s`: seconds from one sample of a domain to its next, usually.
    """
    instants = np.unique(np.concatenate(times))
    at_once = len(instants) == max(map(len, times))
    numbers = np.arange(len(instants)) if at_once else _numbers(instants, times, step_s)
    return [numbers[np.searchsorted(instants, each)] for each in times]


def _numbers(instants: Floats, times: Sequence[Floats], step_s: float) -> Ints:
    """The round of every instant."""
    there: list[list[int]] = [[] for _ in instants]
    for domain, each in enumerate(times):
        for place in np.searchsorted(instants, each).tolist():
            there[place].append(domain)
    found = np.empty(len(instants), dtype=np.int64)
    offsets: dict[int, float] = {}
    sampled: set[int] = set()
    start, number = float(instants[0]), 0
    for place, (time, domains) in enumerate(zip(instants.tolist(), there, strict=True)):
        known = next((offsets[domain] for domain in domains if domain in offsets), None)
        late = time >= start + step_s if known is None else time - known >= start + step_s / 2
        if late or not sampled.isdisjoint(domains):
            start, number, sampled = time - (known or 0.0), number + 1, set()
        sampled.update(domains)
        offsets.update(dict.fromkeys(domains, time - start))
        found[place] = number
    return found
