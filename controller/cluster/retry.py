"""What to do about a failure that may last: try again, ever less often, and say it once."""

import logging
import random
import time

_log = logging.getLogger(__name__)

FIRST_S = 1.0
"""Seconds before the first try again: a restart of an API server behind a load balancer is over by then."""
LONGEST_S = 10.0
"""Most seconds between two tries: one that comes back after an hour is noticed soon, by all not at once."""
JITTER = 0.5
"""Part of a pause left to chance, so that a thousand nodes do not come back at the same moment."""


ODD = "InvalidAnswer"
"""Kind of a failure that other answers in between do not end: a proxy may spoil one of them, again and again."""
ODD_S = 600.0
"""Seconds without such a failure after which it counts as over."""


class Retry:
    """Memory of one task's failures. Belongs to the task's thread; `problem` may be read by any."""

    def __init__(self, what: str, longest_s: float = LONGEST_S) -> None:
        """`what` names the task in the log: `MemoryPolicies`."""
        self._what = what
        self._longest_s = longest_s
        self._pause_s = FIRST_S
        self._said: set[str] = set()
        self._announced = False
        self._odd_until = float("-inf")
        self.problem = ""
        """What went wrong last; empty while all is well."""

    def failed(self, kind: str, text: str, at_least_s: float = 0.0) -> float:
        """Seconds to the next try. Of each `kind` the first failure is said, until it works again."""
        self.problem = f"{self._what}: {text}"
        if kind == ODD:
            self._odd_until = time.monotonic() + ODD_S
        if kind not in self._said:
            self._said.add(kind)
            self._announced = True
            _log.warning("%s; tried again until it works", self.problem, extra={"fields": {"event": "cluster"}})
        pause, self._pause_s = self._pause_s, min(self._longest_s, 2 * self._pause_s)
        return max(at_least_s, pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    def worked(self) -> bool:
        """Begin anew; True when it had failed before."""
        failing, self.problem = bool(self.problem), ""
        if time.monotonic() >= self._odd_until:
            self._pause_s = FIRST_S
            self._said.clear()
        else:
            self._said &= {ODD}
        if self._announced:
            _log.info("%s: works again", self._what, extra={"fields": {"event": "cluster"}})
        self._announced = False
        return failing


def spread(seconds: float, part: float = 0.2) -> float:
    """About so many seconds, a `part` of them more or less by chance."""
    return seconds * random.uniform(1 - part, 1 + part)  # noqa: S311 - no secret


def part_of(seconds: float) -> float:
    """Some part of them, by chance."""
    return random.uniform(0.0, seconds)  # noqa: S311 - no secret
