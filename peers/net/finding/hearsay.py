"""How many dials the addresses that others name may cause, and what they cost the peer that named them.

A hint that is right costs nothing. One that is wrong is dialled once, and its informant has `WRONG_HINTS` of them in
all; identities are free, so those of one address group have a common budget too, and so has every target, whoever
names it. An address that failed is not believed again for an hour.

A peer's own address, named from the IP address that it has itself, is the exception: it may be away for a moment, so
the dial is repeated, within the same budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from peers.net.addresses import Address
from peers.net.host import PeerId
from peers.net.limits.groups import group_of, wider_group_of
from peers.net.limits.rates import Rates
from wire.bounded import BoundedDict

WRONG_HINTS: Final = 8
"""Failed dials that one informant may cause in all. A dial that finds the peer gives one back."""
GROUP_HINTS_BURST, GROUP_HINTS_S = 16.0, 1 / 600
"""Failed dials that the identities of one address group may cause, and how fast they are forgiven. Guess."""
TARGET_DIALS_BURST, TARGET_DIALS_S = 8.0, 1 / 60
"""Failed dials to one address, whoever named it, and how fast they are forgiven. A network of a thousand peers then
sends a victim some 17 connections a second at most, and only while liars reach all of them. Guess."""
WIDER_TARGET_BURST, WIDER_TARGET_S = 16.0, 1 / 30
"""The same for one /24 or /48, private ranges included: a scan of a network ends here. Guess."""
FAILED_S: Final = 3_600.0
"""Seconds for which an address that failed is not believed again. Guess."""
REMEMBERED_FAILURES: Final = 4_096
REMEMBERED_INFORMANTS: Final = 1_024


@dataclass(frozen=True, slots=True)
class Informant:
    """The peer that named an address, and the address group that it was connected from."""

    peer: PeerId
    group: str


class Hearsay:
    """The budgets of what others say. `now` is in seconds on a clock of the caller's choice."""

    def __init__(self) -> None:
        self._wrong: BoundedDict[PeerId, int] = BoundedDict(REMEMBERED_INFORMANTS)
        """Dials for each informant's hints that found nobody or have not ended."""
        self._failed: BoundedDict[str, float] = BoundedDict(REMEMBERED_FAILURES)
        """Address -> when it may be believed again."""
        self._groups = Rates(rate_s=GROUP_HINTS_S, burst=GROUP_HINTS_BURST)
        self._targets = Rates(rate_s=TARGET_DIALS_S, burst=TARGET_DIALS_BURST)
        self._wider = Rates(rate_s=WIDER_TARGET_S, burst=WIDER_TARGET_BURST)

    def believes(self, address: Address, informant: Informant, now: float) -> bool:
        """Whether this hint is worth keeping."""
        return self._failed.get(str(address), now) <= now and not self._is_spent(informant)

    def take(self, address: Address, informant: Informant, now: float) -> bool:
        """Whether this hint may be dialled now; it counts as wrong until `proved`."""
        if self._is_spent(informant):
            return False
        target = _target_of(address)
        budgets = (
            (self._groups, informant.group),
            (self._targets, target),
            (self._wider, wider_group_of(target)),
        )
        if not all(rates.has(key, now) for rates, key in budgets):
            return False
        for rates, key in budgets:
            rates.take(key, now)
        self._wrong.renew(informant.peer, self._wrong.get(informant.peer, 0) + 1)
        return True

    def failed(self, address: Address, informant: Informant, now: float) -> bool:
        """Nobody was found there. Whether the address is worth another try."""
        if address.peer == informant.peer and _target_of(address) == informant.group:
            return True
        self._failed.renew(str(address), now + FAILED_S)
        return False

    def proved(self, address: Address, informant: Informant) -> None:
        """The peer was found there: what its dial took is given back."""
        target = _target_of(address)
        self._groups.give(informant.group)
        self._targets.give(target)
        self._wider.give(wider_group_of(target))
        self._wrong[informant.peer] = max(0, self._wrong.get(informant.peer, 0) - 2)

    def _is_spent(self, informant: Informant) -> bool:
        return self._wrong.get(informant.peer, 0) >= WRONG_HINTS


def _target_of(address: Address) -> str:
    return group_of(address.transport.split("/")[2])
