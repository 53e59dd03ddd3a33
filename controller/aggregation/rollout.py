"""Which nodes enforce a policy that is rolled out to a few of them. Pure."""

import json
from collections.abc import Collection
from hashlib import sha256
from itertools import accumulate, takewhile

NAMES_BYTES = 1024
"""Most that their names take as JSON: every agent gets every status, which has 4 KiB for everything."""


def enforcing(most: int, uid: str, nodes: Collection[str], before: Collection[str]) -> tuple[str, ...]:
    """Names of the nodes that may enforce, `most` at most, sorted; of `nodes`, fewer where their names are long.

    Who was among them `before` stays. Others come by a hash of theirs with the policy's `uid`, so that different
    policies begin on different nodes.
    """
    known = frozenset(before)
    ranked = sorted(nodes, key=lambda name: (name not in known, sha256(f"{uid}/{name}".encode()).digest()))[:most]
    sizes = accumulate(len(json.dumps(name)) + 1 for name in ranked)
    fitting = sum(1 for _ in takewhile(lambda size: size <= NAMES_BYTES, sizes))
    return tuple(sorted(ranked[:fitting]))
