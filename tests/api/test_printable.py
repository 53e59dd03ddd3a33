"""Text from elsewhere, fit for a terminal."""

import sys

import pytest

from controller.api.printable import LONGEST, bounded, for_people, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1", "web-1"),
        ("ä 名 🐘", "ä 名 🐘"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\x9b31mb", r"a\x9b31mb"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("a\x85b\u2028c\u2029d", r"a\x85b\u2028c\u2029d"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("a\u200bb\u200dc\ufeffd\xad", r"a\u200bb\u200dc\ufeffd\xad"),
        ("a\u3164b\ufe0fc\u034fd\U000e0100", r"a\u3164b\ufe0fc\u034fd\U000e0100"),
        ("a\x7fb\x00", r"a\x7fb\x00"),
        ("\udc80", r"\udc80"),
        ("\xa0", r"\xa0"),
    ],
)
def test_what_does_not_print_is_shown_escaped(text, shown):
    assert printable(text) == shown


def test_no_control_character_and_no_line_break_is_left_of_any():
    everything = printable("".join(map(chr, range(sys.maxunicode + 1))))
    assert everything.isprintable()
    assert len(everything.splitlines()) == 1


def test_every_text_of_a_document_is_shown_so():
    document = {"a": ["x\n", {"b": "\x9b"}], "c": 1, "d": None, "e": True}
    assert for_people(document) == {"a": ["x\\n", {"b": "\\x9b"}], "c": 1, "d": None, "e": True}


def test_a_long_text_is_cut():
    assert bounded("x" * LONGEST) == "x" * LONGEST
    assert bounded("x" * (LONGEST + 1)) == "x" * (LONGEST - 3) + "…"
    assert bounded("xyzxyz", 5) == "xy…"


@pytest.mark.parametrize("char", ["\n", "\x9b", "\u202e", "\U000e0100", "ä", "\U0001f600"])
@pytest.mark.parametrize("length", [30, 100, 101, 10_000])
def test_what_is_cut_is_short_as_it_is_shown_too(char, length):
    assert len(printable(bounded(char * length, 100)).encode()) <= 100
