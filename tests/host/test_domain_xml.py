"""What a domain's XML says about its memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.wishes import NAMESPACE, Wishes
from controller.engine.reasons import Reason
from controller.host.domain_xml import current_memory, describe
from controller.host.xml_values import XmlError, size

BALLOON = "<memballoon model='virtio'/>"
MIB = 2**20


def domain(devices: str = BALLOON, rest: str = "", memory: str = "<memory unit='KiB'>1048576</memory>") -> str:
    return f"<domain type='kvm'><name>web</name>{memory}{rest}<devices>{devices}</devices></domain>"


def described(xml: str):
    return describe(xml, "key", "uuid", "web", 7)


def test_maximum_and_current_size_are_bytes():
    facts = described(domain(rest="<currentMemory unit='KiB'>524288</currentMemory>")).facts
    assert (facts.key, facts.uuid, facts.name, facts.incarnation) == ("key", "uuid", "web", 7)
    assert (facts.maximum, facts.definition) == (1024 * MIB, 512 * MIB)
    assert (facts.obstacle, facts.autodeflate, facts.wishes) == (Reason.NONE, False, Wishes())


def test_without_a_current_size_it_is_the_maximum():
    assert current_memory(domain()) == 1024 * MIB


@pytest.mark.parametrize(
    ("text", "unit", "bytes_"),
    [
        ("7", "b", 7),
        ("7", "bytes", 7),
        ("7", "KB", 7000),
        ("7", "k", 7 * 2**10),
        ("7", "KiB", 7 * 2**10),
        ("7", "MB", 7 * 10**6),
        ("7", "M", 7 * 2**20),
        ("7", "MiB", 7 * 2**20),
        ("7", "G", 7 * 2**30),
        ("7", "GB", 7 * 10**9),
        ("7", "TiB", 7 * 2**40),
        ("7", "PiB", 7 * 2**50),
        ("7", "EiB", 7 * 2**60),
    ],
)
def test_every_unit_of_libvirt(text, unit, bytes_):
    assert size(text, unit) == bytes_


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *(("-1", "KiB"), ("1.5", "KiB"), ("", "KiB"), ("٣", "KiB"), ("1", "XiB"), ("1", "")),
        *((str(2**53), "KiB"), ("8", "EiB")),
    ],
)
def test_what_is_no_size(text, unit):
    with pytest.raises(XmlError):
        size(text, unit)


def test_the_unit_is_kib_where_none_is_written():
    assert described(domain(memory="<memory>2048</memory>")).facts.maximum == 2 * MIB


@pytest.mark.parametrize(
    ("balloon", "period", "autodeflate", "obstacle"),
    [
        ("<memballoon model='virtio'/>", 0, False, Reason.NONE),
        ("<memballoon model='virtio-transitional'/>", 0, False, Reason.NONE),
        ("<memballoon model='virtio-non-transitional'><stats period='5'/></memballoon>", 5, False, Reason.NONE),
        ("<memballoon model='virtio' autodeflate='on'><stats period='0'/></memballoon>", 0, True, Reason.NONE),
        ("<memballoon model='virtio' autodeflate='off'/>", 0, False, Reason.NONE),
        ("<memballoon model='none'/>", 0, False, Reason.NO_BALLOON),
        ("<memballoon model='xen'/>", 0, False, Reason.NO_BALLOON),
        ("", 0, False, Reason.NO_BALLOON),
    ],
)
def test_the_balloon(balloon, period, autodeflate, obstacle):
    description = described(domain(balloon))
    assert description.facts.statistics_period == period
    assert (description.facts.autodeflate, description.facts.obstacle) == (autodeflate, obstacle)


def test_a_domain_as_kubevirt_defines_it_is_understood_with_all_of_its_memory():
    kubevirts = (
        "<memballoon model='virtio-non-transitional' freePageReporting='on'><stats period='10'/></memballoon>"
        "<interface type='ethernet'/>"
    )
    memory = "<maxMemory slots='16' unit='KiB'>16777216</maxMemory><memory unit='b'>4294967296</memory>"
    metadata = "<metadata><kubevirt xmlns='http://kubevirt.io'><uid>1</uid></kubevirt></metadata>"
    description = described(domain(kubevirts, rest=metadata, memory=memory))
    facts = description.facts
    assert (description.error, facts.obstacle, facts.wishes) == ("", Reason.NONE, Wishes())
    assert (facts.maximum, facts.definition, facts.statistics_period) == (4096 * MIB, 4096 * MIB, 10)


@pytest.mark.parametrize(
    ("rest", "obstacle"),
    [
        ("<memoryBacking><hugepages/></memoryBacking>", Reason.HUGE_PAGES),
        ("<memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>", Reason.HUGE_PAGES),
        ("<memoryBacking><locked/></memoryBacking>", Reason.LOCKED_MEMORY),
        ("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", Reason.NONE),
        *((f"<launchSecurity type='{kind}'/>", Reason.CONFIDENTIAL) for kind in ("sev", "sev-snp", "tdx", "s390-pv")),
    ],
)
def test_memory_that_must_not_move(rest, obstacle):
    assert described(domain(rest=rest)).facts.obstacle == obstacle


@pytest.mark.parametrize("balloon", ["<memballoon model='virtio'/>", "<memballoon model='none'/>"])
@pytest.mark.parametrize(
    ("rest", "resident"),
    [
        ("", True),
        ("<memoryBacking><locked/></memoryBacking>", True),
        ("<memoryBacking><hugepages/></memoryBacking>", False),
        ("<launchSecurity type='sev'/>", False),
    ],
)
def test_memory_that_the_kernel_does_not_count_as_qemus_whatever_else_is_the_matter(balloon, rest, resident):
    assert described(domain(balloon, rest=rest)).facts.resident == resident


@pytest.mark.parametrize(
    ("device", "obstacle"),
    [
        ("<hostdev mode='subsystem' type='pci'/>", Reason.HOST_DEVICES),
        ("<hostdev mode='subsystem' type='mdev' model='vfio-pci'/>", Reason.HOST_DEVICES),
        ("<hostdev mode='subsystem' type='usb'/>", Reason.NONE),
        ("<hostdev mode='subsystem' type='scsi'/>", Reason.NONE),
        ("<interface type='hostdev'/>", Reason.HOST_DEVICES),
        ("<interface type='vdpa'/>", Reason.HOST_DEVICES),
        ("<interface type='network'/>", Reason.NONE),
        ("<disk type='nvme'/>", Reason.HOST_DEVICES),
        ("<disk type='vhostvdpa'/>", Reason.HOST_DEVICES),
        ("<disk type='file'/>", Reason.NONE),
        ("<disk type='file'><backingStore><backingStore type='nvme'/></backingStore></disk>", Reason.HOST_DEVICES),
        ("<disk type='file'><mirror type='nvme' job='copy'/></disk>", Reason.HOST_DEVICES),
        ("<interface type='network'><actual type='hostdev'/></interface>", Reason.HOST_DEVICES),
        ("<hostdev mode='subsystem' type='scsi_host'><address type='pci'/></hostdev>", Reason.NONE),
    ],
)
def test_devices_that_pin_memory(device, obstacle):
    assert described(domain(BALLOON + device)).facts.obstacle == obstacle


def wishing(attributes: str, children: str = "") -> Wishes:
    element = f"<b:memory xmlns:b='{NAMESPACE}' {attributes}>{children}</b:memory>"
    return described(domain(rest=f"<metadata><other xmlns='urn:other'/>{element}</metadata>")).facts.wishes


def test_wishes_of_the_metadata():
    wishes = wishing("optOut='yes' weight='200' minimum='512Mi' maximum='1Gi'", "<b:label name='tier' value='db'/>")
    assert wishes == Wishes(True, weight=200, minimum=512 * MIB, maximum=1024 * MIB, labels={"tier": "db"})


@pytest.mark.parametrize(
    ("attributes", "children", "error"),
    [
        ("optout='yes'", "", "<memory> has no 'optout'; it knows optOut, weight, minimum, maximum"),
        ("", "<b:label name='tier'/>", "<label name='tier'/> is not a label"),
        ("", "<label name='tier' value='db'/>", "is not a label"),
        ("", "<b:label name='a' value='1'/><b:label name='a' value='2'/>", "each name once"),
        ("weight='many'", "", "weight 'many'"),
    ],
)
def test_wishes_that_cannot_be_understood_are_not_guessed(attributes, children, error):
    wishes = wishing(attributes, children)
    assert error in wishes.error


MEGA = "x" * 3 * 2**20


@pytest.mark.parametrize(
    ("attributes", "children"),
    [
        (f"weight='{MEGA}'", ""),
        (f"minimum='{MEGA}' maximum='{MEGA[:1000]}' optOut='{MEGA[:1000]}'", ""),
        (f"{MEGA}='1'", ""),
        ("", f"<b:label name='{MEGA}'/>"),
        ("", f"<b:label name='{MEGA}' value='db'/>"),
        ("", f"<b:label name='tier' value='{MEGA}'/>"),
        ("", f"<b:{MEGA} name='tier' value='db'/>"),
        ("", f"<b:label {MEGA}='1'/>"),
        ("", "<b:label " + " ".join(f"a{number}='1'" for number in range(50_000)) + "/>"),
        ("", "".join(f"<b:label name='l{number}' value='v'/>" for number in range(65))),
    ],
    ids=range(10),
)
def test_what_is_said_of_wishes_is_short_however_long_they_are(attributes, children):
    error = wishing(attributes, children).error
    assert 0 < len(error) < 500
    assert error.isprintable()


def test_what_is_no_label_is_told_by_its_first_attributes():
    said = wishing("", "<b:tag one='1' two='2' three='3'/>").error
    assert said.startswith("<tag one='1' two='2'/> is not a label; ")


def test_labels_up_to_what_a_selector_can_ask_for_are_taken():
    labels = {f"l{number}": "v" * 253 for number in range(64)}
    children = "".join(f"<b:label name='{name}' value='{value}'/>" for name, value in labels.items())
    assert wishing("", children).labels == labels
    assert "too long" in wishing("", f"<b:label name='a' value='{'v' * 254}'/>").error


@pytest.mark.parametrize(
    "xml",
    [
        f"<{MEGA}/>",
        domain(memory=f"<memory>{'1' * 5000}</memory>"),
        domain(memory=f"<memory>{'1' * 21}</memory>"),
        domain(memory=f"<memory>{MEGA}</memory>"),
        domain(memory=f"<memory unit='{MEGA}'>1</memory>"),
        domain(f"<memballoon model='virtio'><stats period='{'1' * 5000}'/></memballoon>"),
        domain(BALLOON + f"<memory model='{MEGA}'/>"),
        "<domain>" + "<a>" * 200_000,
        pytest.param("<domain>" + "<a>" * 500_000, marks=pytest.mark.slow),
    ],
    ids=range(9),
)
def test_what_is_said_of_xml_is_short_and_nothing_of_it_raises(xml):
    description = described(xml)
    assert 0 < len(description.error) < 300
    assert description.error.isprintable()


def test_a_name_is_cut_to_what_a_guest_of_qemu_can_have():
    names = [describe(domain(), "key", "uuid", "n" * length, 1).facts.name for length in (255, 256, 10**6)]
    assert names == ["n" * 255] + ["n" * 254 + "…"] * 2


SHARED_CELL = "<cpu><numa><cell id='0' memory='512' memAccess='shared'/></numa></cpu>"
SHARED_DIMM = "<memory model='dimm' access='shared'><target><size>512</size></target></memory>"


@pytest.mark.parametrize(
    ("backing", "in_file"),
    [
        ("<source type='memfd'/>", True),
        ("<source type='memfd'/><access mode='shared'/>", True),
        ("<source type='memfd'/><access mode='private'/>", False),
        ("<source type='file'/><access mode='shared'/>", True),
        ("<source type='file'/>", False),
        ("<source type='anonymous'/>", False),
        ("<source type='anonymous'/><access mode='shared'/>", True),
        ("<access mode='shared'/>", True),
        ("<access mode='private'/>", False),
    ],
)
def test_memory_that_qemu_shares_is_in_a_file(backing, in_file):
    """As QEMU 7.2 holds it: RssFile or RssShmem where it is shared, RssAnon elsewhere."""
    assert described(domain(rest=f"<memoryBacking>{backing}</memoryBacking>")).facts.in_file == in_file
    assert not described(domain(rest=f"<memoryBacking><hugepages/>{backing}</memoryBacking>")).facts.in_file


@pytest.mark.parametrize(("devices", "rest"), [("", SHARED_CELL), (SHARED_DIMM, "")], ids=["cell", "dimm"])
def test_that_of_one_cell_or_dimm_is_enough(devices, rest):
    assert described(domain(BALLOON + devices, rest=rest)).facts.in_file


@pytest.mark.parametrize(
    ("xml", "error"),
    [
        ("", "not well-formed"),
        ("<domain>", "not well-formed"),
        ("<network/>", "describes a <network>, not a <domain>"),
        ("<domain/>", "<memory> is missing"),
        (domain(memory="<memory/>"), "<memory>: '' is not a whole number of KiB"),
        (domain(memory="<memory unit='pages'>5</memory>"), "<memory>: 'pages' is not a unit of memory"),
        (domain("<memballoon model='virtio'><stats period='x'/></memballoon>"), "<stats period>: 'x' is not a whole"),
        ("<!DOCTYPE d [<!ENTITY a 'b'>]>" + domain(), "document type"),
        ("<domain>" + " " * 2**22 + "</domain>", "characters"),
    ],
)
def test_xml_that_cannot_be_understood_is_an_obstacle(xml, error):
    description = described(xml)
    assert error in description.error
    assert (description.facts.obstacle, description.facts.name) == (Reason.UNREADABLE, "web")
    assert description.facts.statistics_period == 0


@given(st.text())
def test_no_text_raises(text):
    assert described(text).facts.obstacle == Reason.UNREADABLE
