"""A scripted node that holds every decision to the rules that always hold, with books of its own.

The books know only what an outsider can: what was reported and when, what was ordered, and what the policies say. The
sums of the engine are not believed, except its budget.
"""

from collections.abc import Mapping

import numpy as np
from scripted_node import MIB, Guest, Node

from controller.api.policy import MemoryPolicy
from controller.engine.decision import Action, Decision
from controller.engine.inventory import Inventory
from controller.engine.reasons import Reason
from controller.engine.snapshot import Life, Result
from controller.engine.state import State
from controller.engine.step import next_due
from controller.engine.view import view

SLACK = MIB
"""Bytes that are no difference: the balloon moves in pages."""
NEWEST_S = 2.0
"""Age of the report that memory is taken on, at most, as README says; two shortest intervals where longer."""
FRESH_TO_SHRINK = 3
RETRY_S = 60.0
"""Time for which a stuck balloon is left alone, at least."""
Report = dict[str, float]


class Books:
    """What is known of one run of one guest since the controller started."""

    def __init__(self) -> None:
        self.told = np.nan
        """Newest size that the controller heard of, bytes."""
        self.reports: list[tuple[float, Report]] = []
        """When each look was, and what it found: looks with new statistics only."""
        self.maximum = np.nan
        """Newest maximum that a look found, bytes."""
        self.life = Life.RUNNING
        self.ordered = np.nan
        """Target of the balloon that it has not been told to have reached, bytes."""
        self.earlier = np.nan
        """What it was ordered before, while libvirt has not answered the newest order."""
        self.eased = False
        """The newest order asks for no less than the one before, which is still under way: no more is taken."""
        self.stuck_at = -np.inf


class WatchedNode(Node):
    """Guests here may also vanish, start anew, pause and deflate; a broken rule is an AssertionError that names it."""

    def __init__(self, policies: list[MemoryPolicy]) -> None:
        super().__init__([], policies)
        self.books: dict[tuple[str, int], Books] = {}
        self.steps = 0
        self.changes: dict[str, float] = {}
        """Sizes that someone else has set since the last second, MiB."""

    def restart(self) -> None:
        """The controller starts anew; guests and what they were told before stay."""
        self.state = State.initial()
        self.books.clear()
        self.late.clear()
        self.answers.clear()
        self.changes.clear()

    def resize(self, guest: Guest, size: float) -> None:
        """Someone else sets a balloon: the guest follows at once, and libvirt tells."""
        guest.actual = guest.target = size
        self.changes[guest.name] = size
        self._book(guest.name).ordered = np.nan

    def reset(self, guest: Guest) -> None:
        """The guest boots anew, libvirt tells; of what is known of it only sizes and orders count on."""
        super().reset(guest)
        self.changes[guest.name] = guest.actual
        book = self._book(guest.name)
        book.reports.clear()
        book.stuck_at = -np.inf

    def _book(self, name: str) -> Books:
        return self.books.setdefault((name, self.guests[name].incarnation), Books())

    def _move_balloons(self) -> dict[str, float]:
        still = [guest for guest in self.guests.values() if guest.life != Life.RUNNING and not guest.stuck]
        for guest in still:
            guest.stuck = True
        moved = self.changes | super()._move_balloons() | self._deflated()
        for guest in still:
            guest.stuck = False
        self.changes = {}
        return {name: size for name, size in moved.items() if name in self.guests}

    def _deflated(self) -> dict[str, float]:
        """Guests that are out of memory take some back."""
        short = [g for g in self.guests.values() if g.autodeflate and g.demand > g.actual and g.life == Life.RUNNING]
        for guest in short:
            guest.actual = min(guest.demand + 16, guest.maximum)
        return {guest.name: guest.actual for guest in short}

    def _decide(self, inventory: Inventory, keys: list[str], moved: Mapping[str, float]) -> None:
        for key in keys:
            self._enter(key, self.guests[key].sample())
        for key, size in moved.items():
            if np.isfinite(self._book(key).told):
                self._hear(key, size * MIB)
        super()._decide(inventory, keys, moved)
        self.steps += 1
        self._check(inventory, self.decisions.pop())
        self.looks.clear()

    def _enter(self, key: str, report: Report) -> None:
        book = self._book(key)
        book.life = Life(int(report["life"]))
        book.maximum = report["maximum"] if np.isfinite(report["maximum"]) else book.maximum
        if book.life == Life.NOT_RUNNING:
            book.told = 0.0  # it has ended, and what it was told with it
            book.ordered = book.earlier = np.nan
        elif np.isfinite(report["actual"]):
            self._hear(key, report["actual"])
        if not book.reports or report["updated"] != book.reports[-1][1]["updated"]:
            book.reports.append((self.now, report))

    def _hear(self, key: str, size: float) -> None:
        book = self._book(key)
        book.told = size
        if abs(size - book.ordered) < SLACK:
            book.ordered = np.nan

    def _answered(self, action: Action, result: Result) -> None:
        super()._answered(action, result)
        book = self._book(action.name)
        book.ordered = book.ordered if result is Result.DONE else book.earlier
        book.earlier = np.nan

    def _apply(self, action: Action) -> None:
        book = self._book(action.name)
        unanswered = np.isfinite(book.ordered) and action.name in {late.name for _, _, late in self.late}
        assert not unanswered, f"rule 2: an order before the last one was answered: {action}"
        book.eased = action.target >= book.ordered
        if self.refuse_next == action.name:
            super()._apply(action)
            return
        super()._apply(action)
        book.earlier = book.ordered if self.guests[action.name].answers_after else np.nan
        book.ordered = float(action.target)

    def _check(self, inventory: Inventory, decision: Decision) -> None:
        names = [action.name for action in decision.actions if action.reason is not Reason.STUCK]
        assert len(names) == len(set(names)), f"rule 2: two orders for one guest in a step: {decision.actions}"
        for action in decision.actions:
            self._check_right(inventory, action)
            self._check_limits(inventory, action)
            if action.reason is Reason.STUCK:
                self._book(action.name).stuck_at = self.now
            elif not action.reason.moves:
                assert abs(action.target - self._book(action.name).told) < SLACK, f"neither moved nor halted: {action}"
            elif not action.grows:
                self._check_shrink(inventory, action)
        if any(action.grows for action in decision.actions):
            self._check_budget(inventory)
        for proposal in decision.proposals:
            assert not inventory.enforce[proposal.row], f"a proposal for a guest under Enforce: {proposal}"
        for notice in decision.notices:
            assert notice.key in inventory.index
        self._check_next_look(inventory)
        if self.steps % 50 == 0:
            view(self.state, self.now)
            self.state.dump()

    def _check_right(self, inventory: Inventory, action: Action) -> None:
        """Rules 5 and 7."""
        row, book = action.row, self._book(action.name)
        if action.reason is Reason.HANDED_OVER:
            assert not inventory.enforce[row], f"stopped under Enforce: {action}"
            assert np.isfinite(book.ordered), f"rule 7: nothing was under way: {action}"
        else:
            acts = inventory.enforce[row] or action.reason is Reason.RELEASE_RESTORE
            assert acts, f"rule 7: acted on a guest that is not under Enforce: {action}"
            obstacle = Reason(int(inventory.obstacle[row]))
            assert obstacle in (Reason.NONE, Reason.NO_POLICY), f"rule 5: acted on one that is {obstacle}: {action}"
        assert book.life == Life.RUNNING, f"rule 5: acted on a guest that is {book.life.name}: {action}"

    def _check_limits(self, inventory: Inventory, action: Action) -> None:
        """Rule 1, the fixed part of it."""
        row, book = action.row, self._book(action.name)
        top = min(np.fmin(inventory.maximum[row], book.maximum), inventory.ceiling[row])
        size = book.told
        assert action.target > 0, f"rule 1: a balloon of nothing: {action}"
        assert action.target <= max(top, size) + SLACK, f"rule 1: above {top / MIB} MiB: {action}"
        lowest = min(inventory.minimum[row], top)
        assert action.target >= min(lowest, size) - SLACK, f"rule 1: below {lowest / MIB} MiB: {action}"

    def _check_shrink(self, inventory: Inventory, action: Action) -> None:
        """Rules 1, 2 and 8: taken on fresh word, never below demand, not hammered."""
        book = self._book(action.name)
        assert len(book.reports) >= FRESH_TO_SHRINK, f"rule 8: after {len(book.reports)} reports: {action}"
        assert self.now - book.stuck_at >= RETRY_S, f"rule 2: stuck {self.now - book.stuck_at} s ago: {action}"
        if book.eased:
            return
        newest = max(NEWEST_S, 2 * float(inventory.interval_minimum[action.row]))
        at, report = book.reports[-1]
        assert self.now - at <= newest, f"rule 1: on a report {self.now - at} s old: {action}"
        demand = report["actual"] - _left(report)
        assert np.isfinite(demand), f"rule 1: shrunk without statistics: {action}"
        assert action.target >= demand - SLACK, f"rule 1: below demand of {demand / MIB} MiB: {action}"

    def _check_budget(self, inventory: Inventory) -> None:
        """Rule 2: who grows, grows within the budget, whatever is still under way."""
        total = 0.0
        for key, maximum in zip(inventory.keys, inventory.maximum, strict=True):
            book = self._book(key)
            size = float(maximum) if np.isnan(book.told) else book.told
            total += float(np.fmax(np.fmax(size, book.ordered), book.earlier))
        budget = self.state.host.budget
        assert total <= budget + SLACK, f"rule 2: {total / MIB} MiB of {budget / MIB} MiB are given away"

    def _check_next_look(self, inventory: Inventory) -> None:
        """Nobody is forgotten, and nobody is looked at all the time."""
        if len(inventory):
            wait = next_due(self.state, inventory, self.now) - self.now
            assert 0 <= wait <= float(inventory.interval_maximum.max()), f"the next look is in {wait} s"


def _left(report: Report) -> float:
    usable, unused = report["usable"], report["unused"]
    believed = np.isfinite(usable) and (usable != 0 or not unused > 0)
    return usable if believed else unused
