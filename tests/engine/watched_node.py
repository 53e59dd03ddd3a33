"""A scripted node that holds every decision to the rules that always hold, with books of its own.

The books know only what an outsider can: what was reported and when, what was ordered and what became of it, and what
the policies say (`terms`). Nothing is taken from the engine but what `due`, `next_due` and `step` return.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import terms
from scripted_node import MIB, LateOrder, ScriptedGuest, ScriptedNode
from terms import PolicyTerms

from controller.api.policy import MemoryPolicy
from controller.engine.decision import Action, Decision
from controller.engine.inventory import Inventory
from controller.engine.reasons import Reason
from controller.engine.snapshot import Felt, OrderOutcome, OrderResult, RunState, Snapshot
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
RELEASED_S = 60.0
"""Time in which a released guest gets its memory back."""
RECLAIMS = 0.03
"""Part of its memory that a guest's kernel keeps usable, or reclaims for."""
UNFORESEEN = 0.5
"""Part of the room beside the host's own use that no forecast of that use can be expected to fill."""
PLENTY = 256 * MIB
"""Bytes that are free beyond doubt, of which a guest in need has to get some."""
STARVES_S = 60
"""Seconds in which it has to: twice the longest rest after a refusal."""
MISSES = 4 * MIB
"""Bytes from its target at which a balloon that rests may have arrived."""
ENDS_S = 5
"""Seconds within which a shrink ends that nobody may go on with."""
Report = dict[str, float]


class Books:
    """What is known of one run of one guest since the controller started."""

    def __init__(self) -> None:
        self.told = np.nan
        """Newest size that the controller heard of, bytes."""
        self.reports: list[tuple[float, Report]] = []
        """When each report was sent, and what it said: those that looks have found only."""
        self.maximum = np.nan
        """Newest maximum that a look found, bytes."""
        self.run_state = RunState.RUNNING
        self.ordered = np.nan
        """Target of the balloon that it has not been told to have reached, bytes."""
        self.unanswered = np.nan
        """Target of an order of which libvirt has not said what became of it, bytes."""
        self.waits = False
        """The controller has been told that this is so."""
        self.rose_at = -np.inf
        """When its balloon was last heard to be larger than before."""
        self.origin = 0.0
        """Size before its newest shrink, bytes."""
        self.eased = False
        """The newest order asks for no less than the one before, which is still under way: no more is taken."""
        self.stuck_at = -np.inf
        self.shrinks = False
        """Its newest order was to shrink, and libvirt has not refused it."""
        self.shrinks_on = 0
        """Seconds in which it has been shrinking though nobody may change it any more."""
        self.terms: PolicyTerms | None = None
        """As of the last step."""
        self.reset_at = -np.inf
        self.released_at = -np.inf
        """When it lost a policy that gives back what it took."""
        self.starving = 0
        """Seconds in which it has been short beside plenty of free memory, and was given none."""

    @property
    def promised(self) -> float:
        """The most it may come to have, bytes; NaN where nothing is known."""
        return float(np.fmax(self.told, np.fmax(self.ordered, self.unanswered)))


class WatchedNode(ScriptedNode):
    """Guests here may also vanish, start anew, pause and deflate; a broken rule is an AssertionError that names it."""

    def __init__(self, policies: list[MemoryPolicy]) -> None:
        super().__init__([], policies)
        self.books: dict[tuple[str, int], Books] = {}
        self.steps = self.orders = 0
        self.changes: dict[str, float] = {}
        """Sizes that someone else has set since the last second, MiB."""
        self.minimums_fit = False
        """Beyond doubt, at the last step."""
        self.highest_use = 0.0
        """The most that the host itself can have used at any reading since the start, bytes."""
        self.felt: dict[str, float] = {}
        """MiB that guests are felt to have grown by just now, whatever they did; NaN where nothing can be felt."""
        self.unheard: set[str] = set()
        """Guests whose connection is down: looks, events and orders go nowhere."""

    def restart(self) -> None:
        """The controller starts anew; guests and what they were told before stay."""
        self.state = State.initial()
        self.books.clear()
        self.outcomes.clear()
        self.late_orders = [order for order in self.late_orders if order.begins <= self.now]  # others end with it
        self.changes.clear()
        self.highest_use = 0.0

    def resize(self, guest: ScriptedGuest, size: float) -> None:
        """Someone else sets a balloon: the guest follows at once, and libvirt tells."""
        guest.actual = guest.target = size
        guest.defied = None
        self.changes[guest.name] = size
        self._book(guest.name).ordered = np.nan

    def reset(self, guest: ScriptedGuest) -> None:
        """The guest boots anew, libvirt tells; of what is known of it only sizes and orders count on."""
        super().reset(guest)
        self.changes[guest.name] = guest.actual
        book = self._book(guest.name)
        book.reports.clear()
        book.reset_at = self.now
        book.stuck_at = -np.inf
        book.starving = 0
        book.waits = False

    def _book(self, name: str) -> Books:
        return self.books.setdefault((name, self.guests[name].incarnation), Books())

    def _move_balloons(self) -> dict[str, float]:
        still = [guest for guest in self.guests.values() if guest.run_state != RunState.RUNNING and not guest.stuck]
        for guest in still:
            guest.stuck = True
        moved = self.changes | super()._move_balloons() | self._deflated()
        for guest in still:
            guest.stuck = False
        self.changes = {}
        return {name: size for name, size in moved.items() if name in self.guests}

    def _deflated(self) -> dict[str, float]:
        """Guests that are out of memory take some back."""
        short = [
            g for g in self.guests.values() if g.autodeflate and g.demand > g.actual and g.run_state == RunState.RUNNING
        ]
        for guest in short:
            guest.actual = min(guest.demand + 16, guest.maximum)
        return {guest.name: guest.actual for guest in short}

    def tick(self, seconds: int = 1) -> "WatchedNode":
        for _ in range(seconds):
            super().tick()
            for guest in self.guests.values():
                self._check_served(guest)
                self._check_left_alone(guest)
        return self

    def _step(self, moved: Mapping[str, float]) -> None:
        if self.inventory is not self.state.inventory:  # as a change of policies or domains wakes the loop
            self._decide(self.inventory, [], {})
        super()._step(moved)

    def _decide(self, inventory: Inventory, keys: list[str], moved: Mapping[str, float]) -> None:
        keys = [key for key in keys if key not in self.unheard]
        moved = {key: size for key, size in moved.items() if key not in self.unheard}
        for key in keys:
            self._enter(key, self.guests[key])
        for key, size in moved.items():
            if np.isfinite(self._book(key).told):
                self._hear(key, size * MIB)
        for name, guest in self.guests.items():
            self._agree(self._book(name), terms.terms(guest.facts(), self.policies))
        super()._decide(inventory, keys, moved)
        self.steps += 1
        self._check(self.decisions.pop())
        self.looks.clear()

    def _take(self, snapshot: Snapshot) -> None:
        felt = [(self.guests[name], grew) for name, grew in self.felt.items() if name in self.guests]
        resident = np.array([guest.process_mib() + grew for guest, grew in felt]) * MIB
        rows = np.array([snapshot.inventory.index[guest.name] for guest, _ in felt], dtype=np.int64)
        grew = np.array([grew for _, grew in felt]) * MIB
        super()._take(replace(snapshot, felt=Felt(rows, resident, grew, np.full(len(felt), self.now - 0.5))))

    def _agree(self, book: Books, agreed: PolicyTerms) -> None:
        before, book.terms = book.terms, agreed
        if before and before.restores and agreed.owner is None:
            book.released_at = self.now

    def _enter(self, key: str, guest: ScriptedGuest) -> None:
        book, report = self._book(key), guest.sample()
        book.run_state = RunState(int(report["run_state"]))
        book.maximum = report["maximum"] if np.isfinite(report["maximum"]) else book.maximum
        if book.run_state == RunState.NOT_RUNNING:
            book.told = 0.0  # it has ended, and what it was told with it
            book.ordered = book.unanswered = np.nan
            book.waits = False
        elif np.isfinite(report["actual"]):
            self._hear(key, report["actual"])
        if not book.reports or report["updated"] != book.reports[-1][1]["updated"]:
            book.reports.append((guest.reported_at, report))

    def _hear(self, key: str, size: float) -> None:
        book, guest = self._book(key), self.guests[key]
        near = SLACK + max(guest.grain, guest.misses) * MIB
        before, book.told = book.told, size
        book.rose_at = self.now if size > before + SLACK else book.rose_at
        if abs(size - book.unanswered) < near <= abs(before - book.unanswered):  # an order to stay put shows in no size
            book.ordered = book.unanswered = np.nan
            book.waits = False
        if abs(size - book.ordered) < near:
            book.ordered = np.nan

    def _tell_outcomes(self, inventory: Inventory) -> tuple[OrderOutcome, ...]:
        for name, result in dict(self.outcomes).items():
            if name in self.guests:
                self._book(name).shrinks &= result not in {OrderResult.REFUSED, OrderResult.WITHDRAWN}
                self._answered(self._book(name), result)
        return super()._tell_outcomes(inventory)

    def _answered(self, book: Books, result: OrderResult) -> None:
        book.waits = result is OrderResult.UNKNOWN and bool(np.isfinite(book.unanswered))
        if book.waits:
            return
        if result is OrderResult.DONE and np.isfinite(book.unanswered):
            book.ordered = book.unanswered
        book.unanswered = np.nan

    def _apply(self, action: Action) -> None:
        book = self._book(action.name)
        if action.name in self.unheard:
            self.outcomes.append((action.name, OrderResult.REFUSED))
            return
        assert not book.waits, f"rule 2: a further order while that to {book.unanswered} is not answered: {action}"
        book.eased = action.target >= book.ordered
        book.shrinks = action.target < book.told - SLACK
        book.origin = book.told if action.target < book.told - SLACK else book.origin
        refused = self.refuse_next == action.name
        super()._apply(action)
        if refused:
            return
        if (action.name, OrderResult.UNKNOWN) in self.outcomes:
            book.unanswered = float(np.fmax(book.unanswered, action.target))
        else:
            book.ordered = float(action.target)

    def _answer_late(self) -> None:
        for order in self.late_orders:
            if self.now - 1 < order.begins <= self.now:
                self._check_begun(order)
        super()._answer_late()

    def _check_begun(self, order: LateOrder) -> None:
        """Rules 1, 5 and 7: an order that had to wait for its turn is not sent where it has come to be wrong."""
        action, guest = order.action, self.guests.get(order.name)
        if guest is None or guest.incarnation != order.incarnation or order.name in self.unheard:
            return
        book, agreed = self._book(order.name), self._agreed(order.name)
        if action.reason is Reason.HANDED_OVER or action.target == action.before:
            return
        released = agreed.owner is None and action.reason is Reason.RELEASE_RESTORE
        assert agreed.enforced or (released and agreed.obstacle is Reason.NONE), f"rule 7: sent too late: {action}"
        reset = guest.reset_at != order.reset_at
        assert not reset or self.now - book.reset_at <= 1, f"rule 1: sent to a guest that was reset since: {action}"
        if released or reset:
            return
        assert action.target <= max(agreed.ceiling, book.told) + SLACK, f"rule 1: sent above {agreed.ceiling}: {action}"
        if self.minimums_fit:
            assert action.target >= min(agreed.minimum, book.told) - SLACK, (
                f"rule 1: sent below {agreed.minimum}: {action}"
            )
        if not action.grows and not book.eased:
            self._check_still_free(action, guest)

    def _check_still_free(self, action: Action, guest: ScriptedGuest) -> None:
        """Rule 1: what a guest has come to need since, and says so that it can be believed, is not taken from it."""
        report = self._book(action.name).reports[-1][1]
        believed = not guest.statistics and not guest.autodeflate and abs(self.wall - report["updated"]) <= NEWEST_S
        demand = report["actual"] - _left(report)
        assert not believed or action.target >= demand - SLACK, f"rule 1: sent below {demand / MIB} MiB: {action}"

    def _check(self, decision: Decision) -> None:
        names = [action.name for action in decision.actions]
        self.orders += len(names)
        assert len(names) == len(set(names)), f"rule 2: two orders for one guest in a step: {decision.actions}"
        stay = [not action.target < action.before for action in decision.actions if action.reason.moves]
        assert stay == sorted(stay), f"rule 2: a shrink after a grow: {decision.actions}"
        for action in decision.actions:
            self._check_action(action)
        budget = self._budget()
        if any(action.grows for action in decision.actions):
            self._check_budget(budget)
        for proposal in decision.proposals:
            assert not self._agreed(proposal.name).enforced, f"a proposal for a guest under Enforce: {proposal}"
        for notice in decision.notices:
            assert notice.key in self.guests
        self._check_next_look()
        self.minimums_fit = self._minimums_fit()
        if self.steps % 50 == 0:
            view(self.state, self.now)

    def _agreed(self, name: str) -> PolicyTerms:
        agreed = self._book(name).terms
        assert agreed is not None
        return agreed

    def _check_action(self, action: Action) -> None:
        if self._ends_a_shrink(action):
            return
        self._check_right(action)
        self._check_limits(action)
        if action.reason is Reason.STUCK:
            self._book(action.name).stuck_at = self.now
        elif not action.reason.moves:
            assert abs(action.target - self._book(action.name).told) < SLACK, f"neither moved nor halted: {action}"
        elif not action.grows:
            self._check_shrink(action)

    def _ends_a_shrink(self, action: Action) -> bool:
        """The owner's leave has ended while the balloon moves: it goes back, but not beyond where it came from."""
        if action.reason is not Reason.HANDED_OVER:
            return False
        agreed, book = self._agreed(action.name), self._book(action.name)
        assert not agreed.enforced, f"handed over under Enforce: {action}"
        assert book.run_state == RunState.RUNNING, f"rule 5: acted on a guest that is {book.run_state.name}: {action}"
        most = max(book.origin, self.guests[action.name].facts().definition if agreed.owner is None else 0)
        assert book.told - SLACK < action.target, f"rule 7: shrunk on: {action}"
        assert action.target < max(book.told, most) + SLACK, f"rule 7: given more than it had: {action}"
        return True

    def _check_right(self, action: Action) -> None:
        """Rules 5, 7 and 8."""
        agreed, book = self._agreed(action.name), self._book(action.name)
        released = agreed.owner is None and self.now - book.released_at <= RELEASED_S
        acts = agreed.enforced or (released and action.reason is Reason.RELEASE_RESTORE)
        assert acts, f"rule 7: acted on a guest that is not under Enforce: {action}"
        assert agreed.obstacle is Reason.NONE, f"rule 5: acted on a guest that is {agreed.obstacle}: {action}"
        assert book.run_state == RunState.RUNNING, f"rule 5: acted on a guest that is {book.run_state.name}: {action}"

    def _check_limits(self, action: Action) -> None:
        """Rule 1, the fixed part of it; minimums that may not fit the budget are met in part only (rule 4)."""
        agreed, book = self._agreed(action.name), self._book(action.name)
        top = min(np.fmin(self.guests[action.name].maximum * MIB, book.maximum), agreed.ceiling)
        assert action.target > 0, f"rule 1: a balloon of nothing: {action}"
        assert action.target <= max(top, book.told) + SLACK, f"rule 1: above {top / MIB} MiB: {action}"
        if self._minimums_fit():
            lowest = min(agreed.minimum, top)
            assert action.target >= min(lowest, book.told) - SLACK, f"rule 1: below {lowest / MIB} MiB: {action}"

    def _minimums_fit(self) -> bool:
        """Beyond doubt: beside what everyone needs for now; whoever is not managed keeps what he has."""
        kept = 0.0
        for name in self.guests:
            agreed, size = self._agreed(name), self._most(name)
            kept += max(agreed.minimum, min(self._demand(name), size)) if agreed.enforced else size
        return kept <= self._least_budget()

    def _demand(self, name: str) -> float:
        """Bytes that a guest says to need, and what keeps it out of reclaim there: the most of its newest reports, of
        which some do not count. Infinite where it says nothing, or has taken or got more since.
        """
        book = self._book(name)
        sizes = [
            report["actual"] - _left(report) for sent, report in book.reports[-FRESH_TO_SHRINK:] if sent >= book.rose_at
        ]
        demand = np.max(sizes) / (1 - RECLAIMS) if sizes else np.inf
        return float(demand) if np.isfinite(demand) else np.inf

    def _check_shrink(self, action: Action) -> None:
        """Rules 1, 2 and 8: taken on fresh word, never below demand, not hammered."""
        book, shortest = self._book(action.name), self._agreed(action.name).shortest
        assert len(book.reports) >= FRESH_TO_SHRINK, f"rule 8: after {len(book.reports)} reports: {action}"
        assert self.now - book.stuck_at >= RETRY_S, f"rule 2: stuck {self.now - book.stuck_at} s ago: {action}"
        if book.eased:
            return
        newest = NEWEST_S if action.reason is Reason.RELEASE_RESTORE else max(NEWEST_S, 2 * shortest)
        sent, report = book.reports[-1]
        assert self.now - sent <= newest, f"rule 1: on a report {self.now - sent} s old: {action}"
        demand = report["actual"] - _left(report)
        assert np.isfinite(demand), f"rule 1: shrunk without statistics: {action}"
        assert action.target >= demand - SLACK, f"rule 1: below demand of {demand / MIB} MiB: {action}"

    def _own_use(self) -> float:
        """Bytes that the host itself uses, with what QEMU holds beyond the sizes of its guests."""
        beyond = sum(max(guest.resident_mib() - guest.actual, 0) for guest in self.guests.values())
        overhead = sum(guest.process_mib() - guest.resident_mib() for guest in self.guests.values())
        return (self.host_use_mib + beyond + overhead) * MIB

    def _beside(self) -> float:
        """Bytes that guests may hold beside their balloons."""
        return sum(guest.devices for guest in self.guests.values()) * MIB

    def _given(self) -> float:
        """Bytes that guests have or may come to have."""
        return sum(self._most(name) for name in self.guests)

    def _most(self, name: str) -> float:
        """Bytes that a guest may come to have; one not looked at yet counts with its maximum."""
        promised = self._book(name).promised
        return self.guests[name].maximum * MIB if np.isnan(promised) else promised

    def _budget(self) -> float:
        """The most that a node may give whose own use is the least that the reading allows, bytes."""
        reading = self.reading()
        used = reading.total - reading.available + reading.merged
        least = max(used - self._given() - self._beside(), 0.0)
        self.highest_use = max(self.highest_use, self._own_use(), least)
        reserve, maximum = terms.budget(self.policies, reading.total)
        return max(min(reading.total - least - reserve, maximum) - self._beside(), 0.0)

    def _least_budget(self) -> float:
        """What it may give however much more own use is foreseen, bytes."""
        total = self.host_mib * MIB
        reserve, maximum = terms.budget(self.policies, total)
        used = max(self.highest_use, self._own_use())
        return max(min(UNFORESEEN * (total - used - reserve), maximum) - self._beside(), 0.0)

    def _check_budget(self, budget: float) -> None:
        """Rule 2: who grows, grows within the budget, whatever is still under way."""
        total = self._given()
        assert total <= budget + SLACK, f"rule 2: {total / MIB} MiB of {budget / MIB} MiB are given away"

    def _check_served(self, guest: ScriptedGuest) -> None:
        """Rules 3 and 4: nothing, minimums included, keeps free memory from a guest in need that tells the truth."""
        book, agreed = self._book(guest.name), self._book(guest.name).terms
        top = min(guest.maximum * MIB, agreed.ceiling) if agreed else 0.0
        served = np.isfinite(book.ordered) and book.ordered > guest.actual * MIB + SLACK
        honest = not (guest.frozen or guest.silent_in_need or guest.statistics or guest.stuck or guest.late)
        honest &= guest.name not in self.unheard
        in_need = (
            guest.demand > guest.actual and guest.actual * MIB < top - 8 * SLACK and guest.run_state == RunState.RUNNING
        )
        free = self._least_budget() - self._given()
        starves = bool(agreed and agreed.enforced and in_need and honest and not served and free >= PLENTY)
        book.starving = book.starving + 1 if starves else 0
        limit = STARVES_S + 3 * max(guest.period, agreed.shortest if agreed else 0)
        assert book.starving <= limit, f"rule 3: {guest.name} starves beside {free / MIB} MiB"

    def _check_left_alone(self, guest: ScriptedGuest) -> None:
        """Rule 7: a shrink that is under way ends, too."""
        book = self._book(guest.name)
        reached = guest.run_state == book.run_state == RunState.RUNNING and guest.name not in self.unheard
        blocked = guest.late or guest.deflates_to or self.refuse_next == guest.name or not reached
        shrinks = book.shrinks and book.ordered < book.told - MISSES and bool(book.terms) and not book.terms.enforced
        book.shrinks_on = book.shrinks_on + 1 if shrinks and not blocked else 0
        assert book.shrinks_on <= ENDS_S, f"rule 7: {guest.name} shrinks on to {book.ordered / MIB} MiB"

    def _check_next_look(self) -> None:
        """Nobody is forgotten, and nobody is looked at all the time."""
        if self.looks and not self.unheard:
            wait = next_due(self.state, self.inventory, self.now) - self.now
            longest = max(self._agreed(name).longest for name in self.guests)
            assert 0 <= wait <= longest, f"the next look is in {wait} s"


def _left(report: Report) -> float:
    usable, unused = report["usable"], report["unused"]
    believed = np.isfinite(usable) and (usable != 0 or not unused > 0)
    return usable if believed else unused
