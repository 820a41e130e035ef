"""By which addresses other machines reach this one, and what its libraries know of theirs."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from contextlib import suppress

ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses kept for documentation (RFC 5737, RFC 3849), to which the system would choose the way that leads outside."""


PATIENCE = 1.0
"""Seconds that a name server is waited for: without a network it may not answer for many."""


def settings() -> frozenset[tuple[str, str]]:
    """Return the variables of this process, by which libraries find services, proxies and credentials."""
    return frozenset(os.environ.items())


def addresses(*, v6: bool = False) -> list[str]:
    """Return the addresses of this machine on its networks, the usual way out first; [] where it is on none.

    Nothing is sent: a datagram socket that is connected only chooses its own address.
    """
    family = socket.AF_INET6 if v6 else socket.AF_INET
    found: list[str] = []
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((ELSEWHERE[family], 9))
        found.append(str(sock.getsockname()[0]))
    found += _by_name(family)
    return list(dict.fromkeys(address for address in found if _reaches(address)))


def _by_name(family: socket.AddressFamily) -> list[str]:
    """Return the addresses that the name of this machine has, [] where it cannot be looked up within `PATIENCE` seconds."""
    found: list[str] = []

    def work() -> None:
        with suppress(OSError, UnicodeError):  # UnicodeError: of a name that is no name of DNS, such as a..b
            found.extend(str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, family))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return list(found)


def _reaches(address: str) -> bool:
    """Return whether others on a network can call an address, which they cannot where it is of one machine or one link."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)
