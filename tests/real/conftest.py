"""Real guests for tests: one private libvirtd a session, guests that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd

StartGuests = Callable[..., list[Guest]]


@pytest.fixture(scope="session")
def private_libvirtd() -> Iterator[PrivateLibvirtd]:
    """A libvirtd that leaves the machine's own alone; its `uri` is what `--connect` takes."""
    with PrivateLibvirtd() as daemon:
        yield daemon


@pytest.fixture
def start_guests(private_libvirtd: PrivateLibvirtd) -> Iterator[StartGuests]:
    """`start_guests(GuestSpec(...), ...)` boots them side by side and returns them ready, in order."""
    with ExitStack() as stack:

        def start(*specs: GuestSpec) -> list[Guest]:
            guests = [stack.enter_context(Guest(private_libvirtd, spec)) for spec in specs]
            return [guest.wait_ready() for guest in guests]

        yield start
