"""What changes when one thing is changed: a candidate's figures as multiples of another's, world by world."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from controller.replay.controllers import OURS
from worlds import constants
from worlds.evaluation import Candidate, WorldResult, as_named
from worlds.summary import FINE_S, FLOOR, ratio

CHANGES = (0.5, 2.0)
"""Factors by which each constant is changed."""

UNMOVED = 0.02
"""By which a figure may differ and still be the same: decisions that fall at other instants move it as much."""

SELDOM = 1.0
"""Moves a domain-hour below which it matters to nobody how many there are."""

ABLATION_HEAD = """\
| In place of Ballast as it is | Harm | Moves | Looks |
|---|---|---|---|"""

SENSITIVITY_HEAD = """\
| Constant | Of | Value | Harm at half | at double | Moves at half | at double | Looks at half | at double |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Effect:
    """One candidate beside another, over some worlds."""

    ratios: tuple[tuple[float, ...], ...]
    """Of harm, moves and looks: each a ratio a world, looks where samples are fine, if they are anywhere."""
    same: bool
    """All figures are equal to the last digit: what was changed decides nothing."""

    @classmethod
    def of(cls, label: str, base: str, results: Sequence[WorldResult]) -> "Effect":
        """`label` beside `base`; at least one result, both in each."""
        pairs = [(one.replays[label].figures, one.replays[base].figures) for one in results]
        fine = [pair for pair, one in zip(pairs, results, strict=True) if one.step_s <= FINE_S] or pairs
        harm = tuple(ratio(ours.harm, theirs.harm, FLOOR) for ours, theirs in pairs)
        moves = tuple(
            ratio(ours.reallocations_per_domain_hour, theirs.reallocations_per_domain_hour, SELDOM)
            for ours, theirs in pairs
        )
        looks = tuple(ours.looks_per_domain_hour / theirs.looks_per_domain_hour for ours, theirs in fine)
        return cls((harm, moves, looks), all(ours == theirs for ours, theirs in pairs))

    @property
    def means(self) -> tuple[float, ...]:
        """Geometric, of harm, moves and looks."""
        return tuple(exp(sum(map(log, each)) / len(each)) for each in self.ratios)

    @property
    def unmoved(self) -> bool:
        """No figure differs in any world."""
        return all(_alike(ratio) for each in self.ratios for ratio in each)


def ablation(labels: Sequence[str], base: str, results: Sequence[WorldResult]) -> str:
    """A table in Markdown: mean, least and largest ratio to `base` over worlds, a row for each of `labels`."""
    rows = [ABLATION_HEAD]
    for label in labels:
        effect = Effect.of(label, base, results)
        pairs = zip(effect.means, effect.ratios, strict=True)
        rows.append(_row(f"`{label}`", *(f"{mean:.2f} ({min(each):.2f} to {max(each):.2f})" for mean, each in pairs)))
    return "\n".join(rows)


def changed_constants(names: Sequence[str]) -> tuple[Candidate, ...]:
    """Ballast as it is, and with each constant of these names halved and doubled."""
    changes = [(name, constants.scaled(name, factor)) for name in names for factor in CHANGES]
    return (as_named(OURS), *(Candidate(_label(name, value), OURS, {name: value}) for name, value in changes))


def sensitivity(names: Sequence[str], results: Sequence[WorldResult]) -> str:
    """Of `changed_constants`, in Markdown: a row for each constant that moves a mean, and the names of all others."""
    rows = [SENSITIVITY_HEAD]
    stages, values = constants.stages(), constants.known()
    single, unmoved, same = [], [], []
    for name in names:
        effects = [_effect(name, factor, results) for factor in CHANGES]
        means = [mean for figure in zip(*(effect.means for effect in effects), strict=True) for mean in figure]
        if all(effect.same for effect in effects):
            same.append(name)
        elif all(effect.unmoved for effect in effects):
            unmoved.append(name)
        elif all(map(_alike, means)):
            single.append(name)
        else:
            rows.append(_row(f"`{name}`", stages[name], f"{values[name]:.8g}", *(f"{mean:.2f}" for mean in means)))
    return "\n".join(
        (
            *rows,
            "",
            *_named(f"No mean moves by more than {100 * UNMOVED:g} %, only figures of single worlds", single),
            *_named(f"No figure of any world moves by more than {100 * UNMOVED:g} %", unmoved),
            *_named("All figures stay the same to the last digit", same),
        )
    )


def _effect(name: str, factor: float, results: Sequence[WorldResult]) -> Effect:
    return Effect.of(_label(name, constants.scaled(name, factor)), OURS, results)


def _label(name: str, value: float) -> str:
    return f"{name}={value:g}"


def _alike(ratio: float) -> bool:
    return 1 / (1 + UNMOVED) <= ratio <= 1 + UNMOVED


def _named(what: str, names: Sequence[str]) -> tuple[str, ...]:
    return (f"- {what}: {', '.join(f'`{name}`' for name in names)}.",) if names else ()


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
