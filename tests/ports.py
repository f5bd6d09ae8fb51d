"""A port to listen on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on; processes that ask at the same time get different ones."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
