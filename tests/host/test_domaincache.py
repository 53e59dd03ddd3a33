"""The running domains and their facts, on libvirt's own test driver."""

import weakref
from collections.abc import Collection

import libvirt
import pytest

from controller.api.wishes import NAMESPACE
from controller.host.domaincache import DomainCache
from lab.fake_libvirt import FakeDomain, FakeHandle, error

MIB = 2**20
TRANSIENT = """<domain type='test'><name>{name}</name><memory unit='MiB'>256</memory>
<currentMemory unit='MiB'>128</currentMemory><os><type>hvm</type></os></domain>"""


def refresh(domain_cache: DomainCache, handle: libvirt.virConnect, changed: Collection[str]) -> bool:
    """As the supervisor does."""
    return domain_cache.accept(domain_cache.read(handle, changed))


@pytest.fixture
def domain_cache(test_node) -> DomainCache:
    domain_cache = DomainCache("")
    refresh(domain_cache, test_node, ())
    return domain_cache


def set_size(domain: libvirt.virDomain, mib: int) -> None:
    domain.setMemoryFlags(mib * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def test_running_domains_are_listed_with_their_definition(test_node, domain_cache):
    domain = test_node.lookupByName("test")
    (facts,) = domain_cache.facts
    assert (facts.key, facts.uuid, facts.name) == (domain.UUIDString(), domain.UUIDString(), "test")
    assert (facts.maximum, facts.definition, facts.incarnation) == (8192 * MIB, 2048 * MIB, domain.ID())


def test_only_a_domain_that_comes_later_is_known_to_have_just_started(test_node):
    domain_cache = DomainCache("", lambda: 1.7e9)
    refresh(domain_cache, test_node, ())
    test_node.createXML(TRANSIENT.format(name="brief"))
    refresh(domain_cache, test_node, ())
    refresh(domain_cache, test_node, domain_cache.entries)
    assert {facts.name: facts.started_at for facts in domain_cache.facts} == {"test": 0.0, "brief": 1.7e9}


def test_a_domain_that_ran_before_has_started_with_its_qemu(test_node):
    asked = []
    uuid = test_node.lookupByName("test").UUIDString()
    domain_cache = DomainCache("", lambda: 1.7e9, lambda names: asked.append(names) or {uuid: 1.6e9})
    refresh(domain_cache, test_node, ())
    refresh(domain_cache, test_node, domain_cache.entries)
    assert domain_cache.facts[0].started_at == 1.6e9
    assert asked == [{uuid: "test"}]


@pytest.mark.parametrize(("start", "lives"), [(1.6e9, 1), (1.6e9 + 1, 1), (1.6e9 + 3, 2), (0.0, 1)])
def test_a_domain_with_another_qemu_after_its_libvirt_came_back_is_another_life_though_it_has_the_same_id(start, lives):
    domain, begun = FakeDomain(1), [1.6e9]
    handle = FakeHandle(domain)
    domain_cache = DomainCache("", lambda: 1.7e9, lambda names: {uuid: begun[0] for uuid in names if begun[0]})
    refresh(domain_cache, handle, ())
    before = domain_cache.facts[0]
    domain_cache.let_go()
    begun[0] = start
    refresh(domain_cache, handle, ())
    refresh(domain_cache, handle, domain_cache.entries)
    after = domain_cache.facts[0]
    assert len({before.incarnation, after.incarnation}) == lives
    assert after.started_at == (start if lives == 2 else 1.6e9)


def test_each_further_life_under_one_id_is_another_one():
    begun, seen = [1.6e9], []
    handle = FakeHandle(FakeDomain(1))
    domain_cache = DomainCache("", lambda: 1.7e9, lambda names: dict.fromkeys(names, begun[0]))
    for _ in range(3):
        refresh(domain_cache, handle, ())
        seen.append(domain_cache.facts[0].incarnation)
        domain_cache.let_go()
        begun[0] += 60
    assert len(set(seen)) == 3
    assert min(seen[1:]) >= 2**31  # an ID has 31 bits


def test_while_its_libvirt_stays_in_sight_nobody_asks_when_a_qemu_began():
    asked = []
    handle = FakeHandle(FakeDomain(1))
    domain_cache = DomainCache("", lambda: 1.7e9, lambda names: asked.append(dict(names)) or {})
    refresh(domain_cache, handle, ())
    refresh(domain_cache, handle, domain_cache.entries)
    domain_cache.let_go()
    refresh(domain_cache, handle, ())
    refresh(domain_cache, handle, ())
    assert len(asked) == 2


def test_the_definition_is_not_the_live_allocation(test_node, domain_cache):
    set_size(test_node.lookupByName("test"), 1024)
    assert not refresh(domain_cache, test_node, domain_cache.entries)
    assert domain_cache.facts[0].definition == 2048 * MIB


def test_a_transient_domain_is_restored_to_what_it_first_had(test_node, domain_cache):
    domain = test_node.createXML(TRANSIENT.format(name="brief"))
    assert refresh(domain_cache, test_node, ())
    set_size(domain, 64)
    assert not refresh(domain_cache, test_node, domain_cache.entries)
    assert domain_cache.entries[domain.UUIDString()].facts.definition == 128 * MIB


def test_facts_are_sorted_by_name_and_stay_the_same_object(test_node, domain_cache):
    for name in ("zebra", "ant"):
        test_node.createXML(TRANSIENT.format(name=name))
    refresh(domain_cache, test_node, ())
    facts = domain_cache.facts
    assert [domain.name for domain in facts] == ["ant", "test", "zebra"]
    assert not refresh(domain_cache, test_node, domain_cache.entries)
    assert domain_cache.facts is facts


def test_xml_is_read_again_only_where_it_changed(test_node, domain_cache):
    domain = test_node.lookupByName("test")
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<memory weight='7'/>", "ballast", NAMESPACE, 1)
    assert not refresh(domain_cache, test_node, ())
    assert domain_cache.facts[0].wishes.weight is None
    assert refresh(domain_cache, test_node, {domain.UUIDString()})
    assert domain_cache.facts[0].wishes.weight == 7


def test_a_domain_started_anew_is_read_anew(test_node, domain_cache):
    domain = test_node.lookupByName("test")
    before = domain_cache.facts[0].incarnation
    domain.destroy()
    domain.create()
    assert refresh(domain_cache, test_node, ())
    assert domain_cache.facts[0].incarnation != before


def test_a_reset_is_known_until_the_domain_is_started_anew(test_node, domain_cache):
    domain = test_node.lookupByName("test")
    domain_cache.note_resets({domain.UUIDString(): 1.7e9, "stranger": 1.6e9})
    assert refresh(domain_cache, test_node, ())
    assert domain_cache.facts[0].reset_at == 1.7e9
    assert not refresh(domain_cache, test_node, domain_cache.entries)
    domain.destroy()
    domain.create()
    assert refresh(domain_cache, test_node, ())
    assert domain_cache.facts[0].reset_at == 0


def test_a_domain_that_ended_is_gone(test_node, domain_cache):
    test_node.lookupByName("test").destroy()
    assert refresh(domain_cache, test_node, ())
    assert domain_cache.facts == ()


def test_keys_carry_the_suffix(test_node):
    domain_cache = DomainCache("@test:///default")
    refresh(domain_cache, test_node, ())
    assert list(domain_cache.entries) == [f"{test_node.lookupByName('test').UUIDString()}@test:///default"]


def test_letting_go_frees_the_connection_and_keeps_what_is_known(test_node, domain_cache):
    facts, (entry,) = domain_cache.facts, domain_cache.entries.values()
    references = weakref.ref(entry.domain)
    del entry
    domain_cache.let_go()
    assert references() is None
    assert domain_cache.facts is facts
    assert not refresh(domain_cache, test_node, ())


def test_a_domain_whose_xml_cannot_be_read_is_told_of_once_and_again_when_it_was_read_since(caplog):
    """A fake: libvirt's test driver refuses nobody."""
    handle, domain_cache = FakeHandle(FakeDomain(1), FakeDomain(2)), DomainCache("")
    hidden = handle.domains[1]
    for refusal in (error(libvirt.VIR_ERR_ACCESS_DENIED, "denied"),) * 2 + (None,) + (error(38, "other"),) * 2:
        hidden.xml_refusal = refusal
        refresh(domain_cache, handle, [hidden.UUIDString()])
    assert caplog.messages == [
        "domain guest2: its XML cannot be read: denied",
        "domain guest2: its XML cannot be read: other",
    ]


def test_what_is_logged_of_a_domain_is_short_however_long_its_name_and_xml_are(caplog):
    handle, domain_cache = FakeHandle(FakeDomain(1), FakeDomain(2)), DomainCache("")
    unreadable, hidden = handle.domains
    unreadable.name = hidden.name = lambda: "n" * 10**6
    unreadable.XMLDesc = lambda _flags=0: f"<domain><memory>{'1' * 10**6}</memory></domain>"
    hidden.xml_refusal = error(libvirt.VIR_ERR_ACCESS_DENIED, "denied")
    refresh(domain_cache, handle, ())
    assert [message[:50] for message in caplog.messages] == ["domain " + "n" * 43] * 3
    assert max(len(message) for message in caplog.messages) < 500


def test_reading_alone_changes_nothing(test_node, domain_cache):
    facts, entries = domain_cache.facts, domain_cache.entries
    test_node.lookupByName("test").destroy()
    assert domain_cache.read(test_node, ()) == {}
    assert (domain_cache.facts is facts, domain_cache.entries is entries) == (True, True)
