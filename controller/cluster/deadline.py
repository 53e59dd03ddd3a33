"""A request's end, whatever the server does: one that sends a byte now and then holds nobody for longer.

Time-outs of sockets begin anew with every byte, also those of a status line, of headers, or of a TLS handshake. So
connections tell which socket they are about to wait for, and what takes too long as a whole is cut off there.
"""

import errno
import os
import socket
import threading
from contextlib import suppress
from typing import Any, Self

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_current = threading.local()


class Deadline:
    """Of one request and its answer. `begin` belongs to the thread that sends the request."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True
        self.passed = False
        """The request was cut off."""

    def begin(self) -> Self:
        """From now on the seconds count, for whatever this thread's connections wait for. Raises OSError."""
        _current.deadline = self
        try:
            self._timer.start()
        except RuntimeError as error:  # the machine is out of threads, or of memory
            raise OSError(errno.EAGAIN, str(error)) from error
        return self

    def end(self) -> None:
        """The answer has been read, or nobody wants it any more. May be called again."""
        self._timer.cancel()
        with self._lock:
            self._let_go()

    def note(self, used: socket.socket) -> None:
        """This is the socket that is waited for. What is kept is a duplicate, since TLS takes the socket over."""
        with self._lock:
            self._let_go()
            self._socket = socket.socket(fileno=os.dup(used.fileno()))
            if self.passed:
                self._cut()

    def _pass(self) -> None:
        with self._lock:
            self.passed = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it has ended already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _note(used: socket.socket | None) -> None:
    deadline: Deadline | None = getattr(_current, "deadline", None)
    if deadline is not None and used is not None:
        deadline.note(used)


class _Noting(HTTPConnection):
    """Tells the thread's deadline of its socket: of a new one before anything is sent, of a kept one anew."""

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        _note(made)
        return made

    def request(self, *arguments: Any, **options: Any) -> None:
        _note(self.sock)
        super().request(*arguments, **options)


class _NotingTls(_Noting, HTTPSConnection):
    """As above."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Noting


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _NotingTls


def heed_deadlines(manager: urllib3.PoolManager) -> None:
    """Let the connections that it will make be cut off by deadlines."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
