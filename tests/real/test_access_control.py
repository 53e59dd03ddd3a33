"""libvirt's access control with the profile of `manifests/polkit`: what Ballast does it may do, and little else.

A real libvirtd asks a real polkitd about a user who has no other rights.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
import yaml
from quick_policy import QUICK_POLICY

from lab.accesscontrol import USERS, GuardedLibvirtd, as_user
from lab.ballast import COMMAND, BallastProcess
from lab.daemons import until
from lab.guest import Guest, GuestSpec

RULES = Path(__file__).parents[2] / "manifests" / "polkit" / "50-ballast.rules"
PATIENCE_S = 60.0
NOBODY = 65534

ASK = """
import json, sys
import libvirt

libvirt.registerErrorHandler(lambda *_: None, None)
answers = {}
asked = "to connect"
try:
    connection = libvirt.open(sys.argv[1])
    asked = "the guest"
    domain = connection.lookupByName("guest")
except libvirt.libvirtError as error:
    answers[asked] = error.get_error_code()
else:
    for asked in sys.argv[2:]:
        try:
            eval(asked)
            answers[asked] = 0
        except libvirt.libvirtError as error:
            answers[asked] = error.get_error_code()
print(json.dumps(answers))
"""
"""Prints libvirt's error code for each expression that is asked, 0 for what it did. Arguments: URI, expressions."""

DENIED = {libvirt.VIR_ERR_ACCESS_DENIED, libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_UNAVAILABLE}
"""What libvirt says to what may not be done, and to whom may not even connect."""

REFUSED = (
    "domain.destroy()",
    "domain.shutdown()",
    "domain.reboot()",
    "domain.reset(0)",
    "domain.suspend()",
    "domain.undefine()",
    "domain.create()",
    "domain.managedSave()",
    "domain.save('/nonexistent/file')",
    "domain.coreDump('/nonexistent/file')",
    "domain.rename('other')",
    "domain.setMemoryFlags(2**17, libvirt.VIR_DOMAIN_AFFECT_CONFIG)",
    "domain.setMemoryFlags(2**17, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)",
    "domain.setMaxMemory(2**19)",
    "domain.setMemoryStatsPeriod(5, libvirt.VIR_DOMAIN_AFFECT_CONFIG)",
    "domain.attachDeviceFlags('<disk/>', libvirt.VIR_DOMAIN_AFFECT_CONFIG)",
    "domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)",
    "domain.memoryPeek(0, 16, libvirt.VIR_MEMORY_PHYSICAL)",
    "domain.setUserPassword('root', 'secret')",
    "domain.snapshotCreateXML('<domainsnapshot/>')",
    "domain.openConsole(None, connection.newStream())",
    "domain.sendKey(0, 0, [1], 1)",
    "connection.defineXML(domain.XMLDesc())",
    "connection.createXML(domain.XMLDesc())",
    "connection.listAllNetworks()",
    "connection.listAllStoragePools()",
    "connection.listAllSecrets()",
    "connection.listAllDevices()",
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedLibvirtd]:
    with GuardedLibvirtd(RULES) as host:
        yield host


@pytest.fixture(scope="module")
def guest(guarded) -> Iterator[Guest]:
    """For all tests. Defined without a statistics period, as most are."""
    with Guest(guarded, GuestSpec("guest", maximum=384, swap=256, persistent=True, stats_period=None)) as started:
        yield started.wait_ready()
        started.domain.undefine()


class BallastAsUser(BallastProcess):
    """A running Ballast of the user `ballast`."""

    program = tuple(as_user(USERS["ballast"], [str(COMMAND)]))


def ask(uri: str, *expressions: str, user: int = USERS["ballast"]) -> dict[str, int]:
    """libvirt's error codes for what a user asks, by expression; 0 where it is done."""
    done = subprocess.run(
        as_user(user, [sys.executable, "-c", ASK, uri, *expressions]), capture_output=True, text=True, check=True
    )
    answers: dict[str, int] = json.loads(done.stdout)
    return answers


def test_ballast_moves_memory_as_a_user_who_may_do_no_more(guarded, guest, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(yaml.safe_dump(QUICK_POLICY))
    definition = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    log = tmp_path / "ballast.log"
    with BallastAsUser(policies, guarded.uri, log, keep=False) as ballast:
        until(lambda: guest.statistics()["actual"] < 300 * 1024, PATIENCE_S, "a guest that shrank")
        guest.use(250, wait=False)
        until(lambda: guest.statistics()["actual"] > 300 * 1024, PATIENCE_S, "a guest that grew again")
        until(lambda: ballast.state()["node"]["reallocations_total"] >= 2, PATIENCE_S, "both moves in the figures")
        assert owner(ballast.pid) == USERS["ballast"]
        assert ballast.state()["connections"] == [{"uri": guarded.uri, "connected": True, "error": ""}]
        assert "<stats period=" in guest.domain.XMLDesc()
        guest.use(0)
    guest.domain.setMemory(guest.spec.maximum * 1024)  # at rest, for those who look at it next
    guest.wait_until(lambda guest: guest.has(guest.spec.maximum), PATIENCE_S, "its memory given back")
    assert "<stats period=" not in guest.domain.XMLDesc()
    assert guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == definition
    assert "denied" not in log.read_text()


def owner(pid: int) -> int:
    """Whose process it is."""
    return Path(f"/proc/{pid}").stat().st_uid


def test_everything_else_is_refused(guarded, guest):
    definition, running = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), guest.domain.XMLDesc()
    assert ask(guarded.uri, *REFUSED) == dict.fromkeys(REFUSED, libvirt.VIR_ERR_ACCESS_DENIED)
    assert guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == definition
    assert guest.domain.XMLDesc() == running
    assert guest.domain.isActive()


@pytest.mark.usefixtures("guest")
def test_libvirt_has_no_finer_right_than_to_change_a_running_guest(guarded):
    describe = "domain.setMetadata(0, 'changed', None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)"
    autostart = "domain.setAutostart(0)"
    attach = "domain.attachDeviceFlags('<nonsense/>', libvirt.VIR_DOMAIN_AFFECT_LIVE)"
    answers = ask(guarded.uri, describe, autostart, attach)
    assert (answers[describe], answers[autostart]) == (0, 0)
    assert answers[attach] != libvirt.VIR_ERR_ACCESS_DENIED


USED = (
    "connection.listAllDomains()",
    "domain.XMLDesc()",
    "connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BALLOON)",
    "domain.jobInfo()",
    "domain.setMemoryFlags(2**18, libvirt.VIR_DOMAIN_AFFECT_LIVE)",
    "domain.setMemoryStatsPeriod(5, libvirt.VIR_DOMAIN_AFFECT_LIVE)",
)
"""What Ballast asks of libvirt."""
RIGHTS = re.findall(r'"(org\.libvirt\.[\w.-]+)"', RULES.read_text())


@pytest.mark.usefixtures("guest")
class TestProfile:
    def test_the_profile_suffices_for_all_that_ballast_does(self, guarded):
        assert ask(guarded.uri, *USED) == dict.fromkeys(USED, 0)

    @pytest.mark.parametrize("right", RIGHTS)
    def test_without_any_of_its_rights_something_is_missing(self, guarded, right):
        guarded.allow(RULES.read_text().replace(f'"{right}"', '"none"'))
        answers = ask(guarded.uri, *USED)
        guarded.allow(RULES.read_text())
        assert DENIED & {*answers.values()}


def test_a_user_without_the_profile_does_not_even_get_in(guarded):
    assert ask(guarded.uri, *USED, user=NOBODY) == {"to connect": libvirt.VIR_ERR_AUTH_UNAVAILABLE}
