"""Clients of a listening socket, bounded in number, size and time: who is slow gives way, and nobody waits for them.

A client costs no thread until its whole request is there, and none while it takes its answer. One thread with an event
loop reads and sends; a few others make the answers.
"""

import asyncio
import logging
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

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
"""Seconds a client may let us wait: for its whole request, TLS's handshake included, and then until it has taken the
answer."""

_ENDS = (b"\n\r\n", b"\n\n")


class Responder(Protocol):
    """What is said to requests."""

    def prompt(self, request: bytes) -> bool:
        """True where the answer is made at once, and the kernel takes all of it: then it waits for no other."""
        ...

    def answer(self, request: bytes) -> tuple[bytes, bytes]:
        """All that is sent, head and body. From several threads at a time, unless `prompt`."""
        ...


Room = OrderedDict[asyncio.Task[Any], None]
"""Tasks that serve a client each, the first who came first."""


class Clients:
    """Everybody who connects to one socket. Belongs to one thread with an `asyncio.Runner`, whose end cuts them off."""

    def __init__(
        self, listener: socket.socket, answering: Responder, context: Callable[[], ssl.SSLContext] | None
    ) -> None:
        """`listener` listens, and is closed when `serve` ends. `context` is asked for each client; None for no TLS."""
        self._listener = listener
        self._answering = answering
        self._context = context
        self._pool = ThreadPoolExecutor(THREADS, "http")
        self._idle: Room = OrderedDict()
        self._queue = asyncio.Semaphore(QUEUED_REQUESTS)
        self._taking: Room = OrderedDict()

    async def serve(self, stop: asyncio.Event) -> None:
        """Let clients in until `stop`."""
        accepting = asyncio.create_task(self._accept(stop))
        await stop.wait()
        self._listener.shutdown(socket.SHUT_RDWR)  # whoever waits in accept(2) gets an error
        await accepting
        self._listener.close()
        self._pool.shutdown(wait=False)

    async def _accept(self, stop: asyncio.Event) -> None:
        """asyncio's own server would lose those whom it lets in while it is closed."""
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
                loop.create_task(self._serve(client))  # noqa: RUF006 - what it waits for refers to it
                await asyncio.sleep(0)  # it begins, and whoever has to give way to it ends, before the next comes

    async def _serve(self, client: socket.socket) -> None:
        """A client that went away is no news; anything else is logged, and the server goes on."""
        try:
            await self._exchange(client)
        except OSError as error:
            _log.debug("HTTP client: %s", error)
        except Exception:
            _log.exception("HTTP request failed")

    async def _exchange(self, client: socket.socket) -> None:
        """Raises OSError."""
        with ExitStack() as connection:
            connection.callback(client.close)  # also where no transport came to have it
            with _among(self._idle, IDLE_CLIENTS):
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    reader, writer = await _opened(client, self._context and self._context())
                    connection.callback(writer.transport.abort)
                    request = await _request(reader)
            if self._answering.prompt(request):
                await _send(writer, self._answering.answer(request))
            elif not self._queue.locked():
                async with self._queue:
                    answer = await asyncio.get_running_loop().run_in_executor(
                        self._pool, self._answering.answer, request
                    )
                with _among(self._taking, TAKEN_ANSWERS):
                    await _send(writer, answer)


@contextmanager
def _among(room: Room, most: int) -> Iterator[None]:
    """The running task is one of `room`. Where there is none left, the first who came is cut off."""
    if len(room) >= most:
        first, _ = room.popitem(last=False)
        first.cancel()
    task = asyncio.current_task()
    assert task is not None
    room[task] = None
    try:
        yield
    finally:
        room.pop(task, None)


async def _opened(
    client: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams to a client that was let in, after the handshake where there is TLS. Raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A request with its whole head, or REQUEST_LIMIT bytes and more. Raises OSError, also where a client goes away."""
    received = b""
    while len(received) < REQUEST_LIMIT and not any(end in received for end in _ENDS):
        more = await reader.read(REQUEST_LIMIT)
        if not more:
            raise ConnectionResetError("went away before it had asked")
        received += more
    return received


async def _send(writer: asyncio.StreamWriter, answer: tuple[bytes, bytes]) -> None:
    """Until the client, or the kernel for it, has taken everything, and with TLS has been told the end. Raises OSError.

    Part by part: whatever asyncio is given and cannot send at once, it copies.
    """
    writer.transport.set_write_buffer_limits(1)  # with TLS, and 0 as the most, asyncio sometimes does not wait
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        for text in answer:
            whole = memoryview(text)
            for start in range(0, len(whole), PART):
                writer.write(whole[start : start + PART])
                await writer.drain()
        writer.close()  # of TLS, a part may still be with the transport below
        await writer.wait_closed()
