"""Answers to kopf, which would take in whatever comes, without an end."""

from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp

from controller.cluster.client import MAXIMUM_ANSWER


class TooLargeError(Exception):
    """More came than an answer may have. Not one of aiohttp's errors, after which kopf would ask for the same again."""


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which no line, and no whole that is asked for at once, is larger than MAXIMUM_ANSWER.

    Reading more raises TooLargeError, which ends kopf's run.
    """

    async def start(self, connection: Any) -> Self:
        """As aiohttp's own, from which on there is a body to read."""
        await super().start(connection)
        self.content: Any = _Bounded(self.content)
        return self


class _Bounded:
    """A StreamReader, as far as kopf and aiohttp read one."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, size: int = -1) -> bytes:
        """So many bytes at most; all there are for a negative number."""
        if size >= 0:
            return await self._content.read(size)
        return b"".join([piece async for piece in self._pieces(MAXIMUM_ANSWER, b"")])

    def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Pieces of at most so many bytes, as they come."""
        return self._pieces(size, b"\n")

    async def _pieces(self, size: int, end: bytes) -> AsyncIterator[bytes]:
        """Bytes are counted from the last `end` on; from the beginning where there is none."""
        open_bytes = 0
        async for piece in self._content.iter_chunked(size):
            last = piece.rfind(end) if end else -1
            open_bytes = len(piece) - last - 1 if last >= 0 else open_bytes + len(piece)
            if open_bytes > MAXIMUM_ANSWER:
                raise TooLargeError(f"an answer of more than {MAXIMUM_ANSWER} bytes; is a proxy in between?")
            yield piece
