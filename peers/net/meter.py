"""Counts payload bytes by kind, so that users see what the network costs them."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from peers.net.host import NetworkTraffic


class TrafficMeter:
    def __init__(self) -> None:
        kinds = ("announce", "blob", "known")
        self._sent: Counter[str] = Counter(dict.fromkeys(kinds, 0))
        self._received: Counter[str] = Counter(dict.fromkeys(kinds, 0))

    def sent(self, kind: str, size: int) -> None:
        self._sent[kind] += size

    def received(self, kind: str, size: int) -> None:
        self._received[kind] += size

    @property
    def traffic(self) -> NetworkTraffic:
        return NetworkTraffic(MappingProxyType(dict(self._sent)), MappingProxyType(dict(self._received)))
