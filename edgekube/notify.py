"""Tells systemd how the node is: READY, STOPPING, STATUS (sd_notify(3)). Does nothing outside systemd."""

import os
import socket


def notify(state: str) -> None:
    """Send one datagram to $NOTIFY_SOCKET; a service manager that is not there is no error."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            pass
