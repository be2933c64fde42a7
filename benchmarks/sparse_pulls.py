"""Pulls where most authors are not connected.

    python benchmarks/sparse_pulls.py [--peers 48] [--degree 8] [--rounds 12] [--seed 0] [--json]

Simulated peers of the real core on a random graph whose peers pass announcements on; the toy learner moves four
numbers, and rounds last two seconds. Prints how many pulls failed, how many of these were of an announcement that its
author had replaced by the time (its holders let go of the old blobs, which takes as long as two messages travel), the
sources that a pull names, and the authors that a round sees.
"""

from __future__ import annotations

import argparse
import json
import math

from peers.core.config import CoreConfig, RoundConfig
from peers.core.effects import Pull
from peers.core.events import Heard, NotPulled
from peers.core.round.stages import Resting
from sim.toy.adding import add_toy
from sim.world.conditions import Conditions, TopologyConfig
from sim.world.trace import Happened
from sim.world.world import World
from wire.codec import decode_announcement


class Counts:
    """What a world's events say of its pulls."""

    def __init__(self) -> None:
        self.pulls: dict[tuple[int, int, int], Pull] = {}
        self.failed = 0
        self.replaced = 0
        self._names: dict[bytes, tuple[bytes, int]] = {}
        """Digest of a blob -> its author and round."""
        self._newest: dict[tuple[int, bytes], int] = {}

    def count(self, one: Happened) -> None:
        if isinstance(one.event, Heard):
            told = decode_announcement(one.event.frame).announcement
            key = one.peer, told.author
            self._newest[key] = max(self._newest.get(key, -1), told.round)
            for ref in (told.update, told.evidence):
                self._names[ref.digest] = told.author, told.round
        elif isinstance(one.event, NotPulled) and not one.event.later:
            self.failed += 1
            author, round_ = self._names[self.pulls[one.peer, one.life, one.event.request].digest]
            self.replaced += self._newest[one.peer, author] > round_
        for effect in one.effects:
            if isinstance(effect, Pull):
                self.pulls[one.peer, one.life, effect.request] = effect


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=48)
    parser.add_argument("--degree", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    topology = TopologyConfig(kind="random", degree=options.degree)
    world = World(seed=options.seed, conditions=Conditions(topology=topology), logged=True)
    counts = Counts()
    world.watch = counts.count
    for number in range(options.peers):
        config = CoreConfig(name=f"peer-{number}", round=RoundConfig(rounds=options.rounds))
        lean = [0.5 * math.sin(number + axis) for axis in range(4)]
        add_toy(world, config, [float(number % 3), 1.0, 0.0, 0.0], lean=lean)
    world.begin()
    while not all(isinstance(node.core.stage, Resting) for node in world.nodes):
        world.run(seconds=1)
        world.log.clear()
    pulls = list(counts.pulls.values())
    rounds = [one for node in world.nodes for one in node.rounds]
    figures = {
        "pulls": len(pulls),
        "failed": counts.failed,
        "replaced": counts.replaced,
        "failed_share": counts.failed / len(pulls),
        "sources": sum(len(one.sources) for one in pulls) / len(pulls),
        "seen": sum(len(one.seen) for one in rounds) / len(rounds),
        "announced_bytes": sum(node.sent["announce"] for node in world.nodes) / len(rounds),
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{options.peers} peers, {options.degree} neighbours each, {options.rounds} rounds")
    print("pulls     {pulls}, {sources:.1f} sources named in each".format(**figures))
    print("failed    {failed}, {failed_share:.2%}; of replaced announcements {replaced}".format(**figures))
    print("seen      {seen:.1f} authors in a round".format(**figures))
    print("announced {announced_bytes:.0f} bytes sent a peer and round".format(**figures))


if __name__ == "__main__":
    main()
