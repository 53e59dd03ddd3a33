"""Which policy is meant."""

from typing import NamedTuple


class PolicyIdentity(NamedTuple):
    """A policy: one that is deleted and made anew under its name is another."""

    name: str
    uid: str
