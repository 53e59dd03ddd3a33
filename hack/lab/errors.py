"""The one error the lab raises on purpose, and what it comes to on a command line."""

import sys
from collections.abc import Callable


class LabError(Exception):
    """The lab cannot do what it was asked; the text says what is missing or wrong, and the remedy."""


def exit_code(work: Callable[[], object]) -> int:
    """Do it: 0, or 1 and the error on a line of its own where it cannot be done."""
    try:
        work()
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0
