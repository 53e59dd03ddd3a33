"""Run by `test_recipes.py` on a copy of the code in which the recipes were followed: prints what it does now."""

import json
from xml.etree import ElementTree

import numpy as np

from controller.api.documents import load
from controller.engine.ownership import NodeIdentity, assign, forecaster
from controller.engine.state import State
from controller.engine.step import align
from controller.forecast import registry
from controller.forecast.model import Points
from controller.host.domain_xml import describe
from controller.host.xml_values import size_at
from controller.observe.metrics import StateCollector
from controller.observe.statusstore import StatusSnapshot, StatusStore

POLICY = """
apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {name: all}
spec:
  domainSelector: {names: ["*"]}
  advanced:
    model: {type: Mean, mean: {decisionPoints: 3}}
    shrink: {graceSeconds: 7}
"""
POINTS = Points(np.array([[1.0, 5.0, 9.0, 12.0]]), np.array([[40.0, 10.0, 70.0, 900.0]]), np.ones((1, 4), dtype=bool))
XML = """<domain><memory>1024</memory><currentMemory>512</currentMemory>{}
<devices><memballoon model='virtio'/></devices></domain>"""

DEVICE = "<memory model='virtio-mem'><target><size unit='MiB'>512</size><block unit='MiB'>2</block></target></memory>"


class Resizable:
    """A libvirt.virDomain that boots with 1 GiB, and has a device of 512 MiB."""

    def __init__(self) -> None:
        self.requested: list[int] = []

    def XMLDesc(self) -> str:  # noqa: N802 - libvirt's name
        """As libvirt writes it."""
        sizes = "<memory unit='MiB'>1536</memory><currentMemory unit='MiB'>1024</currentMemory>"
        return f"<domain>{sizes}<devices><memballoon model='virtio'/>{DEVICE}</devices></domain>"

    def updateDeviceFlags(self, device: str, _flags: int) -> None:  # noqa: N802 - libvirt's name
        """Note what is asked for."""
        self.requested.append(size_at(ElementTree.fromstring(device), "target/requested"))  # noqa: S314 - our own text


def main() -> None:
    """As JSON."""
    loaded = load(POLICY, "policy.yaml")
    (policy,) = loaded.policies
    line = forecaster(policy.spec.advanced.model).fit(POINTS)
    free, limited = (
        describe(XML.format(part), "key", "uuid", "name", 1).facts
        for part in ("", "<memtune><hard_limit>1024</hard_limit></memtune>")
    )
    domain = Resizable()
    resizable = describe(domain.XMLDesc(), "key", "uuid", "name", 1)
    resizable.actuator.order(domain, (1024 + 257) * 2**20)
    inventory = assign([free], loaded.policies, NodeIdentity("node")).inventory
    status_store = StatusStore("node", lambda: 0.0)
    status_store.publish(StatusSnapshot(0.0, align(State.initial(), inventory, 0.0), (), (), looked=True))
    facts = {
        "problems": loaded.problems,
        "kinds": list(registry.KINDS),
        "line": [line.level[0], line.slope[0]],
        "reason": [str(limited.obstacle), limited.obstacle.skips, limited.obstacle.text],
        "resizable": [getattr(resizable.facts, name) for name in ("grain", "deadline", "floor", "maximum")],
        "requested": domain.requested,
        "column": inventory.grace.tolist(),
        "metrics": {
            family.name: [sample.value for sample in family.samples]
            for family in StateCollector(status_store).collect()
        },
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
