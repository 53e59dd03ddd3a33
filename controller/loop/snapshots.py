"""What a host tells, by key, as the snapshot of a step, by row: for the live loop, recordings and replays alike."""

from collections.abc import Mapping
from itertools import repeat

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.snapshot import BalloonEvents, Felt, HostReading, OrderOutcome, OrderResult, Samples, Snapshot
from controller.host.senses import Feelings


def snapshot(
    inventory: Inventory,
    samples: Samples,
    host: HostReading,
    wall: float,
    *,
    moved: Mapping[str, float],
    felt: Feelings,
    answers: Mapping[str, tuple[OrderResult, str]],
) -> Snapshot:
    """`moved`: bytes by key, as of `Host.drain_events`; `answers` of orders, by key. Domains that are not in the
    inventory are left out.
    """
    index = inventory.index
    sizes = {index[key]: size for key, size in moved.items() if key in index}
    rows = np.fromiter(map(index.get, felt.keys, repeat(-1)), dtype=np.int64, count=len(felt.keys))
    known = rows >= 0
    return Snapshot(
        inventory,
        samples,
        host,
        wall,
        BalloonEvents(np.array(list(sizes), dtype=np.int64), np.array(list(sizes.values()), dtype=np.float64)),
        Felt(rows[known], felt.resident[known], felt.grew[known], felt.since[known], felt.pause),
        tuple(OrderOutcome(index[key], *answer) for key, answer in answers.items() if key in index),
    )
