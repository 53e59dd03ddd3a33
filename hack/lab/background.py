"""What goes on beside a `with` block, on a thread of its own."""

import threading
from types import TracebackType
from typing import Self


class Background:
    """Runs `_run` while its `with` block runs, which waits for it at its end. `_run` returns when `_stop` is set."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError
