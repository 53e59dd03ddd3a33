"""The real guests that several parts share, started when the first of them asks."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from lab.ballast import BallastProcess
from lab.guest import Guest, GuestSpec
from lab.libvirtd import PrivateLibvirtd

GUESTS = 10
SPECS = tuple(
    GuestSpec(f"guest-{number}", maximum=384, current=192, swap=256, monitor=True) for number in range(GUESTS)
)
"""With swap, so that being short of memory means waiting, not the OOM killer."""

KIND = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "bench"}}


class SharedGuests:
    """A private libvirtd with guests; the `with` block ends them."""

    def __init__(self, specs: Sequence[GuestSpec] = SPECS) -> None:
        self._specs = specs
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def libvirtd(self) -> PrivateLibvirtd:
        """Where the guests run."""
        return self._stack.enter_context(PrivateLibvirtd())

    @cached_property
    def guests(self) -> list[Guest]:
        """All of them, booted, their balloons at rest, with fresh statistics."""
        booting = [self._stack.enter_context(Guest(self.libvirtd, spec)) for spec in self._specs]
        return [guest.wait_ready() for guest in booting]

    @contextmanager
    def ballast(self, **spec: Any) -> Iterator[BallastProcess]:
        """A `ballast run` on these guests under a policy with that spec; it has looked at all of them."""
        guests = self.guests  # at rest before anybody moves their balloons
        with tempfile.TemporaryDirectory(prefix="ballast-bench-") as folder:
            policies, log = Path(folder) / "policies", Path(folder) / "ballast.log"
            policies.mkdir()
            (policies / "policy.yaml").write_text(yaml.safe_dump(KIND | {"spec": spec}))
            with BallastProcess(policies, self.libvirtd.uri, log, keep=False) as ballast:
                ballast.wait_for_domains(len(guests))
                yield ballast
