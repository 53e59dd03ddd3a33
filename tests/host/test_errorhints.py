"""Errors of libvirt, as a person reads them."""

import errno

import libvirt
import pytest

from controller.host.errorhints import explain, explain_loss, said
from lab.fake_libvirt import error


@pytest.mark.parametrize(
    ("raised", "remedy"),
    [
        (error(libvirt.VIR_ERR_SYSTEM_ERROR, errno=errno.ENOENT), "is libvirtd (or virtqemud) running?"),
        (error(libvirt.VIR_ERR_SYSTEM_ERROR, errno=errno.ECONNREFUSED), "is libvirtd (or virtqemud) running?"),
        (error(libvirt.VIR_ERR_SYSTEM_ERROR, errno=errno.EACCES), "run as root or join the group libvirt"),
        (error(libvirt.VIR_ERR_AUTH_UNAVAILABLE), "run as root or join the group libvirt"),
        (error(libvirt.VIR_ERR_INVALID_ARG), "is that a libvirt URI?"),
        (error(libvirt.VIR_ERR_INTERNAL_ERROR, domain=libvirt.VIR_FROM_URI), "is that a libvirt URI?"),
        (error(libvirt.VIR_ERR_RPC), "trying again"),
    ],
)
def test_each_error_names_uri_and_remedy(raised, remedy):
    text = explain(raised, "qemu:///system")
    assert text.startswith("qemu:///system: no; ")
    assert remedy in text


def test_a_missing_socket_for_real(tmp_path):
    uri = f"qemu+unix:///session?socket={tmp_path}/none"
    with pytest.raises(libvirt.libvirtError) as raised:
        libvirt.open(uri)
    assert explain(raised.value, uri) == (
        f"{uri}: Failed to connect socket to '{tmp_path}/none': No such file or directory; "
        "is libvirtd (or virtqemud) running? Start it, or name another connection with --connect"
    )


def test_a_text_that_is_no_uri_for_real():
    with pytest.raises(libvirt.libvirtError) as raised:
        libvirt.open("::bad")
    assert "is that a libvirt URI?" in explain(raised.value, "::bad")


def test_a_lost_connection_says_why():
    assert explain_loss(libvirt.VIR_CONNECT_CLOSE_REASON_EOF, "qemu:///system") == (
        "qemu:///system: the connection to libvirt was lost (libvirtd closed it); connecting again"
    )


def test_a_reason_that_libvirt_has_no_name_for_is_told_by_its_number():
    assert "was lost (reason 99)" in explain_loss(99, "qemu:///system")


@pytest.mark.parametrize(("words", "told"), [("x" * 200, "x" * 200), ("x" * 201, "x" * 199 + "…"), ("", "OSError('')")])
def test_words_are_as_long_as_people_read(words, told):
    assert said(OSError(words)) == told
