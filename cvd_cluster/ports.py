"""Leases a port to a TensorFlow server without the usual race.

Asking the system for a free port, closing the socket and handing the number on leaves a gap in which another process
can take it. Here the socket stays open and bound, with SO_REUSEPORT; a server started with TF_GRPC_REUSE_PORT=1 binds
the same port beside it, as often as it is restarted. The socket never listens, so it takes no connection away.
"""

from __future__ import annotations

import socket


class PortLease:
    """A port that is this process's until `release`."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        except OSError:  # a kernel without IPv6; socket.has_ipv6 tells of Python only
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if self._socket.family == socket.AF_INET6:
            # TensorFlow binds [::], for IPv4 and IPv6; so must the lease, or it would reserve half of the port.
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._socket.bind(("", 0))
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Gives the port back to the system."""
        self._socket.close()
