"""How a refusal is said: the value, what is wrong with it, and what to do about it."""

from dataclasses import dataclass

_SHOWN_CHARACTERS = 60
"""A value is shown to recognise it, not to read it; longer ones are cut so that a problem stays one line."""

Path = tuple[str | int, ...]
"""Steps from the top of a document: names of fields and positions in lists."""


def shown(value: str) -> str:
    """The value in quotes, on one line, cut when long, with every character that does not print escaped."""
    return repr(value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…")


def dotted(path: Path) -> str:
    """The path as people write it: `spec.nodeSelector.names[0]`, `metadata.labels['example.org/tier']`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isascii() and step.replace("-", "a").isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)}]"
    return text


class InvalidValueError(ValueError):
    """A value that is not taken. `str()` is `'12Qx': not a quantity; use a number ...`."""

    def __init__(self, value: object, message: str, remedy: str) -> None:
        self.value = str(value)
        self.message = message
        self.remedy = remedy
        super().__init__(f"{shown(self.value)}: {message}; {remedy}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a document is refused.

    `str()` is one line: `FILE:LINE: FIELD: 'VALUE': MESSAGE; REMEDY`.
    """

    source: str
    """File name, or whatever the reader knows the text by."""
    line: int | None
    """From 1; None where the whole source is meant."""
    field: str
    """Dotted path such as `spec.limits.minimum`; empty where no field is meant."""
    value: str
    """As written in the document; empty where there is none, or where it is a list or a mapping."""
    message: str
    remedy: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        parts = [place, self.field, shown(self.value) if self.value else "", f"{self.message}; {self.remedy}"]
        return ": ".join(part for part in parts if part)
