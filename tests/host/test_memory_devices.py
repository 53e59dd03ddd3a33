"""Memory that libvirt counts into a domain's and its balloon does not hold. XML as libvirt 9.0 writes it."""

import pytest

from controller.engine.reasons import Reason
from controller.host.domain_xml import describe

MIB = 2**20


def target(size: int, more: str = "") -> str:
    return f"<target><size unit='KiB'>{size * 1024}</size><node>0</node>{more}</target>"


def virtio_mem(size: int = 256, plugged: int | None = 256) -> str:
    current = "" if plugged is None else f"<current unit='KiB'>{plugged * 1024}</current>"
    return f"<memory model='virtio-mem'>{target(size, '<block>2048</block>' + current)}</memory>"


def nvdimm(path: str = "/var/lib/images/nv", more: str = "") -> str:
    return f"<memory model='nvdimm'><source><path>{path}</path>{more}</source>{target(256)}</memory>"


DIMM = f"<memory model='dimm'>{target(256)}</memory>"
HUGE_DIMM = f"<memory model='dimm'><source><pagesize unit='KiB'>2048</pagesize></source>{target(256)}</memory>"
PMEM = f"<memory model='virtio-pmem'><source><path>/srv/p</path></source>{target(256)}</memory>"
EPC = "<memory model='sgx-epc'><target><size unit='KiB'>262144</size></target></memory>"
LATER_KIND = f"<memory model='of-2031'>{target(256)}</memory>"


def facts(*devices: str, memory: int = 768, current: int = 768):
    sizes = f"<memory unit='KiB'>{memory * 1024}</memory><currentMemory unit='KiB'>{current * 1024}</currentMemory>"
    xml = f"<domain>{sizes}<devices><memballoon model='virtio'/>{''.join(devices)}</devices></domain>"
    described = describe(xml, "key", "uuid", "web", 1)
    assert described.error == ""
    return described.facts


@pytest.mark.parametrize(
    ("device", "maximum", "held", "obstacle"),
    [
        (DIMM, 768, 0, Reason.NONE),
        (HUGE_DIMM, 768, 0, Reason.HUGE_PAGES),
        (HUGE_DIMM.replace("2048", "4"), 768, 0, Reason.NONE),
        (nvdimm(), 512, 256, Reason.NONE),
        (nvdimm("/dev/dax0.0"), 512, 0, Reason.NONE),
        (nvdimm("/dev/pmem0", "<pmem/>"), 512, 0, Reason.NONE),
        (PMEM, 512, 256, Reason.NONE),
        (EPC, 512, 0, Reason.NONE),
        (virtio_mem(), 512, 256, Reason.MEMORY_DEVICES),
        (virtio_mem(plugged=0), 512, 0, Reason.MEMORY_DEVICES),
        (virtio_mem(plugged=None), 512, 256, Reason.MEMORY_DEVICES),
        (LATER_KIND, 512, 256, Reason.MEMORY_DEVICES),
    ],
)
def test_the_maximum_is_the_balloons_alone_and_what_is_held_beside_it_is_told(device, maximum, held, obstacle):
    of = facts(device)
    assert (of.maximum, of.devices, of.obstacle) == (maximum * MIB, held * MIB, obstacle)


def test_devices_add_up():
    of = facts(nvdimm(), PMEM, DIMM, memory=1280)
    assert (of.maximum, of.devices, of.plugged) == (768 * MIB, 512 * MIB, 0)


def test_of_virtio_mem_what_is_plugged_in_is_in_the_current_size():
    of = facts(virtio_mem(plugged=128), current=400)
    assert (of.maximum, of.definition, of.plugged, of.devices) == (512 * MIB, 272 * MIB, 128 * MIB, 128 * MIB)


def test_a_current_size_that_is_less_than_what_is_plugged_in_leaves_nothing_to_the_balloon():
    assert facts(virtio_mem(), current=100).definition == 0


def test_a_domain_may_have_all_of_its_memory_in_devices():
    assert facts(nvdimm(), memory=256).maximum == 0


def test_nobody_is_released_to_more_than_the_balloon_holds():
    assert facts(nvdimm(), current=768).definition == 512 * MIB


def test_pages_of_a_dimm_that_are_huge_are_not_in_qemus_resident_size():
    assert (facts(HUGE_DIMM).resident, facts(DIMM).resident) == (False, True)


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("<memory model='nvdimm'/>", "<memory model='nvdimm'>: <target/size> is missing"),
        (nvdimm().replace("262144", "many"), "<memory model='nvdimm'>: <target/size>: 'many' is not a whole number"),
        (virtio_mem(1024), "805306368 bytes are less than those of its devices, 1073741824"),
    ],
)
def test_devices_that_cannot_be_understood_are_an_obstacle(device, error):
    xml = f"<domain><memory unit='MiB'>768</memory><devices><memballoon model='virtio'/>{device}</devices></domain>"
    described = describe(xml, "key", "uuid", "web", 1)
    assert (error in described.error, described.facts.obstacle) == (True, Reason.UNREADABLE)
