"""Controllers by name, as `--controllers` takes them."""

from collections.abc import Callable

from controller.api.policy import MemoryPolicy
from controller.engine.step import DEFAULT
from controller.engine.tuning import Tuning
from controller.forecast import registry
from controller.replay.ballast import ReplayedBallast, with_fixed_looks, with_model
from controller.replay.contract import Controller
from controller.replay.peers.clairvoyant import Clairvoyant
from controller.replay.peers.mom import Mom
from controller.replay.peers.pi import Pi
from controller.replay.peers.probe import Probe
from controller.replay.peers.proxmox import Proxmox
from controller.replay.peers.qmemman import Qmemman
from controller.replay.peers.static_max import StaticMax
from controller.replay.peers.static_share import StaticShare
from controller.replay.peers.virtui import Virtui
from controller.replay.peers.vpa import Vpa

PEERS: dict[str, Callable[[], Controller]] = {
    "static": StaticShare,
    "max": StaticMax,
    "mom": Mom,
    "proxmox": Proxmox,
    "qmemman": Qmemman,
    "pi": Pi,
    "vpa": Vpa,
    "virtui": Virtui,
    "probe": Probe,
    "clairvoyant": Clairvoyant,
}
"""Every controller but Ballast."""

OURS = "ballast"

MODELS = {name.lower(): name for name in registry.KINDS}
"""`ballast:MODEL` replaces the policy's model."""

FIXED = f"{OURS}:fixed"
"""Looks at the policy's shortest interval, however calm a domain is: what adaptive looks are measured against."""

UNFELT, REPORTING = f"{OURS}:unfelt", f"{OURS}:reporting"
"""Knows nothing of guests between looks, as where no /proc can be read; and of guests that report their free pages, of
which the host feels all that they take.
"""

REPORTING_FIXED = f"{REPORTING}-fixed"
"""Looks at such guests at the policy's shortest interval."""

BOUND = "clairvoyant"
"""What nobody can beat."""

PROBE = "probe"
"""What a forecast has to beat: nobody's policy."""

RIVALS = tuple(name for name in PEERS if name not in {BOUND, PROBE})
"""What others use: among them is the best peer."""


class UnknownControllerError(Exception):
    """A name that stands for no controller; the message holds the name and what there is."""


def names() -> tuple[str, ...]:
    """Every name that `make` takes."""
    return (OURS, FIXED, *(f"{OURS}:{model}" for model in MODELS), UNFELT, REPORTING, REPORTING_FIXED, *PEERS)


def guests_report(name: str) -> bool:
    """Whether the guests of the world that a controller of this name is replayed in report their free pages."""
    return name in {REPORTING, REPORTING_FIXED}


def fixed_looks(name: str) -> str:
    """What the looks of a controller of this name are measured against, in the same world."""
    return REPORTING_FIXED if guests_report(name) else FIXED


def make(name: str, policy: MemoryPolicy, tuning: Tuning = DEFAULT) -> Controller:
    """A fresh controller; `policy` and `tuning` are Ballast's. Raises UnknownControllerError."""
    if name in PEERS:
        return PEERS[name]()
    if name in {FIXED, REPORTING_FIXED}:
        return ReplayedBallast(with_fixed_looks(policy), tuning)
    if name in {OURS, UNFELT, REPORTING}:
        return ReplayedBallast(policy, tuning, feels=name != UNFELT)
    kind, _, model = name.partition(":")
    if kind != OURS or model not in MODELS:
        raise UnknownControllerError(f"controller {name!r} does not exist; use some of {', '.join(names())}")
    return ReplayedBallast(with_model(policy, MODELS[model]), tuning)
