"""Which attack a scenario is under, and by how many peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NONE: Final = "none"
"""The name of no attack."""
MOST_ATTACKERS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackConfig:
    name: str = NONE
    """The attack, a name of `sim.adversaries.table`, or "none". `gossipllm sim attacks --list` lists them."""

    attackers: float = 0.3
    """How many attackers join the scenario's peers, which all stay honest: a whole number of them, or below 1 their
    share of all peers together. With 7 honest peers, 0.3 adds 3 attackers and 0.5 adds 7."""

    def __post_init__(self) -> None:
        if not 0 < self.attackers <= MOST_ATTACKERS:
            raise ValueError(f"attackers must be above 0, at most {MOST_ATTACKERS}, got {self.attackers}")
        if self.attackers >= 1 and self.attackers != int(self.attackers):
            raise ValueError(f"attackers must be a whole number or below 1, got {self.attackers}")

    @property
    def present(self) -> bool:
        return self.name != NONE

    def count(self, honest: int) -> int:
        """The number of attackers beside so many honest peers: at least 1, and 0 without an attack."""
        if not self.present:
            return 0
        if self.attackers >= 1:
            return int(self.attackers)
        return max(1, round(honest * self.attackers / (1 - self.attackers)))
