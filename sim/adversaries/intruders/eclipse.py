"""Eclipse: the attackers are all that one honest peer can reach."""

from __future__ import annotations

from sim.adversaries.intruder import Intruder, Town


class Eclipse(Intruder):
    """The first honest peer and the attackers are cut off from all other honest peers, for good: attackers among these
    would pass on honest news."""

    def begin(self, town: Town) -> None:
        victim, *others = town.honest
        for inside in (victim, *town.attackers):
            for other in others:
                town.world.cut(inside, other)
