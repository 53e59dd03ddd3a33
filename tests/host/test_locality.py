"""Only connections that end on this host are taken."""

import libvirt
import pytest

from controller.host.errorhints import explain
from controller.host.host import LibvirtHost
from controller.host.locality import refusal
from controller.host.opening import RemoteError, open_here
from controller.host.sources import fixed


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu:///session?socket=/run/a/libvirt-sock",
        "qemu+unix:///system?socket=/run/a/libvirt-sock",
        "QEMU+UNIX:///system",
        "qemu:///embed?root=/srv/a",
        "test:///default",
        "test:///srv/node.xml",
        "xen:///system",
        "an-alias",
    ],
)
def test_what_ends_on_this_host_is_taken(uri):
    assert refusal(uri) == ""


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("qemu+ssh://root@other/system", "transport 'ssh' leads to another host, or may"),
        ("QEMU+SSH://other/system", "transport 'ssh'"),
        ("qemu+ssh:///system", "transport 'ssh'"),
        ("qemu+libssh2://other/system", "transport 'libssh2'"),
        ("qemu+tls://other/system", "transport 'tls'"),
        ("qemu+tcp://127.0.0.1/system", "transport 'tcp'"),
        ("qemu+ext:///system?command=/bin/away", "transport 'ext'"),
        ("qemu+of-2031:///system", "transport 'of-2031'"),
        ("qemu://other/system", "it names the host 'other'"),
        ("qemu://localhost/system", "it names the host 'localhost'"),
        ("qemu+unix://other/system", "it names the host 'other'"),
        ("esx://other/", "it names the host 'other'"),
        ("qemu:///system?socket=/run/a&name=qemu%2Bssh://other/system", "its parameter name leads to another host"),
        ("remote:///?name=", "its parameter name leads to another host"),
        ("qemu://[bad/system", "Invalid IPv6 URL; the usual connection is qemu:///system"),
    ],
)
def test_what_may_end_elsewhere_is_refused_with_the_remedy(uri, reason):
    assert refusal(uri).startswith(f"{uri}: {reason}")
    with pytest.raises(ValueError, match="qemu:///system"):
        LibvirtHost(fixed(["qemu:///system", uri]))
    with pytest.raises(RemoteError):
        open_here(uri)


def test_what_an_alias_stands_for_is_known_once_it_is_open(monkeypatch):
    """A fake: no other host can be had here."""
    closed = []

    class Handle:
        def getURI(self) -> str:  # noqa: N802 - libvirt's name
            return "qemu+ssh://other/system"

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(libvirt, "open", lambda _uri: Handle())
    with pytest.raises(RemoteError) as raised:
        open_here("prod")
    assert explain(raised.value, "prod").startswith("prod stands for qemu+ssh://other/system: transport 'ssh'")
    assert closed == [True]


def test_what_failed_before_is_not_told_in_its_place():
    with pytest.raises(libvirt.libvirtError):
        libvirt.open("::bad")
    with pytest.raises(RemoteError) as raised:
        open_here("qemu+ssh://other/system")
    assert "transport 'ssh'" in str(raised.value)
    assert raised.value.get_error_code() is None


def test_connections_are_opened_that_way(test_uri):
    (source,) = fixed([test_uri])
    handle = source.open()
    assert handle.getURI() == test_uri
    handle.close()
    assert (source.open.func, source.open.args) == (open_here, (test_uri,))
