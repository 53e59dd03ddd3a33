"""Clients of a listening socket, bounded in number, size and time: who is slow gives way, and nobody waits for them.

A client costs no thread until its whole request is there, and none while it takes its answer. One thread with an event
loop reads and sends; a few others make the answers.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

_log = logging.getLogger(__name__)

IDLE_CLIENTS = 64
"""Clients whose request is not complete, at most. The one that came first gives way to the next: it had its time, while
whoever means to ask does so within milliseconds."""
QUEUED_REQUESTS = 32
"""Complete requests whose answer is not made, at most; further ones are turned away."""
THREADS = 4
"""That make answers: a scraper, a `ballast top`, a browser and one more. All of them share Python's lock."""
TAKEN_ANSWERS = 8
"""Clients that are sent an answer, at most; each holds the text of a whole state. The first of them, who is at it for
longest, gives way to the next."""
BACKLOG = 1024
"""Connections that the kernel keeps for us: beyond them it lets a client try again after a second."""
PART = 2**18
"""Bytes of an answer that are handed to the kernel at a time."""
PAUSE_S = 1.0
"""Seconds after the system had no descriptor or memory for one more connection."""
REQUEST_LIMIT = 16 * 1024
"""Bytes of a whole request with its headers."""
REQUEST_TIMEOUT_S = 5.0
"""Seconds a client may let us wait: for its whole request, and then until it has taken the answer."""

_ENDS = (b"\n\r\n", b"\n\n")
_END_LENGTH = 3


Task = asyncio.Task[None]
"""Serves one client."""


class Responder(Protocol):
    """What is said to requests."""

    def prompt(self, request: bytes) -> bool:
        """True where the answer is made at once: then it waits for no other."""
        ...

    def answer(self, request: bytes) -> tuple[bytes, bytes]:
        """All that is sent, head and body. From several threads at a time, unless `prompt`."""
        ...


class Clients:
    """Everybody who connects to one socket. Belongs to one thread with an event loop."""

    def __init__(
        self, listener: socket.socket, answering: Responder, context: Callable[[], ssl.SSLContext | None] = lambda: None
    ) -> None:
        """`listener` listens, and is closed when `serve` ends. `context` is asked for each client; without one there is
        no TLS.
        """
        self._listener = listener
        self._answering = answering
        self._context = context
        self._pool = ThreadPoolExecutor(THREADS, "http")
        self._idle: dict[Task, None] = {}
        self._queued = 0
        self._taking: dict[Task, None] = {}
        self._all: set[Task] = set()

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer until `stop`; then everybody is cut off."""
        accepting = asyncio.create_task(self._accept(stop))
        await stop.wait()
        self._listener.shutdown(socket.SHUT_RDWR)  # whoever waits in accept(2) gets an error
        await accepting
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn
        self._listener.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _accept(self, stop: asyncio.Event) -> None:
        """Let clients in. asyncio's own server would lose those whom it lets in while it is closed."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while not stop.is_set():
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if not stop.is_set():
                    _log.warning("HTTP: no client is let in for %g s: %s", PAUSE_S, error)
                    await asyncio.sleep(PAUSE_S)
            else:
                self._let_in(client)

    def _let_in(self, client: socket.socket) -> None:
        task = asyncio.create_task(self._serve(client))
        self._all.add(task)
        task.add_done_callback(partial(self._ended, client))
        _admit(task, self._idle, IDLE_CLIENTS)

    def _ended(self, client: socket.socket, task: Task) -> None:
        """A client that went away is no news; anything else is logged, and the server goes on."""
        client.close()
        self._all.discard(task)
        self._idle.pop(task, None)
        self._taking.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, OSError):
            _log.debug("HTTP client: %s", error)
        elif error is not None:
            _log.error("HTTP request failed", exc_info=error)

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await _opened(client, self._context())
        try:
            request = await _request(reader)
            if self._answering.prompt(request):
                await _send(writer, self._answering.answer(request))
            elif request:
                await self._answer(request, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        if self._queued >= QUEUED_REQUESTS:
            return
        task = _this_task()
        self._idle.pop(task, None)
        self._queued += 1
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._answering.answer, request)
        finally:
            self._queued -= 1
        _admit(task, self._taking, TAKEN_ANSWERS)
        await _send(writer, answer)


def _admit(task: Task, room: dict[Task, None], most: int) -> None:
    """Where there is no room, the first who came is cut off."""
    if len(room) >= most:
        first = next(iter(room))
        del room[first]
        first.cancel()
    room[task] = None


def _this_task() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _opened(
    client: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams to a client that was let in, after the handshake where there is TLS. Raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    patience = REQUEST_TIMEOUT_S if context else None
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, client, ssl=context, ssl_handshake_timeout=patience
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _request(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, or REQUEST_LIMIT bytes of it; empty where the client goes away before. Raises OSError."""
    received = bytearray()
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        while len(received) < REQUEST_LIMIT:
            more = await reader.read(REQUEST_LIMIT - len(received))
            if not more:
                return b""
            fresh = max(len(received) - _END_LENGTH, 0)
            received += more
            if any(received.find(end, fresh) >= 0 for end in _ENDS):
                break
    return bytes(received)


async def _send(writer: asyncio.StreamWriter, answer: tuple[bytes, bytes]) -> None:
    """Until the client, or the kernel for it, has taken everything, and with TLS has been told the end. Raises OSError.

    Part by part: whatever asyncio is given and cannot send at once, it copies.
    """
    writer.transport.set_write_buffer_limits(1, 0)  # with TLS, and 0 as the most, asyncio sometimes does not wait
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        for text in answer:
            whole = memoryview(text)
            for start in range(0, len(whole), PART):
                writer.write(whole[start : start + PART])
                await writer.drain()
        writer.close()  # of TLS, a part may still be with the transport below
        await writer.wait_closed()
