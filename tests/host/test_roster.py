"""The running domains and their facts, on libvirt's own test driver."""

import weakref
from collections.abc import Collection

import libvirt
import pytest

from controller.api.wishes import NAMESPACE
from controller.host.roster import Roster
from lab.fake_libvirt import FakeDomain, FakeHandle, error

MIB = 2**20
TRANSIENT = """<domain type='test'><name>{name}</name><memory unit='MiB'>256</memory>
<currentMemory unit='MiB'>128</currentMemory><os><type>hvm</type></os></domain>"""


def refresh(roster: Roster, handle: libvirt.virConnect, changed: Collection[str]) -> bool:
    """As the keeper does."""
    return roster.accept(roster.read(handle, changed))


@pytest.fixture
def roster(test_node) -> Roster:
    roster = Roster("")
    refresh(roster, test_node, ())
    return roster


def set_size(domain: libvirt.virDomain, mib: int) -> None:
    domain.setMemoryFlags(mib * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def test_running_domains_are_listed_with_their_definition(test_node, roster):
    domain = test_node.lookupByName("test")
    (facts,) = roster.facts
    assert (facts.key, facts.uuid, facts.name) == (domain.UUIDString(), domain.UUIDString(), "test")
    assert (facts.maximum, facts.definition, facts.incarnation) == (8192 * MIB, 2048 * MIB, domain.ID())


def test_only_a_domain_that_comes_later_is_known_to_have_just_started(test_node):
    roster = Roster("", lambda: 1.7e9)
    refresh(roster, test_node, ())
    test_node.createXML(TRANSIENT.format(name="brief"))
    refresh(roster, test_node, ())
    refresh(roster, test_node, roster.entries)
    assert {facts.name: facts.started_at for facts in roster.facts} == {"test": 0.0, "brief": 1.7e9}


def test_a_domain_that_ran_before_has_started_with_its_qemu(test_node):
    asked = []
    uuid = test_node.lookupByName("test").UUIDString()
    roster = Roster("", lambda: 1.7e9, lambda names: asked.append(names) or {uuid: 1.6e9})
    refresh(roster, test_node, ())
    refresh(roster, test_node, roster.entries)
    assert roster.facts[0].started_at == 1.6e9
    assert asked == [{uuid: "test"}]


@pytest.mark.parametrize(("start", "lives"), [(1.6e9, 1), (1.6e9 + 1, 1), (1.6e9 + 3, 2), (0.0, 1)])
def test_a_domain_with_another_qemu_after_its_libvirt_came_back_is_another_life_though_it_has_the_same_id(start, lives):
    domain, begun = FakeDomain(1), [1.6e9]
    handle = FakeHandle(domain)
    roster = Roster("", lambda: 1.7e9, lambda names: {uuid: begun[0] for uuid in names if begun[0]})
    refresh(roster, handle, ())
    before = roster.facts[0]
    roster.let_go()
    begun[0] = start
    refresh(roster, handle, ())
    refresh(roster, handle, roster.entries)
    after = roster.facts[0]
    assert len({before.incarnation, after.incarnation}) == lives
    assert after.started_at == (start if lives == 2 else 1.6e9)


def test_each_further_life_under_one_id_is_another_one():
    begun, seen = [1.6e9], []
    handle = FakeHandle(FakeDomain(1))
    roster = Roster("", lambda: 1.7e9, lambda names: dict.fromkeys(names, begun[0]))
    for _ in range(3):
        refresh(roster, handle, ())
        seen.append(roster.facts[0].incarnation)
        roster.let_go()
        begun[0] += 60
    assert len(set(seen)) == 3


def test_while_its_libvirt_stays_in_sight_nobody_asks_when_a_qemu_began():
    asked = []
    handle = FakeHandle(FakeDomain(1))
    roster = Roster("", lambda: 1.7e9, lambda names: asked.append(dict(names)) or {})
    refresh(roster, handle, ())
    refresh(roster, handle, roster.entries)
    roster.let_go()
    refresh(roster, handle, ())
    refresh(roster, handle, ())
    assert len(asked) == 2


def test_the_definition_is_not_the_live_allocation(test_node, roster):
    set_size(test_node.lookupByName("test"), 1024)
    assert not refresh(roster, test_node, roster.entries)
    assert roster.facts[0].definition == 2048 * MIB


def test_a_transient_domain_is_restored_to_what_it_first_had(test_node, roster):
    domain = test_node.createXML(TRANSIENT.format(name="brief"))
    assert refresh(roster, test_node, ())
    set_size(domain, 64)
    assert not refresh(roster, test_node, roster.entries)
    assert roster.entries[domain.UUIDString()].facts.definition == 128 * MIB


def test_facts_are_sorted_by_name_and_stay_the_same_object(test_node, roster):
    for name in ("zebra", "ant"):
        test_node.createXML(TRANSIENT.format(name=name))
    refresh(roster, test_node, ())
    facts = roster.facts
    assert [domain.name for domain in facts] == ["ant", "test", "zebra"]
    assert not refresh(roster, test_node, roster.entries)
    assert roster.facts is facts


def test_xml_is_read_again_only_where_it_changed(test_node, roster):
    domain = test_node.lookupByName("test")
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<memory weight='7'/>", "ballast", NAMESPACE, 1)
    assert not refresh(roster, test_node, ())
    assert roster.facts[0].wishes.weight is None
    assert refresh(roster, test_node, {domain.UUIDString()})
    assert roster.facts[0].wishes.weight == 7


def test_a_domain_started_anew_is_read_anew(test_node, roster):
    domain = test_node.lookupByName("test")
    before = roster.facts[0].incarnation
    domain.destroy()
    domain.create()
    assert refresh(roster, test_node, ())
    assert roster.facts[0].incarnation != before


def test_a_reset_is_known_until_the_domain_is_started_anew(test_node, roster):
    domain = test_node.lookupByName("test")
    roster.note_resets({domain.UUIDString(): 1.7e9, "stranger": 1.6e9})
    assert refresh(roster, test_node, ())
    assert roster.facts[0].reset_at == 1.7e9
    assert not refresh(roster, test_node, roster.entries)
    domain.destroy()
    domain.create()
    assert refresh(roster, test_node, ())
    assert roster.facts[0].reset_at == 0


def test_a_domain_that_ended_is_gone(test_node, roster):
    test_node.lookupByName("test").destroy()
    assert refresh(roster, test_node, ())
    assert roster.facts == ()


def test_keys_carry_the_suffix(test_node):
    roster = Roster("@test:///default")
    refresh(roster, test_node, ())
    assert list(roster.entries) == [f"{test_node.lookupByName('test').UUIDString()}@test:///default"]


def test_letting_go_frees_the_connection_and_keeps_what_is_known(test_node, roster):
    facts, (entry,) = roster.facts, roster.entries.values()
    references = weakref.ref(entry.domain)
    del entry
    roster.let_go()
    assert references() is None
    assert roster.facts is facts
    assert not refresh(roster, test_node, ())


def test_a_domain_whose_xml_cannot_be_read_is_told_of_once_and_again_when_it_was_read_since(caplog):
    """A fake: libvirt's test driver refuses nobody."""
    handle, roster = FakeHandle(FakeDomain(1), FakeDomain(2)), Roster("")
    hidden = handle.domains[1]
    for refusal in (error(libvirt.VIR_ERR_ACCESS_DENIED, "denied"),) * 2 + (None,) + (error(38, "other"),) * 2:
        hidden.xml_refusal = refusal
        refresh(roster, handle, [hidden.UUIDString()])
    assert caplog.messages == [
        "domain guest2: its XML cannot be read: denied",
        "domain guest2: its XML cannot be read: other",
    ]


def test_what_is_logged_of_a_domain_is_short_however_long_its_name_and_xml_are(caplog):
    handle, roster = FakeHandle(FakeDomain(1), FakeDomain(2)), Roster("")
    unreadable, hidden = handle.domains
    unreadable.name = hidden.name = lambda: "n" * 10**6
    unreadable.XMLDesc = lambda _flags=0: f"<domain><memory>{'1' * 10**6}</memory></domain>"
    hidden.xml_refusal = error(libvirt.VIR_ERR_ACCESS_DENIED, "denied")
    refresh(roster, handle, ())
    assert [message[:50] for message in caplog.messages] == ["domain " + "n" * 43] * 3
    assert max(len(message) for message in caplog.messages) < 500


def test_reading_alone_changes_nothing(test_node, roster):
    facts, entries = roster.facts, roster.entries
    test_node.lookupByName("test").destroy()
    assert roster.read(test_node, ()) == {}
    assert (roster.facts is facts, roster.entries is entries) == (True, True)
