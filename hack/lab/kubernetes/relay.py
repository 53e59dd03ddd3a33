"""Brings pods' connections to the API server: `python relay.py ORDERS ADDRESS PORT`.

A pod has no network but its own loopback. The CNI plugin (cni_plugin.py) makes a socket there that listens at the
`kubernetes` service's address, and hands it over through the Unix socket ORDERS, with the pod's id; an id without a
socket closes that pod's. Every connection accepted is joined to one to ADDRESS:PORT here. It imports nothing of the
lab.
"""

import asyncio
import socket
import sys

LONGEST_ID = 1024
"""Bytes; ids are 64 hexadecimal digits."""
CHUNK = 65536
"""Bytes copied at a time."""


async def serve(orders: str, address: str, port: int) -> None:
    """Obey orders for ever."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(address, port)
        except OSError:  # the API server is down: so it looks to the pod
            writer.close()
            return
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    listening: dict[str, asyncio.Server] = {}
    with socket.socket(socket.AF_UNIX) as inbox:
        inbox.bind(orders)
        inbox.listen()
        inbox.setblocking(False)
        while True:
            order, _ = await asyncio.get_running_loop().sock_accept(inbox)
            with order:
                order.setblocking(True)
                pod, sockets, _, _ = socket.recv_fds(order, LONGEST_ID, 1)
            if previous := listening.pop(pod.decode(), None):
                previous.close()
            for number in sockets:
                listening[pod.decode()] = await asyncio.start_server(join, sock=socket.socket(fileno=number))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's end, or either side is gone."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
