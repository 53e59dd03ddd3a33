"""Text of strangers as others are to read it: on one line, without characters that act, and no longer than agreed."""


def printable(text: str) -> str:
    """Characters that do not print (a domain's name can hold any) shown escaped: none acts, hides or begins a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


SHOWN_NAME = 96
"""Bytes of a domain's name that are shown among others; libvirt takes as many as a file's name has, and QEMU more."""


def shown_name(name: str) -> str:
    """A domain's name among others: on one line, and cut when long."""
    return cut(printable(name), SHOWN_NAME)


def cut(text: str, most: int) -> str:
    """The text in at most so many bytes of UTF-8 (at least 3), with an ellipsis where something is missing."""
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - len("…".encode())].decode(errors="ignore") + "…"
