"""Whether a server could listen where it is asked to."""

from __future__ import annotations

import os
import socket

from gradcourse.cli.course import Refusal

__all__ = ["refuse_taken"]


def refuse_taken(port: int, host: str = "localhost") -> None:
    """Refuse a port on which a server could not listen.

    Raises
    ------
    Refusal
        If the port is taken or reserved, or the host is no address of this machine.
    """
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        try:
            probe = socket.socket(family, kind, protocol)
        except OSError:
            continue
        with probe:
            if os.name == "posix":
                # As Jupyter's servers do: a port that a stopped server just left is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except PermissionError:
                raise Refusal(f"port {port} is reserved; choose one above 1023", code=1) from None
            except OSError as error:
                if family == socket.AF_INET:
                    raise Refusal(
                        f"port {port} cannot be used ({error.strerror}); choose another, or leave "
                        "--port out, and a free one is found",
                        code=1,
                    ) from None
