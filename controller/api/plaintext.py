"""Text of strangers as others are to read it: on one line, without characters that act, and no longer than agreed."""


def printable(text: str) -> str:
    """Characters that do not print (a domain's name can hold any) shown escaped: none acts, hides or begins a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def cut(text: str, most: int) -> str:
    """The text in at most so many bytes of UTF-8 (at least 3), with an ellipsis where something is missing."""
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - len("…".encode())].decode(errors="ignore") + "…"
