"""Looks at guests: one bulk call a connection, all connections at once, never longer than a deadline.

A QEMU that hangs keeps the call that asked it. The call is left behind; it also holds that domain's job, so the
same question asked again, with NOWAIT, passes the domain over and brings back all the others.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import libvirt
import numpy as np

from controller.engine.snapshot import Life
from controller.host.calls import Call, TooManyHangError
from controller.host.connection import Connection, Link, connection_of
from controller.host.look import GROUPS, Look, join, read, unanswered
from controller.host.trouble import Trouble, has_job

LOG = logging.getLogger(__name__)

LOOK_SECONDS = (2.0, 1.0, 1.0)
"""Deadline of a look and of its repetitions. The first is far beyond a busy libvirtd's answer (3 ms for 10 guests)
and is waited for once a hang: from then on the domain is passed over."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one look asks one connection."""

    connection: Connection
    link: Link
    keys: Sequence[str]
    in_job: Set[str]
    """Those of `keys` that had a job when last asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """libvirt's replies, in its own order and without domains that are gone; which of them still have a job."""

    keys: Sequence[str]
    replies: Sequence[Mapping[str, Any]]
    in_job: Set[str]


class Looker:
    """For the control loop's thread only. `connections` by their part of a key."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        trouble: Trouble,
        *,
        seconds: Sequence[float] = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._trouble = trouble
        self._seconds = seconds
        self._clock = clock

    def look(self, keys: Collection[str]) -> Look:
        """Statistics of the domains `keys`. Domains of a connection that is down are left out."""
        questions, connected = self._questions(keys)
        found: list[Look] = []
        for seconds in self._seconds:
            questions, broken = self._ask_all(questions, self._clock() + seconds, found)
            connected &= not broken
        found += [unanswered(question.keys, Life.UNRESPONSIVE) for question in questions]
        look = join(found, connected=connected)
        self._note_unresponsive(look)
        return look

    def _questions(self, keys: Collection[str]) -> tuple[list[Question], bool]:
        """What to ask each open connection, and False when one that is concerned is not open."""
        by_connection: dict[str, list[str]] = {}
        for key in keys:
            by_connection.setdefault(connection_of(key), []).append(key)
        questions = [
            Question(connection, connection.link, asked, self._trouble.in_job & set(asked))
            for name, asked in by_connection.items()
            if (connection := self._connections[name]).link is not None
        ]
        return questions, len(questions) == len(by_connection)

    def _ask_all(
        self, questions: Sequence[Question], deadline: float, found: list[Look]
    ) -> tuple[list[Question], bool]:
        """Ask all and put what comes back into `found`; the questions that hang, and True if a connection broke."""
        calls = [(question, _start(question)) for question in questions]
        hanging, broken = [], False
        for question, call in calls:
            try:
                found += self._finish(question, call, deadline)
            except TimeoutError:
                hanging.append(question)
                question.connection.doubt()
            except libvirt.libvirtError as error:
                LOG.warning("%s: nothing was looked at: %s", question.connection.uri, error)
                question.connection.doubt()
                broken = True
        return hanging, broken

    def _finish(self, question: Question, call: Call[Answer] | None, deadline: float) -> list[Look]:
        """What came back. Raises TimeoutError and libvirtError."""
        if call is None:
            return [unanswered(question.keys, Life.UNRESPONSIVE)]
        calls = question.link.calls
        answer = calls.finish(call, deadline - self._clock())
        self._trouble.in_job -= question.in_job - answer.in_job
        present = set(answer.keys)
        gone = [key for key in question.keys if key not in present]
        return [
            read(answer.keys, answer.replies, calls.suspects(), answer.in_job),
            unanswered(gone, Life.NOT_RUNNING),
        ]

    def _note_unresponsive(self, look: Look) -> None:
        hung = np.flatnonzero(look.life == Life.UNRESPONSIVE)
        if self._trouble.unresponsive or len(hung):
            self._trouble.unresponsive -= set(look.keys)
            self._trouble.unresponsive |= {look.keys[position] for position in hung}


def _start(question: Question) -> Call[Answer] | None:
    """Begin to ask; None when too many earlier calls hang."""
    try:
        return question.link.calls.start(lambda: _ask(question), question.keys)
    except TooManyHangError:
        return None


def _ask(question: Question) -> Answer:
    """The libvirt calls of a look; runs in a thread that may hang."""
    handle, entries = question.link.handle, question.link.entries
    domains = [entries[key].domain for key in question.keys if key in entries]
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    replies = handle.domainListGetStats(domains, GROUPS, flags) if domains else []
    keys = [question.connection.key(domain) for domain, _ in replies]
    return Answer(keys, [reply for _, reply in replies], question.in_job and _in_job(question, keys))


def _in_job(question: Question, keys: Sequence[str]) -> Set[str]:
    entries = question.link.entries
    return {key for key in question.in_job & set(keys) if has_job(entries[key].domain)}
