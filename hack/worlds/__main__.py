"""The command line of `./hack/gauntlet`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from controller.api.policy import MemoryPolicy
from controller.cli.policyfile import one_policy
from controller.cli.progress import ended_by_sigterm, plainly, progress_bar
from controller.replay.controllers import FIXED, MODELS, OURS, PROBE, names
from controller.replay.controllers import PEERS as OTHERS
from controller.replay.pool import Pool
from lab.newfile import NewFile
from worlds import chart, constants, effects, tables
from worlds.evaluation import Candidate, WorldJob, WorldResult, as_named, evaluate
from worlds.shapes import TRENDS
from worlds.summary import PEERS, CandidateSummary, summary
from worlds.world import families, worlds

POLICY = MemoryPolicy.model_validate(
    {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": "gauntlet"},
        "spec": {"mode": "Enforce", "budget": {"reserve": "0", "reservePercent": 0}},
    }
)
"""The defaults, without a reserve: its peers keep none."""

RECLAIM = POLICY.model_copy(update={"spec": POLICY.spec.model_copy(update={"spare": "Reclaim"})})
"""Here the forecast is the target; where spare memory is shared, it moves the looks only."""

UNASKED = (OURS, FIXED)

TRENDING = tuple(shape.__name__ for shape in TRENDS)

WIDTH = 120
"""Columns of a table at least, on narrow terminals too: one that is cut off is of no use."""


def _seeds(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    try:
        found = tuple(range(int(first), int(last or first) + 1))
    except ValueError:
        found = ()
    if not found:
        raise click.BadParameter(f"{text!r} are no seeds; write them like 7 or 0-49")
    return found


def _families(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    return _known("family", text, families())


def _controllers(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    return _known("controller", text, names())


def _known(what: str, text: str, there: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in found:
        if name not in there:
            raise click.BadParameter(f"{what} {name!r} does not exist; use some of {', '.join(there)}")
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", callback=_seeds, default="0-2", show_default=True, help="Each makes a world of every family.")
@click.option("--only", metavar="FAMILY,...", callback=_families, default="", help="Of these families only.")
@click.option("--policy", "policy_file", metavar="FILE", type=click.Path(path_type=Path), help="Ballast's policy.")
@click.option("--reclaim", is_flag=True, help="The default policy, but with `spare: Reclaim`.")
@click.option("--controllers", metavar="NAME,...", callback=_controllers, default=",".join(UNASKED), show_default=True)
@click.option("--ablate", is_flag=True, help="Every forecast model in turn, and fixed looks, where demand has trends.")
@click.option(
    "--sweep",
    "sweeps",
    metavar="NAME[=VALUE,...]",
    multiple=True,
    help="Other values of a constant; as often as wanted. With --sensitivity, one of those that are changed.",
)
@click.option("--constants", "listed", is_flag=True, help="List the constants of engine and forecast, and exit.")
@click.option(
    "--sensitivity", is_flag=True, help="Every constant halved and doubled, beside Ballast as it is; no peers."
)
@click.option("--jobs", type=click.IntRange(1), help="Worlds replayed at once.  [default: one a processor]")
@click.option("--json", "json_file", metavar="FILE", type=NewFile())
@click.option(
    "--known",
    "known_file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="Peers and probe from what an earlier run wrote with --json: right while nothing but Ballast changes.",
)
@click.option("--png", "png_file", metavar="FILE", type=NewFile())
def main(  # noqa: PLR0913, PLR0917 - click passes one argument an option
    seeds: tuple[int, ...],
    only: tuple[str, ...],
    policy_file: Path | None,
    reclaim: bool,
    controllers: tuple[str, ...],
    ablate: bool,
    sweeps: tuple[str, ...],
    listed: bool,
    sensitivity: bool,
    jobs: int | None,
    json_file: Path | None,
    known_file: Path | None,
    png_file: Path | None,
) -> None:
    """Replay Ballast, its peers and the probe in simulated worlds, and show which served the guests best.

    A seed makes the same worlds each time. Without a policy Ballast has the default one, and no reserve.

    \b
    Examples:
      ./hack/gauntlet --seeds 0-9 --png ratios.png
      ./hack/gauntlet --only jobs,spikes --controllers ballast,ballast:ols
      ./hack/gauntlet --ablate --reclaim
      ./hack/gauntlet --sweep pool --sweep look_price=0.0005,0.002 --only ramps,jobs
      ./hack/gauntlet --sensitivity --seeds 0 --only mixed,sleepers
      ./hack/gauntlet --sensitivity --sweep forecast.bound.RATE --sweep pool
    """
    if policy_file and reclaim:
        raise click.UsageError("--reclaim is for the default policy; with --policy, write `spare: Reclaim` there")
    if sensitivity and (ablate or png_file):
        raise click.UsageError("--sensitivity knows no peers; leave out --ablate and --png")
    if sensitivity and any("=" in sweep for sweep in sweeps):
        raise click.UsageError("--sensitivity halves and doubles; leave out the values after --sweep")
    if listed:
        for name, value in constants.known().items():
            click.echo(f"{name} = {value:g}")
        return
    with _plainly(), ended_by_sigterm():
        policy = one_policy(policy_file) if policy_file else RECLAIM if reclaim else POLICY
        ablated = _ablated(policy) if ablate else ()
        halved = [constants.values(sweep)[0] for sweep in sweeps] or [*constants.known()]
        candidates = effects.changed_constants(halved) if sensitivity else _candidates(ablated or controllers, sweeps)
        known = _read(known_file) if known_file else {}
        places = worlds(seeds, only or (TRENDING if ablate else ()))
        work = [WorldJob(*place, one, policy, known.get(place)) for place in places for one in candidates]
        results = _results(work, jobs, None if sensitivity else candidates[0].label)
    summaries = [] if sensitivity else [summary(one.label, results, one.controller not in OTHERS) for one in candidates]
    if sensitivity:
        click.echo(effects.sensitivity(halved, results))
    else:
        _print(summaries)
    if ablated:
        click.echo("\n" + effects.ablation(ablated[1:], ablated[0], results))
    if json_file:
        data = {"summary": [one.entry() for one in summaries], "worlds": [one.entry() for one in results]}
        json_file.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    if png_file:
        chart.draw(results, candidates[0].label, png_file)


def _candidates(controllers: Sequence[str], sweeps: Sequence[str]) -> tuple[Candidate, ...]:
    """Who is asked for, and those they are measured against. Raises ConstantError."""
    asked = [as_named(name) for name in (UNASKED if sweeps else controllers)]
    for sweep in sweeps:
        name, values = constants.values(sweep)
        asked += [Candidate(f"{OURS} {name}={value:g}", OURS, {name: value}) for value in values]
    others = [as_named(name) for name in (PROBE, *PEERS) if name not in {one.label for one in asked}]
    return (*asked, *others)


def _ablated(policy: MemoryPolicy) -> tuple[str, ...]:
    """The policy's own model, every other in its place, and no adaptive looks."""
    others = [name for name, kind in MODELS.items() if kind != policy.spec.advanced.model.type]
    return (OURS, *(f"{OURS}:{name}" for name in others), FIXED)


def _read(path: Path) -> dict[tuple[int, str], WorldResult]:
    """An earlier run's results, by seed and family."""
    try:
        results = [WorldResult.of(entry) for entry in json.loads(path.read_text())["worlds"]]
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be read: {error.strerror}; name another file") from error
    except (KeyError, TypeError, ValueError) as error:
        raise click.ClickException(f"{path}: is not what --json writes; name such a file") from error
    return {(one.seed, one.family): one for one in results}


def _results(jobs: Sequence[WorldJob], workers: int | None, label: str | None) -> list[WorldResult]:
    """All of them; a line about `label` in each as it comes."""
    found = []
    with Pool(workers) as pool, progress_bar("replays") as bar:
        for result in evaluate(jobs, pool, bar):
            if label is not None:
                bar.say(tables.line(result, label))
            found.append(result)
    return found


def _print(summaries: Sequence[CandidateSummary]) -> None:
    console = Console(width=max(Console().width, WIDTH))
    console.print(f"{summaries[0].worlds} worlds")
    console.print(tables.summary_table(summaries))
    console.print(tables.LEGEND)


@contextmanager
def _plainly() -> Iterator[None]:
    with plainly():
        try:
            yield
        except constants.ConstantError as error:
            raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="./hack/gauntlet")
