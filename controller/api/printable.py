"""Text from elsewhere (names of guests, files and policies, words of libvirt) made fit for a terminal, a log, a CSV."""

import re
from functools import lru_cache
from typing import Any

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Python counts as printing and nobody sees: fillers, joiners, selectors of variants, the blank of Braille
(Unicode's Default_Ignorable_Code_Point, https://www.unicode.org/reports/tr44/)."""


def printable(text: str) -> str:
    """Everything that does not print escaped: control characters (C1 too), line breaks, what turns the direction of
    what follows or takes no room. So nothing reaches a terminal but signs, and no line is forged.
    """
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(map(_shown, text))


@lru_cache(maxsize=256)  # a text has few characters, many times
def _shown(char: str) -> str:
    is_seen = char.isprintable() and not _UNSEEN.match(char)
    return char if is_seen else char.encode("unicode_escape").decode()


def for_people(data: Any) -> Any:
    """Plain data with every text in it printable."""
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, dict):
        return {name: for_people(value) for name, value in data.items()}
    return [for_people(value) for value in data] if isinstance(data, list) else data


LONGEST = 1000
"""Bytes of a line that is told: a refused value has 60, libvirt's longest sentences some hundred."""
LONGEST_PART = 600
"""The same of what is wrong with one domain, which every domain may have."""
LONGEST_NAME = 255
"""Bytes of a domain's name: QEMU runs none whose name is longer than a file's may be."""
_ESCAPE = 4
"""Bytes that `printable` makes of one at most."""


def bounded(text: str, most: int = LONGEST) -> str:
    """The text, cut where it takes more bytes of UTF-8 than anybody reads, also as `printable` shows it."""
    fitting = cut(text, most)
    return fitting if len(printable(fitting).encode()) <= most else cut(text, most // _ESCAPE)


SHOWN_NAME = 96
"""Bytes of a domain's name that are shown among others; libvirt takes as many as a file's name has, and QEMU more."""


def shown_name(name: str) -> str:
    """A domain's name among others: on one line, and cut when long."""
    return cut(printable(name), SHOWN_NAME)


def cut(text: str, most: int) -> str:
    """The text in at most so many bytes of UTF-8 (at least 3), with an ellipsis where something is missing."""
    encoded = text[: most + 1].encode(errors="surrogatepass")
    if len(encoded) <= most:
        return text
    return encoded[: most - len("…".encode())].decode(errors="ignore") + "…"
