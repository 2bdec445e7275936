"""Ports for servers that tests start."""

import os
import random
import socket

# Below the ports that Linux gives to outgoing connections (32768 and up): a port found free there may be
# taken by any connection of another test before the server that it is meant for has started.
# Each of at most four workers has a range of its own.
_FIRST = 20000 + 3000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
_RANDOM = random.SystemRandom()
_given: set[int] = set()
"""A server that is not started yet does not use its port."""


def free_ports(count: int) -> list[int]:
    """`count` ports of 127.0.0.1 that nothing uses now; none is given twice."""
    ports: list[int] = []
    while len(ports) < count:
        port = _RANDOM.randrange(_FIRST, _FIRST + 3000)
        if port in _given:
            continue
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        ports.append(port)
    return ports


def free_port() -> int:
    """A port of 127.0.0.1 that nothing uses now; none is given twice."""
    return free_ports(1)[0]
