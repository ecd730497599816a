"""Free ports for the daemons of a real backend."""

import random
import socket


def free_ports(count: int) -> range:
    """Neighbouring ports of 127.0.0.1 that nothing listens on, below those that the kernel gives to outgoing connections."""
    while True:
        first = random.randrange(12_000, 30_000)
        ports = range(first, first + count)
        if all(map(_free, ports)):
            return ports


def _free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
