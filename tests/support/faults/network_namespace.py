"""A Linux network namespace with one virtual cable, which can drop packets silently."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NETWORK: Final = ipaddress.ip_network("198.18.0.0/15")
"""Set aside for benchmarks of networks (RFC 2544): it is used by no host."""


class NetworkNamespace:
    """``address`` is the inside's, ``host_address`` this process's end of the cable."""

    def __init__(self, name: str, host_address: str, address: str) -> None:
        self.name = name
        self.host_address = host_address
        self.address = address

    @property
    def run_by(self) -> list[str]:
        """The prefix of a command that runs inside the namespace."""
        return ["ip", "netns", "exec", self.name]

    def lose_packets(self) -> None:
        """Drop all packets in both directions; neither side gets an error."""
        # The way back to the client ends nowhere: so what comes from there is dropped as well (rp_filter).
        _ip("-n", self.name, "route", "add", "blackhole", self.host_address)

    def pass_packets(self) -> None:
        """The network works again."""
        _ip("-n", self.name, "route", "del", "blackhole", self.host_address)


def why_no_namespace() -> str | None:
    """The reason why this process can make none; None when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the program ip (Debian: iproute2)"
    name = f"nexgent-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces cannot be made here: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return None


@contextmanager
def network_namespace() -> Iterator[NetworkNamespace]:
    """A namespace until the ``with`` ends. Processes that still run inside then keep running, unreachable."""
    pid = os.getpid()
    name, outer, inner = f"nexgent-{pid}", f"nx{pid}a", f"nx{pid}b"
    base = int(_NETWORK.network_address) + pid * 4 % _NETWORK.num_addresses
    host_address, address = (str(ipaddress.ip_address(base + number)) for number in (1, 2))
    _ip("netns", "add", name)
    try:
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("addr", "add", f"{host_address}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip("-n", name, "addr", "add", f"{address}/30", "dev", inner)
        _ip("-n", name, "link", "set", inner, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _know_each_other(name, (outer, host_address), (inner, address))
        yield NetworkNamespace(name, host_address, address)
    finally:
        _ip("netns", "del", name)


def _know_each_other(name: str, outside: tuple[str, str], inside: tuple[str, str]) -> None:
    """Sets fixed neighbour entries, because the kernel would report a neighbour that does not answer as unreachable."""
    (outer, host_address), (inner, address) = outside, inside
    outer_mac = Path(f"/sys/class/net/{outer}/address").read_text().strip()
    inner_mac = _ip("netns", "exec", name, "cat", f"/sys/class/net/{inner}/address").strip()
    _ip("neigh", "replace", address, "lladdr", inner_mac, "nud", "permanent", "dev", outer)
    _ip("-n", name, "neigh", "replace", host_address, "lladdr", outer_mac, "nud", "permanent", "dev", inner)
    strict = f"echo 1 > /proc/sys/net/ipv4/conf/{inner}/rp_filter"
    _ip("netns", "exec", name, "sh", "-c", strict)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
