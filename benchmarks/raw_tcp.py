"""The bytes of a round over raw TCP sockets on loopback: what the machine can do at all (`round_overhead.py`)."""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import Any


def rounds_s(pipes: list[Any], *, rounds: int) -> list[float]:
    """Seconds of each of `rounds` warm rounds of the processes at the other ends, which run `peer`."""
    ports = [pipe.recv() for pipe in pipes]
    times: list[float] = []
    for pipe in pipes:
        pipe.send(ports)
    for _ in range(rounds + 1):
        for pipe in pipes:
            pipe.recv()
        began = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        for pipe in pipes:
            pipe.recv()
        times.append(time.perf_counter() - began)
    return times[1:]


def peer(index: int, pipe: Connection, *, parameters: int, rounds: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    pipe.send(listener.getsockname()[1])
    ports: list[int] = pipe.recv()
    data = bytes(4 * parameters)
    others = [port for k, port in enumerate(ports) if k != index]

    def serve() -> None:
        for _ in range(len(others)):
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, data, rounds + 1), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    sockets = [socket.create_connection(("127.0.0.1", port)) for port in others]
    for _ in range(rounds + 1):
        pipe.send("ready")
        pipe.recv()
        pulls = [threading.Thread(target=_fetch, args=(one, len(data))) for one in sockets]
        for pull in pulls:
            pull.start()
        for pull in pulls:
            pull.join()
        pipe.send("done")
    for one in sockets:
        one.close()
    listener.close()


def _answer(connection: socket.socket, data: bytes, times: int) -> None:
    with connection:
        for _ in range(times):
            if not connection.recv(1):
                return
            connection.sendall(data)


def _fetch(connection: socket.socket, size: int) -> None:
    connection.sendall(b"?")
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        got += connection.recv_into(view[got:])
