"""Looks at guests: one bulk call a connection, many connections at once, never longer than a deadline.

Where there are several connections none of them keeps the others' guests waiting: one that takes longer than they do is
left behind after SHARED_S, and asked again by a later look.

A QEMU that hangs keeps the call that asked it. The call is left behind; it also holds that domain's job, so the
same question asked again, with NOWAIT, passes the domain over and brings back all the others. A libvirt that is merely
slow answers the call in the end: what it says is used then. Calls of others hold domains, too, for milliseconds each: a
domain that is passed over is asked again.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import libvirt
import numpy as np

from controller.engine.snapshot import RunState
from controller.host.calls import FAILURES, LATE_S, NUDGE_S, Call, NotStartedError, wait_any
from controller.host.connection import Connection, Link
from controller.host.errorhints import said
from controller.host.look import GROUPS, Look, arranged, join, numbers, passed_over, read, unanswered
from controller.host.sources import source_of
from controller.host.unavailable import UnavailableDomains, barred, job_runs

LOG = logging.getLogger(__name__)

LOOK_S = (1.5, 0.75, 0.75)
"""Deadline of a look and of its repetitions. The first is far beyond a busy libvirtd's answer (3 ms for 10 guests,
1.4 s for 1,000) and is waited for once a hang: from then on the domain is passed over. Where libvirt is slow it is
asked once, and given the sum of them."""

HELD_S = 0.3
"""How long a look waits for a domain that a call holds, ours or another's: one that does not hang reads it in
milliseconds. A libvirtd that was stopped for a while takes up all calls at once, and they pass over what the first of
them holds."""

PAUSES = 6
"""Between as many repetitions of a question, each twice as long as the one before, all together `HELD_S`: 5 ms at
first."""

SHARED_S = NUDGE_S
"""How long a look waits for one connection where there are others, after the last answer of those: many looks at guests
of a pod's libvirt, whose answer takes a few milliseconds. What comes later, also as it was helped on, a later look has.
"""


AT_ONCE = 64
"""Calls of a look that run at a time, each in a thread: a pod's libvirt answers in milliseconds, and hundreds would not
answer sooner if all were asked at once. Where each of 250 takes 50 ms, a look takes 0.3 s instead of 0.2 s."""

SLOW_START_S = 0.1
"""How long a look waits for one of them to return; then all of them may hang, and as many more are begun beside them.
"""


@dataclass(frozen=True, slots=True)
class LookReply:
    """libvirt's replies by key, in its own order and without domains that are gone; which of them have a job."""

    replies: Mapping[str, Mapping[str, Any]]
    in_job: Set[str]


@dataclass(eq=False, slots=True)
class LookRequest:
    """What one connection was asked."""

    connection: Connection
    link: Link
    keys: Sequence[str]
    in_job: Set[str]
    """Those of `keys` that had a job when last asked."""
    hung: Set[str]
    """Those that are not asked again: a call of ours may hang in them, or they did not answer the last look."""
    unheard: set[str]
    """Those of `keys` that no other answer has told of meanwhile."""
    late: bool = False
    """It was left behind."""

    def told(self) -> None:
        """Its call has returned; from another thread."""
        if self.late:
            self.connection.wake()


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    question: LookRequest
    call: Call[LookReply]


class _Pending:
    """A look on its way: who is still to be heard of, and what has been heard."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = dict.fromkeys(keys)
        self.held: dict[str, Mapping[str, Any]] = {}
        """Replies of those that were passed over, as an earlier call of ours holds them."""
        self.held_until = math.inf
        """Monotonic seconds from which on they count as hanging."""
        self.found: list[Look] = []

    def hold(self, held: Mapping[str, Mapping[str, Any]]) -> None:
        """They were passed over; the earlier call may tell of them yet."""
        if held:
            self.held |= held
            self.held_until = min(self.held_until, time.monotonic() + HELD_S)

    def expected(self, question: LookRequest) -> bool:
        """A question's answer may tell of somebody who is still to be heard of."""
        unheard = question.unheard & self.keys.keys()
        return bool(unheard - self.held.keys()) or (bool(unheard) and time.monotonic() < self.held_until)

    def give_up(self) -> None:
        """Who has not been heard of by now does not answer."""
        held = {key: reply for key, reply in self.held.items() if key in self.keys}
        self.take(read(list(held), held.values()))
        self.take(unanswered(list(self.keys), RunState.UNRESPONSIVE))

    def by_connection(self) -> dict[str, list[str]]:
        """Who is still to be heard of, and not held."""
        by_connection: dict[str, list[str]] = {}
        for key in (key for key in self.keys if key not in self.held):
            by_connection.setdefault(source_of(key), []).append(key)
        return by_connection

    def take(self, look: Look) -> None:
        """Something was heard."""
        self.found.append(look)
        self.drop(look.keys)

    def drop(self, keys: Iterable[str]) -> None:
        """Nothing will be heard."""
        for key in keys:
            self.keys.pop(key, None)


class Looker:
    """For the control loop's thread only. `connections` by their part of a key."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        unavailable: UnavailableDomains,
        *,
        seconds: Sequence[float] = LOOK_S,
        moved_at: Callable[[str], float] = lambda _key: -math.inf,
    ) -> None:
        """`moved_at` tells, by key, when libvirt last said that a balloon moved, in monotonic seconds."""
        self._connections = connections
        self._unavailable = unavailable
        self._seconds = seconds
        self._moved_at = moved_at
        self._open: list[_Call] = []
        """Calls that have not been seen to return."""

    def look(self, keys: Collection[str]) -> Look:
        """Statistics of the domains `keys`. Left out are those of a connection that is down, and those that a slow
        libvirt has been asked about and may yet tell of.
        """
        pending = _Pending(keys)
        self._leave_out_lost(pending)
        self._collect(pending)
        end = time.monotonic() + sum(self._seconds)
        for seconds in self._seconds[:1] if self._shared else self._seconds:
            if time.monotonic() < end and (asked := self._ask(pending)):
                self._hear(pending, asked, seconds, end)
        self._leave_out_expected(pending)
        pending.give_up()
        look = join(pending.found)
        if pending.held:
            look = arranged(look, keys)
        self._note_unresponsive(look)
        return look

    @property
    def _shared(self) -> bool:
        """There are guests of other connections, which are not to wait."""
        return len(self._connections) > 1

    def _leave_out_lost(self, pending: _Pending) -> None:
        for name, keys in pending.by_connection().items():
            connection = self._connections.get(name)
            if connection is None or connection.link is None:
                pending.drop(keys)

    def _leave_out_expected(self, pending: _Pending) -> None:
        """Domains that a libvirt was asked about a moment ago: one that is slow, or that others did not wait for. What
        is asked about for the second time in vain is expected no more.
        """
        in_vain: set[str] = set()
        for each in self._open:
            slow, age = each.question.link.calls.slow, each.call.age
            if slow and age < LATE_S:
                pending.drop(each.question.unheard)
            elif self._shared and each.question.late and age < self._seconds[0]:
                pending.drop(each.question.unheard - in_vain)
            else:
                in_vain |= each.question.unheard

    def _ask(self, pending: _Pending) -> list[_Call]:
        """Ask each connection for those who are still to be heard of."""
        self._leave_out_expected(pending)
        asked = []
        running: list[Call[LookReply]] = []
        for name, keys in pending.by_connection().items():
            running = _with_room(running)
            connection = self._connections.get(name)
            if connection is None or (link := connection.link) is None:  # it has gone, or was lost, just now
                pending.drop(keys)
                continue
            if (call := self._start(connection, link, keys)) is not None:
                asked.append(call)
                running.append(call.call)
        self._open += asked
        return asked

    def _start(self, connection: Connection, link: Link, keys: Sequence[str]) -> _Call | None:
        """Begin to ask; None when too many earlier calls hang."""
        hung = link.calls.suspects() | self._unavailable.unresponsive
        question = LookRequest(connection, link, keys, self._unavailable.in_job & set(keys), hung, set(keys))
        try:
            return _Call(question, link.calls.start(lambda: _ask(question), keys, question.told))
        except NotStartedError:
            return None

    def _hear(self, pending: _Pending, asked: Sequence[_Call], seconds: float, end: float) -> None:
        """Take what comes back within `seconds`, of a slow libvirt until the `end`; leave behind what does not."""
        slow = any(each.question.link.calls.slow for each in asked)
        deadline = end if slow else time.monotonic() + seconds
        heard_at = time.monotonic()
        while self._awaits(asked, pending):
            shared = heard_at + SHARED_S if self._shared else deadline
            if (left := min(deadline, shared) - time.monotonic()) <= 0:
                break
            wait_any((each.call for each in self._open), min(left, NUDGE_S))
            if self._collect(pending):
                heard_at = time.monotonic()
                continue
            for each in self._unanswered(asked):
                each.question.link.calls.nudge()
        for each in self._unanswered(asked):
            each.question.late = True
            each.question.link.calls.leave(each.call)
            each.question.connection.doubt()

    def _unanswered(self, asked: Sequence[_Call]) -> list[_Call]:
        return [each for each in asked if each in self._open]

    def _awaits(self, asked: Sequence[_Call], pending: _Pending) -> bool:
        calls = self._open if pending.held else self._unanswered(asked)
        return any(pending.expected(each.question) for each in calls)

    def _collect(self, pending: _Pending) -> bool:
        """Take what calls have brought; True when one has returned."""
        returned = [each for each in self._open if each.call.done()]
        self._open = [each for each in self._open if each not in returned]
        for each in returned:
            try:
                self._take(pending, each.question, each.call.result(), each.call)
            except FAILURES as error:
                self._lose(pending, each.question, error)
        return bool(returned)

    def _lose(self, pending: _Pending, question: LookRequest, error: Exception) -> None:
        """A call broke: nothing is known of those it was about."""
        if question.late:
            return
        level = logging.WARNING if question.connection.source.pod is None else logging.INFO  # it ends with its pod
        LOG.log(level, "%s: nothing was looked at: %s", question.connection.name, said(error))
        question.connection.doubt()
        pending.drop(question.keys)

    def _take(self, pending: _Pending, question: LookRequest, answer: LookReply, call: Call[LookReply]) -> None:
        """What an answer tells of those that are still to be heard of, if it is not old news."""
        calls, wanted = question.link.calls, question.unheard & pending.keys.keys()
        if question.late:
            slow = call.age < LATE_S
            calls.slow |= slow and (not self._shared or call.age >= self._seconds[0])
            wanted = {key for key in wanted if slow and self._moved_at(key) < call.began}
        else:
            calls.slow &= call.age >= self._seconds[0]
            self._unavailable.in_job -= question.in_job - answer.in_job
            pending.take(
                unanswered(
                    [key for key in question.keys if key in wanted - answer.replies.keys()], RunState.NOT_RUNNING
                )
            )
        replies = {key: reply for key, reply in answer.replies.items() if key in wanted}
        look = read(list(replies), replies.values(), answer.in_job)
        unread = {look.keys[row] for row in np.flatnonzero(look.run_state == RunState.UNRESPONSIVE)}
        if not question.late:
            unread = unread & calls.suspects() - self._unavailable.unresponsive
            pending.hold({key: replies[key] for key in unread})
        if unread:
            replies = {key: reply for key, reply in replies.items() if key not in unread}
            look = read(list(replies), replies.values(), answer.in_job)
        pending.take(look)
        for other in self._open:
            other.question.unheard.difference_update(replies)

    def _note_unresponsive(self, look: Look) -> None:
        self._unavailable.forget(self._connections)
        hung = np.flatnonzero(look.run_state == RunState.UNRESPONSIVE)
        if self._unavailable.unresponsive or len(hung):
            self._unavailable.unresponsive -= set(look.keys)
            self._unavailable.unresponsive |= {look.keys[position] for position in hung}


def _with_room(running: list[Call[LookReply]]) -> list[Call[LookReply]]:
    """Those of a look's calls that are waited for before another is begun: fewer than AT_ONCE."""
    left = [call for call in running if not call.done()]
    if len(left) < AT_ONCE:
        return left
    wait_any(left, SLOW_START_S)
    still = [call for call in left if not call.done()]
    return still if len(still) < len(left) else []


def _ask(question: LookRequest) -> LookReply:
    """The libvirt calls of a look; runs in a thread that may hang."""
    entries = question.link.entries
    domains = {key: entries[key].domain for key in question.keys if key in entries}
    replies = _replies(question, list(domains.values()))
    unread = _passed_over(replies)
    for pause in range(PAUSES):
        again = unread - question.hung
        if not again:
            break
        time.sleep(HELD_S * 2**pause / (2**PAUSES - 1))
        replies |= _replies(question, [domains[key] for key in again])
        unread = _passed_over(replies)
    barring = {key for key in question.in_job & replies.keys() - unread if _is(barred, domains[key])}
    return LookReply(replies, barring | {key for key in unread if _is(job_runs, domains[key])})


def _replies(question: LookRequest, domains: Sequence[Any]) -> dict[str, Mapping[str, Any]]:
    """libvirt's, by key. What was not asked for is left out: a pod's libvirt is the pod's, and may answer anything."""
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    replies = question.link.handle.domainListGetStats(domains, GROUPS, flags) if domains else []
    asked = frozenset(question.keys)
    by_key = ((question.connection.key(domain), reply) for domain, reply in replies)
    return {key: numbers(reply) for key, reply in by_key if key in asked}


def _passed_over(replies: Mapping[str, Mapping[str, Any]]) -> Set[str]:
    return {key for key, reply in replies.items() if passed_over(reply)}


def _is(state: Callable[[Any], bool], domain: Any) -> bool:
    """Whether a libvirt.virDomain is in a state; not where libvirt does not tell, as of one that has just ended."""
    try:
        return state(domain)
    except libvirt.libvirtError:
        return False
