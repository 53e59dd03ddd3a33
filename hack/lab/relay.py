"""A network between a client and the API server that can be cut, made slow, or answer itself."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from lab.kubernetes.certificates import CertificateIdentity

CHUNK = 65536
"""Bytes passed on at a time."""


class Relay:
    """Passes connections on to `url`'s server while it is not cut; a context manager."""

    def __init__(self, url: str, delay_s: float = 0.0) -> None:
        """`delay_s` passes before anything is passed on, either way."""
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port or 443)
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._changing = threading.Lock()
        """Held to open connections, and to end them: none slips through a cut."""
        self._cut = False
        self._spoiled: tuple[ssl.SSLContext, Iterator[bytes]] | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def kubeconfig(self, kubeconfig: Path, folder: Path) -> Path:
        """The kubeconfig for a client on this side; the server's certificate knows nothing of the relay."""
        config = json.loads(kubeconfig.read_text())
        port = self._listener.getsockname()[1]
        config["clusters"][0]["cluster"] = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
        file = folder / f"relay-{port}.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    def cut(self) -> None:
        """End every connection, and let none begin."""
        with self._changing:
            self._cut = True
            opened, self._open = self._open, []
        for each in opened:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def spoil(self, identity: CertificateIdentity, answers: Sequence[bytes]) -> None:
        """Pass nothing on, and answer each request with the next of these (whole HTTP/1.1 answers), over and over."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        self._spoiled = context, cycle(answers)
        self.cut()
        self._cut = False

    def mend(self) -> None:
        """Pass connections on again."""
        self._cut, self._spoiled = False, None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if (spoiled := self._spoiled) and not self._cut:
                threading.Thread(target=_answer, args=(client, *spoiled), daemon=True).start()
            elif not self._join(client):
                client.close()

    def _join(self, client: socket.socket) -> bool:
        """To the server; False where nothing is to be passed on, or nobody listens there."""
        with self._changing:
            if self._cut:
                return False
            try:
                server = socket.create_connection(self._target)
            except OSError:
                return False
            self._open += [client, server]
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._pass_on, args=ends, daemon=True).start()
        return True

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                time.sleep(self._delay_s)  # the network's
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _answer(client: socket.socket, context: ssl.SSLContext, answers: Iterator[bytes]) -> None:
    """One request, whatever it is; then the connection ends."""
    with client, suppress(OSError), context.wrap_socket(client, server_side=True) as wire:
        if wire.recv(CHUNK):
            wire.sendall(next(answers))
