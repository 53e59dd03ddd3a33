"""The running domains of one connection and what their XML says, read again only where it changed."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from controller.engine.inventory import DomainFacts
from controller.host.actuators import Actuator
from controller.host.domain_xml import Description, current_memory, describe, shown_as
from controller.host.marks import marked
from controller.host.xml_values import XmlError

LOG = logging.getLogger(__name__)

Handle = Any
"""A libvirt.virConnect; the binding carries no types."""

Starts = Callable[[Mapping[str, str]], Mapping[str, float]]
"""Names by UUID, to when the QEMU of each began, seconds since the epoch, by UUID; as far as that is known."""

SAME_START_S = 2.0
"""Seconds by which two readings of one QEMU's start may differ: clock ticks, and a clock that was set."""
ANOTHER_LIFE = 2**32
"""Added to the incarnation of a domain that has got the libvirt ID of its life before; no ID is as large."""

_ACTIVE = (
    (True, libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT),
    (False, libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT),
)


class CrowdedPodError(Exception):
    """A pod's libvirt tells of more domains than a virt-launcher has; the message says so."""


@dataclass(frozen=True, slots=True)
class CachedDomain:
    """One running domain."""

    domain: Any
    """Its libvirt.virDomain, of the connection that is open now; None while none is."""
    persistent: bool
    facts: DomainFacts
    actuator: Actuator
    identifier: int
    """libvirt's, which begins anew with libvirt."""
    marked: int = 0
    """Seconds of the statistics period that Ballast has set, 0 where it has set none; see `marks`."""

    @property
    def period(self) -> int:
        """Seconds between two guest statistics; 0 where they are off."""
        return int(self.facts.statistics_period)


class DomainCache:
    """Survives reconnects: a transient domain's first allocation is its definition, and is seen only once."""

    def __init__(
        self,
        suffix: str,
        wall: Callable[[], float] = time.time,
        starts: Starts = lambda _names: {},
        alone: bool = False,
    ) -> None:
        """`alone`: there is one domain at most."""
        self._wall = wall
        self._alone = alone
        self._starts = starts
        self._suffix = suffix
        """Follows the UUID in a key."""
        self.entries: Mapping[str, CachedDomain] = {}
        self.facts: tuple[DomainFacts, ...] = ()
        """Sorted by name; the same object while nothing changed."""
        self._refusals: dict[str, str] = {}
        """By key, what libvirt said when a domain's XML was read last and could not be."""
        self._listed = False
        self._started: Mapping[str, float] = {}
        """Of the domains that are being read."""

    def key(self, domain: Any) -> str:
        """Key of a libvirt.virDomain."""
        return f"{domain.UUIDString()}{self._suffix}"

    def let_go(self) -> None:
        """Drop the domains of a connection that ended; what is known of them stays.

        A virDomain keeps its connection open, and whoever drops the last one waits for libvirtd to say goodbye.
        That must be the supervisor, not the garbage collector in the control loop's thread.
        """
        self.entries = {key: replace(entry, domain=None) for key, entry in self.entries.items()}

    def note_resets(self, resets: Mapping[str, float]) -> None:
        """Guests that boot anew, and since when (seconds since the epoch), by key; facts show it once accepted."""
        if resets:
            self.entries = {
                key: replace(entry, facts=replace(entry.facts, reset_at=resets.get(key, entry.facts.reset_at)))
                for key, entry in self.entries.items()
            }

    def read(self, handle: Handle, changed: Collection[str]) -> Mapping[str, CachedDomain]:
        """The domains as they are now, with the XML of new and `changed` ones, to be accepted. Raises libvirtError
        and CrowdedPodError.
        """
        listed = [(persistent, domain) for persistent, flags in _ACTIVE for domain in handle.listAllDomains(flags)]
        if self._alone and len(listed) > 1:
            message = f"{self._suffix[1:]}: {len(listed)} domains, where a virt-launcher has one; they are left alone"
            raise CrowdedPodError(message)
        keys = {self.key(domain) for _, domain in listed}
        self._refusals = {key: message for key, message in self._refusals.items() if key in keys}
        self._started = {}
        unsure = [domain for _, domain in listed if not self._followed(domain)]
        if unsure:
            self._started = self._starts({domain.UUIDString(): domain.name() for domain in unsure})
        read = [self._entry(handle, domain, persistent, changed) for persistent, domain in listed]
        present = sorted((entry for entry in read if entry is not None), key=_order)
        return {entry.facts.key: entry for entry in present}

    def accept(self, entries: Mapping[str, CachedDomain]) -> bool:
        """Take what was read; True when any fact differs."""
        self.entries = entries
        self._listed = True
        facts = tuple(entry.facts for entry in entries.values())
        if facts == self.facts:
            return False
        self.facts = facts
        return True

    def _entry(self, handle: Handle, domain: Any, persistent: bool, changed: Collection[str]) -> CachedDomain | None:
        key, known = self.key(domain), self._known(domain)
        if known is not None and known.persistent == persistent and key not in changed:
            return replace(known, domain=domain)
        try:
            entry = self._read(domain, persistent, known)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            if not handle.isAlive():
                raise
            self._refuse(key, shown_as(domain.name()), str(error))
            return None if known is None else replace(known, domain=domain)
        self._refusals.pop(key, None)
        return entry

    def _followed(self, domain: Any) -> bool:
        """Whether it is known, and its libvirt was never out of sight."""
        known = self._known(domain)
        return known is not None and known.domain is not None

    def _known(self, domain: Any) -> CachedDomain | None:
        """What was read before of a domain, if it has not been started anew since."""
        known = self.entries.get(self.key(domain))
        same = known is not None and known.identifier == domain.ID() and not self._began_anew(domain, known)
        return known if same else None

    def _began_anew(self, domain: Any, known: CachedDomain) -> bool:
        """Whether it has another QEMU than when libvirt was last seen; one that was restarted gives its IDs again."""
        before, now = known.facts.started_at, self._started.get(domain.UUIDString(), 0.0)
        return bool(known.domain is None and before and now and abs(now - before) > SAME_START_S)

    def _incarnation(self, domain: Any) -> int:
        """Another one than that of its life before."""
        before, identifier = self.entries.get(self.key(domain)), int(domain.ID())
        if before is None or before.identifier != identifier:
            return identifier
        return before.facts.incarnation + ANOTHER_LIFE

    def _refuse(self, key: str, name: str, message: str) -> None:
        """Say that a domain's XML cannot be read; once, for it is tried at every listing."""
        if self._refusals.get(key) != message:
            LOG.warning("domain %s: its XML cannot be read: %s", name, message)
        self._refusals[key] = message

    def _read(self, domain: Any, persistent: bool, known: CachedDomain | None) -> CachedDomain:
        uuid, name = domain.UUIDString(), domain.name()
        xml = domain.XMLDesc()
        incarnation = self._incarnation(domain) if known is None else known.facts.incarnation
        description = describe(xml, self.key(domain), uuid, name, incarnation)
        if description.error:
            LOG.warning("domain %s: %s", description.facts.name, description.error)
        definition = self._definition(domain, persistent, known, description)
        facts = replace(
            description.facts,
            definition=min(definition, description.facts.maximum),
            reset_at=0.0 if known is None else known.facts.reset_at,
            started_at=self._started_at(uuid, known),
        )
        mark = 0 if description.error else marked(xml)
        return CachedDomain(domain, persistent, facts, description.actuator, domain.ID(), mark)

    def _started_at(self, uuid: str, known: CachedDomain | None) -> float:
        """With its QEMU. Where that is not to be seen, one that no earlier listing had was started a moment ago."""
        if known is not None:
            return known.facts.started_at
        return self._started.get(uuid, self._wall() if self._listed else 0.0)

    def _definition(self, domain: Any, persistent: bool, known: CachedDomain | None, live: Description) -> int:
        if persistent:
            try:
                return current_memory(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            except XmlError as error:
                LOG.warning("domain %s: its definition is not used: %s", live.facts.name, error)
        return live.facts.definition if known is None else known.facts.definition


def _order(entry: CachedDomain) -> tuple[str, str]:
    return entry.facts.name, entry.facts.key
