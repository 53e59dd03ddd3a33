"""What QEMU is told past libvirt counts as libvirt's own elements do."""

import pytest

from controller.engine.reasons import Reason
from controller.host.command_line import LONGEST, NAMESPACE
from controller.host.domain_xml import describe


def facts(*arguments: str, properties: tuple[tuple[str, str], ...] = ()):
    given = "".join(f"<q:arg value='{argument}'/>" for argument in arguments)
    over = "".join(f"<q:property name='{name}' type='string' value='{value}'/>" for name, value in properties)
    override = f"<q:override><q:device alias='balloon0'><q:frontend>{over}</q:frontend></q:device></q:override>"
    return describe(
        f"<domain xmlns:q='{NAMESPACE}'><memory>1048576</memory><devices><memballoon model='virtio'/></devices>"
        f"<q:commandline>{given}<q:env name='A' value='vfio-pci'/></q:commandline>{override if over else ''}</domain>",
        *("key", "uuid", "web"),
        1,
    ).facts


HUGE_FILE = "memory-backend-file,id=mem,size=512M,mem-path=/dev/hugepages,share=on,prealloc=on"


@pytest.mark.parametrize(
    ("arguments", "obstacle"),
    [
        (["-device", "vfio-pci,host=01:00.0"], Reason.HOST_DEVICES),
        (["-device", "VFIO-pci-nohotplug,sysfsdev=/sys/bus/mdev/devices/x"], Reason.HOST_DEVICES),
        (["-device", '{"driver":"vfio-pci","host":"0000:01:00.0"}'], Reason.HOST_DEVICES),
        (["-device", "driver=vfio-ccw,sysfsdev=/sys/x"], Reason.HOST_DEVICES),
        (["-netdev", "vhost-vdpa,vhostdev=/dev/vhost-vdpa-0,id=n"], Reason.HOST_DEVICES),
        (["-device", "vhost-vdpa-device-pci,vhostdev=/dev/v"], Reason.HOST_DEVICES),
        (["-drive", "file=nvme://0000:44:00.0/1,if=none"], Reason.HOST_DEVICES),
        (["-blockdev", "driver=nvme,node-name=n,device=0000:44:00.0,namespace=1"], Reason.HOST_DEVICES),
        (["-blockdev", '{"driver": "nvme", "device": "0000:44:00.0"}'], Reason.HOST_DEVICES),
        (["-device", "nvme,drive=d,serial=1"], Reason.NONE),
        (["-device", '{"driver":"nvme","drive":"d"}'], Reason.NONE),
        (["-overcommit", "mem-lock=on"], Reason.LOCKED_MEMORY),
        (["-overcommit", "mem-lock=on-fault"], Reason.LOCKED_MEMORY),
        (["-overcommit", "mem-lock"], Reason.LOCKED_MEMORY),
        (["-overcommit", "mem-lock,cpu-pm=on"], Reason.LOCKED_MEMORY),
        (["-overcommit", "cpu-pm=on,mem-lock=off"], Reason.NONE),
        (["-realtime", "mlock=on"], Reason.LOCKED_MEMORY),
        (["-realtime", "mlock=off"], Reason.NONE),
        (["-object", "sev-guest,id=sev0,cbitpos=47"], Reason.CONFIDENTIAL),
        (["-object", '{"qom-type":"tdx-guest","id":"t"}'], Reason.CONFIDENTIAL),
        (["-machine", "confidential-guest-support=pv"], Reason.CONFIDENTIAL),
        (["-object", HUGE_FILE, "-machine", "memory-backend=mem"], Reason.HUGE_PAGES),
        (["-object", "memory-backend-memfd,id=m,size=1G,hugetlb=on"], Reason.HUGE_PAGES),
        (["-object", "memory-backend-memfd,id=m,size=1G,hugetlb=off"], Reason.COMMAND_LINE),
        (["-object", '{"qom-type":"memory-backend-ram","id":"m","prealloc":true}'], Reason.COMMAND_LINE),
        (["-mem-path", "/dev/hugepages/x"], Reason.HUGE_PAGES),
        (["-mem-path", "/mnt/huge"], Reason.COMMAND_LINE),
        (["--mem-prealloc"], Reason.COMMAND_LINE),
        (["-numa", "node,nodeid=0,memdev=m"], Reason.COMMAND_LINE),
        (["-m", "4G"], Reason.COMMAND_LINE),
        (["-M", "q35"], Reason.NONE),
        (["-readconfig", "/etc/qemu.cfg"], Reason.COMMAND_LINE),
        (["-device", "virtio-mem-pci,memdev=v,requested-size=256M"], Reason.MEMORY_DEVICES),
        (["-trace", "virtio_balloon_to_target", "-D", "/var/log/m", "-msg", "timestamp=on"], Reason.NONE),
        (["-cpu", "host,-vmx", "-device", "virtio-rng-pci"], Reason.NONE),
    ],
)
def test_arguments_that_keep_memory_from_moving(arguments, obstacle):
    assert facts(*arguments).obstacle == obstacle


@pytest.mark.parametrize("name", ["memdev", "prealloc", "mem-path"])
def test_an_overridden_property_counts_too(name):
    assert facts(properties=((name, "on"),)).obstacle == Reason.COMMAND_LINE
    assert facts(properties=(("romfile", "on"),)).obstacle == Reason.NONE


def test_libvirts_own_elements_name_the_reason_first():
    xml = describe(
        f"<domain xmlns:q='{NAMESPACE}'><memory>1048576</memory><devices><memballoon model='none'/></devices>"
        "<q:commandline><q:arg value='-mem-prealloc'/></q:commandline></domain>",
        *("key", "uuid", "web"),
        1,
    )
    assert xml.facts.obstacle == Reason.NO_BALLOON


def test_memory_of_another_backing_may_not_be_in_qemus_resident_size():
    assert [facts("-object", HUGE_FILE).resident, facts("-overcommit", "mem-lock=on").resident] == [False, True]


def test_a_balloon_that_is_told_to_deflate_when_the_guest_runs_out_of_memory_does():
    assert facts("-global", "virtio-balloon-pci.deflate-on-oom=on").autodeflate
    assert facts(properties=(("deflate-on-oom", "true"),)).autodeflate
    assert facts("-device", "virtio-balloon-pci,deflate-on-oom", "-no-user-config").autodeflate
    assert not facts("-global", "virtio-balloon-pci.deflate-on-oom=off").autodeflate


def test_what_is_too_long_to_be_searched_is_in_doubt():
    """The search keeps everybody else waiting: two seconds for the 4 MiB that a definition may have."""
    assert facts("x" * LONGEST).obstacle == Reason.NONE
    too_long = facts("x" * LONGEST, "")
    assert [too_long.obstacle, too_long.resident] == [Reason.COMMAND_LINE, False]
