"""Free ports, and readiness asked in the server's own protocol. Knows sockets only, no client library.

An open port is not readiness: Apache Kafka listens before it has a controller.
"""

import socket
import struct

HOST = "127.0.0.1"
_METADATA, _METADATA_VERSION, _CORRELATION = 3, 1, 7


def free_ports(count: int) -> tuple[int, ...]:
    """Choose distinct free ports of the loopback interface.

    They are held together while they are chosen, so none comes twice. Another process may still take one before the
    server binds it: `Stack` then starts the server again on other ports.
    """
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return tuple(each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()


def broker_is_ready(port: int, timeout_s: float = 2.0) -> bool:
    """Whether a Metadata request (version 1, no topics) is answered with a broker and an elected controller."""
    client = b"probe"
    request = struct.pack(">hhih", _METADATA, _METADATA_VERSION, _CORRELATION, len(client)) + client
    request += struct.pack(">i", 0)
    try:
        with socket.create_connection((HOST, port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _receive(connection, 4))
            return _has_controller(_receive(connection, size))
    except (OSError, struct.error):
        return False


def cache_is_ready(port: int, timeout_s: float = 2.0) -> bool:
    """Whether PING is answered with PONG (not with LOADING)."""
    try:
        with socket.create_connection((HOST, port), timeout_s) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return _receive(connection, 5) == b"+PONG"
    except OSError:
        return False


def _has_controller(answer: bytes) -> bool:
    correlation, brokers = struct.unpack_from(">ii", answer)
    at = 8
    for _ in range(brokers):
        (host_size,) = struct.unpack_from(">h", answer, at + 4)
        at += 4 + 2 + host_size + 4  # node id, host, port
        (rack_size,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(rack_size, 0)
    controller: int = struct.unpack_from(">i", answer, at)[0]
    return bool(correlation == _CORRELATION and brokers >= 1 and controller >= 0)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("the server closed the connection")
        received += chunk
    return received
