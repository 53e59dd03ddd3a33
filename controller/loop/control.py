"""The control loop: wait, look at who is due, step, act, publish. One thread; all others only wake it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.api.policy import Metadata
from controller.engine.balance import Shortage
from controller.engine.decision import Action, Decision, Notice
from controller.engine.inventory import DomainFacts, Inventory
from controller.engine.ownership import assign
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading, OrderResult, Samples
from controller.engine.state import State
from controller.engine.step import alert_at, align, due, next_due, parting, stands, step
from controller.host.meminfo import MeminfoError
from controller.host.senses import Feelings, Sense, swap_sense
from controller.loop.alarms import Alarms
from controller.loop.clock import Clock
from controller.loop.ports import Host, PolicySource
from controller.loop.snapshots import snapshot
from controller.observe.advice import advice
from controller.observe.decisionhistory import DecisionHistory
from controller.observe.eventlog import EventLog
from controller.observe.loopcounters import LOOK, ORDER, LoopCounters
from controller.observe.remarks import Ownership, ownership
from controller.observe.statusstore import StatusSnapshot, StatusStore, reached
from controller.observe.timeseries import TimeSeries

GAP_S = 0.1
"""Least seconds between two iterations: a storm of balloon events is worth one step, not one each."""
RETRY_S = 1.0
"""Seconds until a domain that was asked in vain (its connection is down) is asked again."""
HEARTBEAT_S = 10.0
"""Most seconds between two iterations: proves the loop alive and notices what no event told."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration came to."""

    decision: Decision
    refused: dict[str, str]
    """libvirt's message by key, of actions it refused."""
    looked: int
    """Domains that answered."""


class ControlLoop:
    """Runs the engine against a host. Not thread-safe: `run` and `iterate` belong to one thread."""

    def __init__(
        self, host: Host, source: PolicySource, clock: Clock, status_store: StatusStore, *, observe: bool = False
    ) -> None:
        """`observe`: nothing is changed, whatever the policies' modes."""
        self._host = host
        self._source = source
        self._clock = clock
        self._status_store = status_store
        self._observe = observe
        self.loop_counters = LoopCounters(clock.monotonic)
        """For the metrics."""
        self._event_log = EventLog()
        self._decision_history = DecisionHistory()
        self._time_series = TimeSeries()
        self._shortage = Shortage()
        self._state = State.initial()
        self._inventory: Inventory | None = None
        self._facts: tuple[DomainFacts, ...] | None = None
        self._version: int | None = None
        self._began = clock.wall()
        self._succeeded: set[str] = set()
        """Keys of the domains that were taken over from an earlier run, if there was one."""
        self._ownership = Ownership()
        self._in_force: dict[str, Metadata] = {}
        self._wishes_errors: dict[str, str] = {}
        self._answers: dict[str, tuple[OrderResult, str]] = {}
        """By key, of orders that were not done, or may not have been; for the next step."""
        self._refusals: dict[str, str] = {}
        """By key, what libvirt said when it last refused an order."""
        self._reading: HostReading | None = None
        """Of the host's memory, the last one."""
        self._alarms = Alarms()
        self._asked: frozenset[str] = frozenset()
        self._looked = False
        self._periods: dict[str, int] = {}

    def run(self) -> None:
        """Iterate until the clock is stopped, then release what is managed."""
        try:
            while not self._clock.stopped:
                self.iterate()
                self._clock.wait(GAP_S, self.pause())
        finally:
            self.release()

    def iterate(self) -> Iteration:
        """One round: whoever is due is looked at, and what the engine decides is carried out."""
        inventory = self._refresh()
        self._host.withdraw(self._stands)
        self._feel()
        asked = self._alarms.whom_to_ask(self._state, inventory, self._clock.monotonic())
        self._ensure_statistics(asked)
        samples = self._look(asked, inventory)
        felt = self._feel()
        now = self._clock.monotonic()
        decision = self._decide(inventory, samples, felt, now)
        self._host.withdraw(self._stands)
        self._host.alert_at(self._state.inventory.keys, alert_at(self._state))
        self.loop_counters.false_alarms(self._alarms.settle(self._state, asked, now))
        refused = self._apply(decision, inventory)
        self.loop_counters.looked(self._state.reason[samples.rows])
        self._asked = frozenset(asked)
        iteration = Iteration(decision, refused, len(samples.rows))
        self._tell(iteration, now)
        return iteration

    def pause(self) -> float:
        """Seconds until the next iteration is needed, if nothing wakes the loop before."""
        now = self._clock.monotonic()
        inventory = self._inventory
        if inventory is None:
            return RETRY_S
        wait = next_due(self._state, inventory, now) - now
        if not self._asked.isdisjoint(due(self._state, inventory, now)):
            wait = RETRY_S
        wait = min(wait, self._alarms.next_due() - now)
        return float(min(max(wait, GAP_S), HEARTBEAT_S))

    def release(self) -> None:
        """Take back shrinks that are under way, and put back every statistics period that was set. Guests keep the
        memory they have.
        """
        orders = parting(self._state, self._clock.monotonic())
        self._event_log.actions(orders, self._apply(Decision(orders), self._state.inventory))
        self._host.restore_statistics(sorted(self._periods))
        self._periods = {}

    def _refresh(self) -> Inventory:
        """The inventory; rebuilt only when the host's facts or the policies changed."""
        facts = self._host.inventory()
        version, policies = self._source.current()
        if self._inventory is not None and facts is self._facts and version == self._version:
            return self._inventory
        node = self._source.node
        unowned = Reason.AWAITING_POLICIES if self._source.awaited else Reason.NO_POLICY
        assignment = assign(facts, policies, node, unowned, observe=self._observe)
        gone = () if self._inventory is None else self._inventory.index.keys() - assignment.inventory.index.keys()
        self._event_log.forget(gone)
        self._refusals = {key: said for key, said in self._refusals.items() if key not in gone}
        self._facts, self._version, self._inventory = facts, version, assignment.inventory
        self._in_force = {policy.name: policy.metadata for policy in policies}
        self._ownership = Ownership() if self._source.awaited else ownership(assignment, self._in_force, node.name)
        self._wishes_errors = {domain.key: domain.asked.error for domain in facts}
        self._event_log.remarks(self._ownership.remarks)
        now = self._clock.monotonic()
        self._succeed(facts, assignment.inventory, now)
        self._let_go(assignment.inventory)
        self._state = align(self._state, assignment.inventory, now)
        return assignment.inventory

    def _succeed(self, facts: Sequence[DomainFacts], inventory: Inventory, now: float) -> None:
        """Take over from an earlier run who ran before this one, each once its libvirt has come: what it acted on and
        nobody acts on any more is released.
        """
        inherited = self._source.inherited
        if not inherited or self._source.awaited or self._observe:
            return
        heirs = {each.key for each in facts if each.started_at < self._began} - self._succeeded
        if not heirs:
            return
        self._succeeded |= heirs
        theirs = np.array([each.key in heirs for each in facts])
        taken = assign(facts, inherited, self._source.node).inventory
        columns = {
            name: np.where(theirs, getattr(taken, name), getattr(inventory, name))
            for name in ("policy", "enforce", "restore")
        }
        self._state = align(self._state, replace(inventory, **columns), now)
        self._periods |= {key: each for key, each in _periods(taken).items() if key in heirs}

    def _let_go(self, inventory: Inventory) -> None:
        """Domains that may no longer be changed get their own statistics period back."""
        wanted = _periods(inventory)
        released = sorted((self._periods.keys() - wanted.keys()) & inventory.index.keys())
        if released:
            self._host.restore_statistics(released)
        self._periods = wanted

    def _ensure_statistics(self, asked: Sequence[str]) -> None:
        """Asked for at every look: the connection may have been away, or the guest may have rebooted."""
        for key in asked:
            if key in self._periods:
                self._host.ensure_statistics(key, self._periods[key])

    def _feel(self) -> Feelings:
        """What the host feels; who is felt to grow, or to stall, is to be looked at."""
        felt = self._host.feel()
        self.loop_counters.alarms(*self._alarms.hear(felt, self._state, self._clock.monotonic()))
        return felt

    def _look(self, asked: Sequence[str], inventory: Inventory) -> Samples:
        if not asked:
            return Samples.empty()
        with self.loop_counters.call(LOOK):
            return self._host.look({key: inventory.index[key] for key in asked})

    def _decide(self, inventory: Inventory, samples: Samples, felt: Feelings, now: float) -> Decision:
        """What is to be done; nothing before the host's memory is known."""
        reading = self._read_host()
        if reading is None:
            return Decision()
        moved, late = self._host.drain_events(), self._host.drain_answers()
        self._note_refusals(late)
        answers, wall = {**self._answers, **late}, self._clock.wall()
        with self.loop_counters.step():
            seen = snapshot(inventory, samples, reading, wall, moved=moved, felt=felt, answers=answers)
            self._state, decision = step(self._state, seen, now)
        return decision

    def _read_host(self) -> HostReading | None:
        """The host's memory; as it was last, while it cannot be read: one failure must not end the loop."""
        try:
            self._reading = self._host.read()
        except (MeminfoError, OSError) as error:
            self._event_log.host_unread(str(error))
        else:
            self._event_log.host_unread("")
        return self._reading

    def _apply(self, decision: Decision, inventory: Inventory) -> dict[str, str]:
        """Carry out the decision; libvirt's message by key, of actions it refused."""
        self.loop_counters.proposals(decision.proposals)
        self._answers = {}
        if not decision.actions:
            return {}
        with self.loop_counters.call(ORDER):
            outcomes = self._host.apply(decision.actions)
        self._answers = {inventory.keys[each.row]: (each.result, each.message) for each in outcomes}
        self._note_refusals(self._answers)
        refused = {key: message for key, (result, message) in self._answers.items() if result is OrderResult.REFUSED}
        self.loop_counters.orders(decision.actions, refused)
        return refused

    def _stands(self, action: Action) -> bool:
        """Whether an order that waits would be given by what is known now."""
        return stands(action, self._state)

    def _note_refusals(self, answers: Mapping[str, tuple[OrderResult, str]]) -> None:
        new = {key: message for key, (result, message) in answers.items() if result is OrderResult.REFUSED}
        self._refusals = self._refusals | new

    def _tell(self, iteration: Iteration, now: float) -> None:
        connections = tuple(self._host.status())
        self._looked = self._looked or (reached(connections) and (iteration.looked > 0 or not self._asked))
        self._event_log.notices(iteration.decision.notices, self._advise)
        self._event_log.proposals(iteration.decision.proposals)
        self._event_log.actions(iteration.decision.actions, iteration.refused)
        self._decision_history = self._decision_history.extended(
            self._state, iteration.decision, iteration.refused, now
        )
        self._time_series = self._time_series.extended(self._state, now)
        self._shortage = self._shortage.extended(self._state, now)
        self._status_store.publish(
            StatusSnapshot(
                at=now,
                state=self._state,
                connections=connections,
                problems=self._source.problems,
                looked=self._looked,
                ownership=self._ownership,
                wishes_errors=self._wishes_errors,
                refusals=self._refusals,
                in_force=self._in_force,
                outage=self._source.outage,
                awaited=self._source.awaited,
                decision_history=self._decision_history,
                time_series=self._time_series,
                senses=self._senses(),
                shortage=self._shortage,
            )
        )

    def _senses(self) -> tuple[Sense, ...]:
        """What tells of guests between looks, or of what looks do not show: the guests' own swap among it."""
        resident, *others = self._host.senses()
        observed = self._state.observation
        return (resident, swap_sense(observed.swap_in, observed.swap_out), *others)

    def _advise(self, notice: Notice) -> str:
        """What the user can do about it, where the reason alone does not tell."""
        inventory = self._state.inventory
        owner = int(inventory.policy[inventory.index[notice.key]])
        mode = inventory.modes[owner] if owner >= 0 else None
        return advice(str(notice.reason), notice.name, mode, self._wishes_errors.get(notice.key, ""))


def _periods(inventory: Inventory) -> dict[str, int]:
    """By key, the statistics period (s) of each domain that Ballast may change.

    A domain in Observe is not among them: the period is the domain's, and Observe changes nothing. The period
    is the shortest interval at which the domain is ever looked at; a shorter one would only cost the guest.
    """
    touched = np.flatnonzero(inventory.enforce)
    return {inventory.keys[row]: int(inventory.interval_minimum[row]) for row in touched.tolist()}
