"""Which domains exist, and what their policy wants of each: the slow-moving half of a snapshot.

`host` reports `DomainFacts`; `ownership.assign` turns facts and policies into one `Inventory` of arrays. The object
stays the same (`is`) as long as nothing changed, so a step knows for free that its rows still fit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controller.api.policy import Spec
from controller.api.wishes import Wishes
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Ints
from controller.forecast.model import Model


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod in which a domain's libvirt runs, as Kubernetes knows it. Sizes in bytes."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    request: int = 0
    """Memory that the scheduler guarantees to its containers together; 0 where it guarantees none."""
    limit: int | None = None
    """Memory above which the kernel kills in it; None without a limit."""
    qos: str = "BestEffort"
    """`Guaranteed`, `Burstable` or `BestEffort`."""


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What a host knows about a domain without asking its guest. Sizes in bytes."""

    key: str
    """UUID and where it was found, `UUID@SOURCE`: a URI, or the `NAMESPACE/POD` of its libvirt."""
    uuid: str
    name: str
    incarnation: int
    """Changes whenever the domain is started anew; its history does not survive that."""
    maximum: int
    """The most its actuator can give it: `<memory>` without the memory devices that are none of the balloon's."""
    definition: int
    """The definition's `<currentMemory>`: what `release: Restore` gives back."""
    grain: int = 2**20
    """Its targets are multiples of that: whole MiB, as people read them, where its actuator takes any."""
    deadline: float = 5.0
    """Seconds without progress after which its actuator is stuck: as Xen's squeezed has it for balloons."""
    floor: int = 0
    """The least its actuator can take it to; what only gives has its present size here."""
    autodeflate: bool = False
    """The balloon deflates by itself when the guest is out of memory."""
    reset_at: float = 0.0
    """When its guest was last seen to boot anew without that, seconds since the epoch; 0: never. As good as a start."""
    started_at: float = 0.0
    """When it was seen to be started, seconds since the epoch; 0: it ran before anybody looked."""
    statistics_period: float = 1.0
    """Seconds between two statistics of its guest, as its definition asks for; 0: none."""
    resident: bool = True
    """The kernel counts the guest's memory as QEMU's: not that of huge pages, and of confidential guests not always."""
    in_file: bool = False
    """Its memory is pages of a file: where that lies in no tmpfs the kernel counts them as available."""
    devices: int = 0
    """Host memory that it holds beside its balloon: virtio-mem that is plugged in, images of NVDIMM."""
    plugged: int = 0
    """Of these, what libvirt's statistics count into the balloon's size, and its balloon events do not: virtio-mem."""
    obstacle: Reason = Reason.NONE
    """Why the domain must not be touched whatever its policy says (no balloon, huge pages, VFIO, ...)."""
    wishes: Wishes = field(default_factory=Wishes)
    """What the domain's own metadata asks for."""
    pod: Pod | None = None
    """Where its libvirt runs in a pod, that pod."""

    @property
    def asked(self) -> Wishes:
        """What it asks for itself: its metadata, and the annotations of its pod."""
        return self.wishes if self.pod is None else self.wishes.narrowed(self.pod.annotations)


@dataclass(frozen=True, slots=True)
class NodeBudget:
    """What the node keeps for itself: the most careful of what it and its policies say."""

    reserve: float
    """Bytes."""
    reserve_fraction: float
    """Of the host's total; the larger of the two counts."""
    maximum: float = np.inf
    """Bytes the node gives to all its domains together at most."""
    least: float = 0.0
    """Bytes the node keeps for itself whatever policies say."""

    def kept(self, total: float) -> float:
        """Bytes that a node of `total` bytes keeps for itself."""
        return max(self.reserve, self.reserve_fraction * total, self.least)


SETTING = "setting"


def setting(of: Callable[[Spec], float]) -> Any:
    """A column that has, of every domain of a policy, what the spec says; under SETTING in its metadata."""
    return field(metadata={SETTING: of})


@dataclass(frozen=True, slots=True)
class Inventory:
    """All n domains of a node with their settings. Arrays are (n,), rows in the order of `keys`."""

    keys: tuple[str, ...]
    names: tuple[str, ...]
    uuids: tuple[str, ...]
    policies: tuple[str, ...]
    """Names of the policies for this node, best first."""
    modes: tuple[str, ...]
    """`Enforce` or `Observe`, of each."""
    models: tuple[Model, ...]
    """Distinct forecast models in use."""
    budget: NodeBudget
    index: dict[str, int]
    """Row of each key."""
    incarnation: Ints
    reset_at: Floats
    """Seconds since the epoch."""
    started_at: Floats
    """Likewise."""
    statistics_period: Floats
    """Seconds; 0: the guest is not asked for any."""
    maximum: Floats
    definition: Floats
    grain: Floats
    """Bytes of which targets are multiples."""
    deadline: Floats
    """Seconds without progress after which a balloon is stuck; two shortest intervals if longer. For so long after a
    guest's first statistics, and every move after that, its balloon may move by itself: it follows what was ordered
    before the guest booted anew, or before Ballast started."""
    autodeflate: Bools
    resident: Bools
    """QEMU's resident memory tells what the guest holds."""
    in_file: Bools
    devices: Floats
    plugged: Floats
    obstacle: Ints
    """`Reason` codes; NONE where the domain may be touched."""
    policy: Ints
    """Index into `policies`; -1 without an owner."""
    model: Ints
    """Index into `models`; 0 without an owner."""
    enforce: Bools
    share: Bools
    """Spare memory is lent (`Share`) rather than kept (`Reclaim`)."""
    restore: Bools
    """Release gives the definition's allocation back."""
    minimum: Floats
    ceiling: Floats
    """The most this domain may have; infinite where only its maximum limits it."""
    most: Floats
    """The most that it can hold, whatever its libvirt says, which may be false: its pod's limit; infinite without."""
    weight: Floats
    percentile: Floats = setting(lambda spec: spec.advanced.model.upper_percentile / 100)
    """Quantile of the forecast that decisions use, in (0, 1)."""
    threshold: Floats = setting(lambda spec: spec.advanced.threshold.quantity)
    """Bytes."""
    threshold_fraction: Floats = setting(lambda spec: spec.advanced.threshold.percent / 100)
    """Of the allocation; the larger of the two counts."""
    headroom: Floats = setting(lambda spec: spec.headroom.quantity)
    """Bytes."""
    headroom_fraction: Floats = setting(lambda spec: spec.headroom.percent / 100)
    """Of the upper forecast; the larger of the two counts."""
    stabilization: Floats = setting(lambda spec: spec.advanced.shrink.stabilization_seconds)
    """Seconds demand must have been low before a shrink."""
    interval_minimum: Floats = setting(lambda spec: spec.advanced.monitoring.minimum_interval_seconds)
    interval_maximum: Floats = setting(lambda spec: spec.advanced.monitoring.maximum_interval_seconds)
    stability_window: Floats = setting(lambda spec: spec.advanced.stability.window_seconds)
    """Seconds."""
    stability_reallocations: Floats = setting(lambda spec: spec.advanced.stability.maximum_reallocations)
    """Reallocations in the window above which a domain is unstable."""
    stability_change: Floats = setting(lambda spec: spec.advanced.stability.maximum_change_percent / 100)
    """Change of demand in one interval, as a fraction of allocation, above which a domain is unstable."""
    acted_on: Bools = field(init=False)
    """Domains that a policy owns and nothing forbids to touch."""

    def __len__(self) -> int:
        return len(self.keys)

    def headroom_on(self, base: Floats) -> Floats:
        """(n,) bytes that domains are to have on top of `base`, (n,) bytes, in any case."""
        return np.maximum(self.headroom, self.headroom_fraction * base)

    def __post_init__(self) -> None:
        object.__setattr__(self, "acted_on", (self.policy >= 0) & (self.obstacle == int(Reason.NONE)))
