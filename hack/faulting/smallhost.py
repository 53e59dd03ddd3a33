"""A host with no more memory than the stage needs, and somebody who eats it up.

The machine's own memory must not come into danger, nor must others on it decide what Ballast sees. So the size is made
up, and what is left of it is counted: what guests and eater really hold. The kernel's own measure of pressure is of the
whole machine, and missing here: Ballast takes its mark on MemAvailable.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from faulting.watch import Onlooker
from lab.background import Background

KIB = 1024
MIB = KIB * KIB
PERIOD_S = 0.1
"""Between two counts: well below a look's interval."""
BITE_MIB = 16
"""Eaten at a time."""


class SmallHost(Background):
    """`proc` is for `--proc`; kept up to date, with the eater alive, inside the `with` block."""

    def __init__(self, total_mib: int, proc: Path, watch: Onlooker) -> None:
        super().__init__("small host")
        self.proc = proc
        self._total_mib = total_mib
        self._watch = watch
        self._ordered_mib = 0

    def available_mib(self) -> float:
        """What neither guests nor the eater hold; at least 1."""
        return max(self._total_mib - self._watch.resident() - self._eaten_mib(), 1.0)

    def _eaten_mib(self) -> float:
        try:
            statm = Path(f"/proc/{self._eater.pid}/statm").read_text().split()
        except FileNotFoundError:  # it has ended
            return 0.0
        return int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    def eat(self, until_mib: float) -> None:
        """Have eaten until no more than this is available."""
        left = self._total_mib - self._watch.resident() - self._ordered_mib
        bites = max(int((left - until_mib) // BITE_MIB) + 1, 0)
        self._ordered_mib += bites * BITE_MIB
        self._input.write(f"{BITE_MIB}\n" * bites)
        self._input.flush()

    def give_back(self) -> None:
        """End the eater."""
        self._input.close()
        self._eater.wait()

    def __enter__(self) -> Self:
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, str(Path(__file__).with_name("eater.py"))]
        self._eater = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        assert self._eater.stdin is not None
        self._input = self._eater.stdin
        self.proc.mkdir()
        self._count()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.give_back()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._count()

    def _count(self) -> None:
        sizes = {"MemTotal": self._total_mib, "MemAvailable": self.available_mib(), "SwapTotal": 0, "SwapFree": 0}
        new = self.proc / "meminfo.new"
        new.write_text("".join(f"{name}: {int(mib * KIB)} kB\n" for name, mib in sizes.items()))
        new.rename(self.proc / "meminfo")
