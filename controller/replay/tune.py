"""Tuning: parameters of a policy, chosen on the first part of traces and judged on the rest.

A search in rounds: every single change is replayed, first where the burden is heaviest, then, if it helps there, on all
pieces. Those that gain are joined, the best first, as far as they gain together. What is found is replayed once on the
part held out, and is proposed only if it gains there, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from controller.api.policy import MemoryPolicy
from controller.replay.ballast import ReplayedBallast, enforced
from controller.replay.holdout import Piece, Split
from controller.replay.objective import PieceOutcome, bearable, cost, gains, pooled
from controller.replay.pool import Pool, Watcher
from controller.replay.proposals import Changes, Option, Resolution, changed, difference, options
from controller.replay.run import replay
from controller.replay.score import ReplayFigures

ROUNDS = 2
"""The second finds what gains only after the first, and what no longer does."""

Served = tuple[PieceOutcome, ...]
"""What a policy did to each of several pieces."""


@dataclass(frozen=True, slots=True)
class TuningPart:
    """What the start and what the search found did to the same pieces."""

    start: Served
    found: Served


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What came of it."""

    start: MemoryPolicy
    found: MemoryPolicy
    """The best on the part to choose on; equal to `start` where nothing gained."""
    changes: Changes
    """From start to found."""
    chosen_on: TuningPart
    held_out: TuningPart

    @property
    def holds(self) -> bool:
        """What was found gains on what was held out, too: it is proposed."""
        part = self.held_out
        return bool(self.changes) and gains(part.found, part.start) and bearable(part.found, part.start)

    @property
    def policy(self) -> MemoryPolicy:
        """The proposal, or the policy that stays."""
        return self.found if self.holds else self.start


def tune(start: MemoryPolicy, splits: Sequence[Split], autodeflate: bool, pool: Pool, watcher: Watcher) -> TuningResult:
    """Search from `start`, whose mode stays as it is. Raises PoolError, ReplayError."""
    evaluator = PolicyEvaluator([piece for split in splits for piece in split.chosen_on], autodeflate, pool, watcher)
    changes = difference(start, search(start, evaluator))
    found = changed(start, changes)  # without fields that the search set and set back
    assert found is not None
    judges = PolicyEvaluator([piece for split in splits for piece in split.held_out], autodeflate, pool, watcher)
    pair = (start, found)
    return TuningResult(start, found, changes, TuningPart(*evaluator.serve(pair)), TuningPart(*judges.serve(pair)))


@dataclass(frozen=True, slots=True)
class TuningTrial:
    """One policy on one piece."""

    policy: MemoryPolicy
    piece: Piece
    autodeflate: bool


def run(trial: TuningTrial) -> ReplayFigures:
    """Replay it. Raises ReplayError."""
    return replay(trial.piece.trace, ReplayedBallast(trial.policy), trial.piece.host_mib, trial.autodeflate).figures


@dataclass
class PolicyEvaluator:
    """Replays policies on the same pieces; of policies that act alike there, one."""

    pieces: Sequence[Piece]
    autodeflate: bool
    pool: Pool
    watcher: Watcher
    _known: dict[tuple[str, int], ReplayFigures] = field(default_factory=dict)

    @property
    def resolution(self) -> Resolution:
        """What the pieces can show."""
        return Resolution(max(piece.trace.step_s for piece in self.pieces), min(piece.span_s for piece in self.pieces))

    def serve(self, policies: Sequence[MemoryPolicy], places: Sequence[int] | None = None) -> list[Served]:
        """What each policy does to each piece, or to those at `places`; replayed side by side.

        Raises PoolError, ReplayError.
        """
        if places is None:
            places = range(len(self.pieces))
        rows = [[self._key(policy, place) for place in places] for policy in policies]
        new = {
            key: TuningTrial(policy, self.pieces[key[1]], self.autodeflate)
            for policy, row in zip(policies, rows, strict=True)
            for key in row
            if key not in self._known
        }
        self.watcher.more(len(new))
        self._known.update(zip(new, self.pool.outcomes(run, list(new.values()), self.watcher.done), strict=True))
        return [tuple(map(self._outcome, row)) for row in rows]

    def _key(self, policy: MemoryPolicy, place: int) -> tuple[str, int]:
        """The same for policies that act alike on the piece at `place`."""
        return enforced(policy, self.pieces[place].trace.step_s).spec.model_dump_json(), place

    def _outcome(self, key: tuple[str, int]) -> PieceOutcome:
        piece = self.pieces[key[1]]
        return PieceOutcome(self._known[key], piece.need_mib_s, piece.domain_hours)


def search(start: MemoryPolicy, evaluator: PolicyEvaluator) -> MemoryPolicy:
    """The best policy found; `start` where nothing gains. Raises PoolError, ReplayError."""
    best = start
    for _ in range(ROUNDS):
        singles = _single_gains(start, best, evaluator)
        if not singles:
            break
        best = _joined(start, best, singles, evaluator)
    return best


def _single_gains(start: MemoryPolicy, now: MemoryPolicy, evaluator: PolicyEvaluator) -> list[Option]:
    """Of every parameter the best change that gains over `now`; the best of all first."""
    tries = _helpful(now, options(now, evaluator.resolution), evaluator)
    costs = _costs(start, now, [option.policy for option in tries], evaluator)
    best: dict[str, Option] = {}
    for place in sorted(range(len(tries)), key=costs.__getitem__):
        if costs[place] < inf:
            best.setdefault(tries[place].field, tries[place])
    return list(best.values())


def _helpful(now: MemoryPolicy, tries: Sequence[Option], evaluator: PolicyEvaluator) -> list[Option]:
    """Those that help where the burden is heaviest: replaying the others on all pieces would be waste."""
    (served,) = evaluator.serve([now])
    costs = [cost(one.figures) for one in served]
    heaviest = costs.index(max(costs))
    there = evaluator.serve([option.policy for option in tries], [heaviest])
    return [option for option, (one,) in zip(tries, there, strict=True) if cost(one.figures) < costs[heaviest]]


def _joined(
    start: MemoryPolicy, now: MemoryPolicy, singles: Sequence[Option], evaluator: PolicyEvaluator
) -> MemoryPolicy:
    """The first one, two, three ... of the changes together, whichever are lightest. Where two concern a field, the
    first counts.
    """
    changes: Changes = {}
    made = []
    for option in singles:
        changes = {**option.changes, **changes}
        policy = changed(now, changes)
        if policy is not None:
            made.append(policy)
    costs = _costs(start, now, made, evaluator)
    return made[costs.index(min(costs))]


def _costs(
    start: MemoryPolicy, now: MemoryPolicy, candidates: Sequence[MemoryPolicy], evaluator: PolicyEvaluator
) -> list[float]:
    """Each candidate's burden; infinite where it gains nothing over `now`, or harms more than is bearable."""
    at_start, at_present, *served = evaluator.serve([start, now, *candidates])
    return [cost(pooled(one)) if gains(one, at_present) and bearable(one, at_start) else inf for one in served]
